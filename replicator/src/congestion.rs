//! A congestion controller for links that are always in use: it keeps the path's queue short, so that what a path cannot
//! carry waits in the log, where it still coalesces, and other traffic finds room; and it never holds up a path that has
//! room.
//!
//! Loss says nothing: random loss is what long links have. Only a queue, seen as a longer round trip, says that the path
//! is full. Once a round trip the window is multiplied so that the round trip would be the shortest one and a little more,
//! as in FAST TCP (Wei, Jin, Low and Hegde, 2006). What counts is the shortest round trip of a round: a scheduler or an
//! acknowledgement that is late makes some longer, and a queue makes all longer. While there is no queue at all the window
//! doubles, because a link between caches mostly sends less than it could, and must not be held up when it has to catch up.
//!
//! It knows nothing of sockets and clocks: times come in.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use quinn::congestion::{Controller, ControllerFactory};

/// The queue that is aimed at: this share of the shortest round trip, and a time for acknowledgements that wait.
const QUEUE_SHARE: f64 = 0.05;
const QUEUE_TIME: Duration = Duration::from_millis(3);
/// With less of a queue than this share of the aim, the path has room.
const ROOM: f64 = 0.5;
/// What the window grows by in a round in which the path has room, and after so many in a row.
const STEP: f64 = 1.1;
const LEAP: f64 = 2.0;
const LEAP_AFTER_ROUNDS: u32 = 3;
/// The least that is left of the window when it shrinks.
const SHRINK: f64 = 0.1;
/// With a window this much smaller, a round trip that is not shorter than this share of what it was has no queue of ours: the
/// path has become longer.
const NOT_OURS: f64 = 0.5;
const NOT_SHORTER: f64 = 0.9;
/// The window may be this much more than what was acknowledged in a round: more says nothing about the path.
const AHEAD: u64 = 3;
/// How long the shortest round trip counts. Then the window is smaller for two rounds, to see the path without its queue: by
/// more than the queue that is aimed at, and not by more, because what is not sent then makes everything after it later.
const ROUND_TRIP_SPAN: Duration = Duration::from_secs(10);
const LOOK: f64 = 0.8;
const LOOK_ROUNDS: u32 = 2;
/// Acknowledgements come for several packets at once.
const PACKETS_MIN: u64 = 16;

/// Makes controllers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SteadyConfig {
    /// Before anything is known of the path.
    pub(crate) initial_window: u64,
}

impl ControllerFactory for SteadyConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Steady::new(self.initial_window, current_mtu, now))
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// No queue was seen: the window doubles.
    Start,
    /// There was one. If it is longer than aimed at: the window and the round trip when it first was.
    Hold { since: Option<(f64, Duration)> },
    /// The path is looked at without its queue, for so many more rounds; then the window is this again.
    Look { rounds: u32, after: f64 },
}

/// The controller of one path.
#[derive(Clone, Debug)]
struct Steady {
    mtu: u64,
    initial_window: u64,
    window: f64,
    phase: Phase,
    round: Round,
    /// Rounds in a row in which the path had room.
    rounds_with_room: u32,
    /// What was sent before the window changed is still being acknowledged.
    is_settling: bool,
    /// The shortest, and when it was seen.
    round_trip: Option<(Duration, Instant)>,
}

/// A round ends when something that was sent within it is acknowledged.
#[derive(Clone, Copy, Debug)]
struct Round {
    began: Instant,
    /// The shortest round trip within it.
    round_trip: Option<Duration>,
    /// Bytes acknowledged within it, and those of them that came while there was nothing to send.
    bytes: u64,
    limited_bytes: u64,
}

impl Round {
    const fn new(began: Instant) -> Self {
        Self {
            began,
            round_trip: None,
            bytes: 0,
            limited_bytes: 0,
        }
    }
}

impl Steady {
    fn new(initial_window: u64, mtu: u16, now: Instant) -> Self {
        Self {
            mtu: u64::from(mtu),
            initial_window,
            window: initial_window as f64,
            phase: Phase::Start,
            round: Round::new(now),
            rounds_with_room: 0,
            is_settling: false,
            round_trip: None,
        }
    }

    fn acknowledge(&mut self, now: Instant, sent: Instant, bytes: u64, is_limited: bool) {
        if sent >= self.round.began {
            self.end_round(now);
            self.round = Round::new(now);
        }
        self.round.bytes += bytes;
        self.round.limited_bytes += if is_limited { bytes } else { 0 };
        let sample = now.duration_since(sent);
        let least = self
            .round
            .round_trip
            .map_or(sample, |least| least.min(sample));
        self.round.round_trip = Some(least);
        // While a queue may stand, the next one waits until the path was looked at.
        let is_stale = self.is_stale(now) && self.phase == Phase::Start;
        if is_stale || self.round_trip.is_none_or(|(least, _)| sample <= least) {
            self.round_trip = Some((sample, now));
        }
    }

    fn is_stale(&self, now: Instant) -> bool {
        self.round_trip
            .is_none_or(|(_, at)| now.duration_since(at) > ROUND_TRIP_SPAN)
    }

    fn end_round(&mut self, now: Instant) {
        let (Some(shortest), Some((least, _))) = (self.round.round_trip, self.round_trip) else {
            return;
        };
        if let Phase::Look { rounds, after } = self.phase {
            return self.look(now, shortest, rounds, after);
        }
        if std::mem::take(&mut self.is_settling) {
            return;
        }
        if self.round.limited_bytes * 2 > self.round.bytes {
            // The window is not what limits: it says nothing, and must not be in the way of what comes.
            self.phase = Phase::Start;
            self.window = self.window.max(self.initial_window as f64);
            return;
        }
        let aim = least.mul_f64(QUEUE_SHARE) + QUEUE_TIME;
        let queue = shortest.saturating_sub(least);
        self.rounds_with_room = match queue < aim.mul_f64(ROOM) {
            true => self.rounds_with_room + 1,
            false => 0,
        };
        match (self.rounds_with_room, self.phase) {
            (1.., Phase::Start) | (LEAP_AFTER_ROUNDS.., _) => {
                self.phase = Phase::Start;
                self.grow(LEAP);
            }
            (1.., _) => {
                self.grow(STEP);
                self.is_settling = true;
            }
            (0, _) if queue <= aim => self.phase = Phase::Hold { since: None },
            (0, _) => self.shrink(now, shortest, least + aim),
        }
        if matches!(self.phase, Phase::Hold { .. }) && self.is_stale(now) {
            self.phase = Phase::Look {
                rounds: LOOK_ROUNDS,
                after: self.window,
            };
            self.window *= LOOK;
        }
    }

    fn grow(&mut self, factor: f64) {
        let most = self.round.bytes * AHEAD + self.initial_window;
        self.window = (self.window * factor).min(self.window.max(most as f64));
    }

    /// The round trip is longer than aimed at.
    fn shrink(&mut self, now: Instant, shortest: Duration, aim: Duration) {
        let since = match self.phase {
            // The window has just grown: this round trip is not yet of it.
            Phase::Start | Phase::Look { .. } => None,
            Phase::Hold { since } => since.or(Some((self.window, shortest))),
        };
        if since.is_some_and(|(window, round_trip)| {
            self.window < window * NOT_OURS && shortest > round_trip.mul_f64(NOT_SHORTER)
        }) {
            self.round_trip = Some((shortest, now));
            self.phase = Phase::Start;
            return;
        }
        self.phase = Phase::Hold { since };
        self.window *= aim.div_duration_f64(shortest).clamp(SHRINK, 1.0);
        self.is_settling = true;
    }

    fn look(&mut self, now: Instant, shortest: Duration, rounds: u32, after: f64) {
        self.phase = match rounds {
            // Everything that is acknowledged by then was sent with the smaller window.
            1 => {
                self.round_trip = Some((shortest, now));
                self.window = after;
                Phase::Hold { since: None }
            }
            _ => Phase::Look {
                rounds: rounds - 1,
                after,
            },
        };
        self.is_settling = true;
    }
}

impl Controller for Steady {
    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        _rtt: &quinn_proto::RttEstimator,
    ) {
        self.acknowledge(now, sent, bytes, app_limited);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        _sent: Instant,
        is_persistent_congestion: bool,
        _lost_bytes: u64,
    ) {
        if is_persistent_congestion {
            // Nothing came through for long: whatever the path is now, it is not what was measured.
            *self = Self::new(self.initial_window, self.mtu as u16, now);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = u64::from(new_mtu);
    }

    fn window(&self) -> u64 {
        (self.window as u64).max(PACKETS_MIN * self.mtu)
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.initial_window
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const PACKET: u64 = 1400;
    const ROUND_TRIP: Duration = Duration::from_millis(80);

    /// A path with a rate and a queue, and a sender that always or sometimes has something to send.
    struct Path {
        controller: Steady,
        start: Instant,
        now: Duration,
        idle_at: Duration,
        in_flight: VecDeque<(Duration, Duration)>,
        waits: Vec<Duration>,
        delivered: u64,
        /// Bytes that the sender could not send yet.
        owed: f64,
        /// Nothing is acknowledged for the second time every first one: neither side runs.
        stalls: Option<(Duration, Duration)>,
        round_trip: Duration,
    }

    impl Path {
        fn new() -> Self {
            let start = Instant::now();
            Self {
                controller: Steady::new(256 * 1024, 1400, start),
                start,
                now: Duration::ZERO,
                idle_at: Duration::ZERO,
                in_flight: VecDeque::new(),
                waits: Vec::new(),
                delivered: 0,
                owed: 0.0,
                stalls: None,
                round_trip: ROUND_TRIP,
            }
        }

        /// For `length`: `rate` is the path's in bytes per second, `offered` the sender's.
        fn run(&mut self, length: Duration, rate: f64, offered: Option<f64>) {
            let end = self.now + length;
            self.waits.clear();
            self.delivered = 0;
            while self.now < end {
                let step = Duration::from_micros(500);
                self.now += step;
                let now = self.start + self.now;
                let more = |offered: f64| self.owed + offered * step.as_secs_f64();
                self.owed = offered.map_or(f64::MAX, more);
                let is_stalled = |(every, lasts): (Duration, Duration)| {
                    self.now.as_micros() % every.as_micros() < lasts.as_micros()
                };
                if self.stalls.is_some_and(is_stalled) {
                    continue;
                }
                let mut is_limited = false;
                while self.in_flight.len() as u64 * PACKET < self.controller.window() {
                    if self.owed < PACKET as f64 {
                        is_limited = true;
                        break;
                    }
                    self.owed -= PACKET as f64;
                    let spent = Duration::from_secs_f64(PACKET as f64 / rate);
                    self.waits.push(self.idle_at.saturating_sub(self.now));
                    self.idle_at = self.idle_at.max(self.now) + spent;
                    self.in_flight
                        .push_back((self.idle_at + self.round_trip, self.now));
                }
                // As real ones: one for several packets, or after a while.
                while self
                    .in_flight
                    .front()
                    .is_some_and(|(arrives, _)| *arrives <= self.now)
                {
                    let (_, sent) = self.in_flight.pop_front().unwrap();
                    self.controller
                        .acknowledge(now, self.start + sent, PACKET, is_limited);
                    self.delivered += PACKET;
                }
            }
        }

        fn wait_median(&mut self) -> Duration {
            self.waits.sort_unstable();
            self.waits[self.waits.len() / 2]
        }
    }

    const SECONDS: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn a_full_path_is_used_up_and_its_queue_is_short() {
        let mut path = Path::new();
        path.run(SECONDS(3), 1.3e6, None);
        path.run(SECONDS(30), 1.3e6, None);
        let used = path.delivered as f64 / 30.0 / 1.3e6;
        assert!(used > 0.95, "{used} of the path");
        let wait = path.wait_median();
        assert!(wait < ROUND_TRIP / 5, "{wait:?} in the queue");
        path.waits.sort_unstable();
        let worst = path.waits[path.waits.len() * 99 / 100];
        assert!(worst < ROUND_TRIP.mul_f64(0.35), "{worst:?} at p99");
    }

    #[test]
    fn a_path_that_becomes_wider_or_narrower_is_followed() {
        let mut path = Path::new();
        path.run(SECONDS(5), 1.3e6, None);
        path.run(SECONDS(3), 10e6, None);
        path.run(SECONDS(5), 10e6, None);
        let used = path.delivered as f64 / 5.0 / 10e6;
        assert!(used > 0.9, "{used} of the wider path");
        path.run(SECONDS(5), 2e6, None);
        path.run(SECONDS(5), 2e6, None);
        let wait = path.wait_median();
        assert!(
            wait < ROUND_TRIP / 4,
            "{wait:?} in the queue of the narrower path"
        );
    }

    #[test]
    fn a_sender_with_little_to_send_may_catch_up_at_once() {
        let mut path = Path::new();
        path.run(SECONDS(5), 20e6, Some(1e6));
        let window = path.controller.window();
        assert!(window >= 256 * 1024, "{window} bytes");
        assert_eq!(path.controller.phase, Phase::Start);
    }

    #[test]
    fn hosts_that_stall_are_no_full_path() {
        let mut path = Path::new();
        path.stalls = Some((Duration::from_millis(700), Duration::from_millis(120)));
        path.run(SECONDS(30), 100e6, Some(4e6));
        assert!(path.owed < 4e6 * 0.3, "{} bytes wait", path.owed);
        path.stalls = Some((SECONDS(3), SECONDS(1)));
        path.run(SECONDS(31), 100e6, Some(4e6));
        assert!(path.owed < 4e6 * 0.3, "{} bytes wait", path.owed);
    }

    #[test]
    fn a_path_that_becomes_longer_is_no_full_path_for_long() {
        let mut path = Path::new();
        path.run(SECONDS(5), 10e6, None);
        path.round_trip = ROUND_TRIP * 2;
        path.run(SECONDS(5), 10e6, None);
        path.run(SECONDS(5), 10e6, None);
        let used = path.delivered as f64 / 5.0 / 10e6;
        assert!(used > 0.9, "{used} of the path");
    }

    #[test]
    fn silence_for_long_starts_over() {
        let mut path = Path::new();
        path.run(SECONDS(5), 1.3e6, None);
        let now = path.start + path.now;
        path.controller.on_congestion_event(now, now, true, 1400);
        assert_eq!(path.controller.window(), 256 * 1024);
    }
}
