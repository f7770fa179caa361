//! A congestion controller for links that are always in use: it sends as fast as the path delivers, and keeps the path's
//! queue short, so that what waits does so in the log, where it still coalesces, and other traffic finds room.
//!
//! It follows the model of BBR (Cardwell et al., "BBR: Congestion-Based Congestion Control", 2016): the window is the
//! largest recent delivery rate times the smallest recent round trip, times a gain. Loss says nothing: random loss is what
//! long links have. It differs in what ends the fast start, and in the gain after it. Only a queue, seen as a longer
//! round trip, says that the path is full, because a link between caches mostly sends less than it could, and must not be
//! held up when it has to catch up. On a full path the gain is small, for a queue of a tenth of the round trip.
//!
//! It knows nothing of sockets and clocks: times come in.

use std::{
    any::Any,
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use quinn::congestion::{Controller, ControllerFactory};

/// While the path is not known to be full: doubles the rate each round.
const START_GAIN: f64 = 2.0;
/// On a full path.
const FULL_GAIN: f64 = 1.1;
/// One round in [`CYCLE_ROUNDS`], to find out whether the path carries more.
const PROBE_GAIN: f64 = 1.25;
/// Until the queue of the start is gone, and to see the path without its queue.
const DRAIN_GAIN: f64 = 0.75;
const CYCLE_ROUNDS: u64 = 8;
/// A rate that is higher by this has grown: about half of what a probe adds.
const GROWTH: f64 = 1.06;
/// How many rounds a delivery rate counts.
const RATE_ROUNDS: u64 = 10;
/// How long the smallest round trip counts.
const ROUND_TRIP_SPAN: Duration = Duration::from_secs(10);
/// Rounds in a row with a queue that show a full path, and rounds in a row without enough to send that end that.
const FULL_ROUNDS: u32 = 2;
const LIMITED_ROUNDS: u32 = 10;
/// Rounds in a row with a queue, in spite of the small gain, that show that the path has become slower.
const FALLEN_ROUNDS: u32 = 3;
/// A round trip that is longer than the smallest by this share and this time has met a queue. The time is for
/// acknowledgements that wait, and for schedulers.
const QUEUE_SHARE: f64 = 0.15;
const QUEUE_TIME: Duration = Duration::from_millis(3);
/// Acknowledgements come for several packets at once.
const PACKETS_MIN: u64 = 16;
/// Snapshots are no closer to each other, and no more.
const SNAPSHOT_INTERVAL: Duration = Duration::from_micros(250);
const SNAPSHOTS_MAX: usize = 16 * 1024;

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

/// What was delivered when a packet left.
#[derive(Clone, Copy, Debug)]
struct Snapshot {
    sent_at: Instant,
    delivered: u64,
    delivered_at: Instant,
    /// When the packet left whose acknowledgement made `delivered`.
    delivered_sent_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The path is not known to be full.
    Start,
    /// It was found full: its queue is let run empty.
    Drain,
    /// It is full.
    Full,
}

/// The controller of one path.
#[derive(Clone, Debug)]
struct Steady {
    mtu: u64,
    initial_window: u64,
    /// The least while the path is not known to be full.
    start_window: u64,
    phase: Phase,
    delivered: u64,
    delivered_at: Instant,
    delivered_sent_at: Instant,
    snapshots: VecDeque<Snapshot>,
    round: Round,
    rates: VecDeque<(u64, f64)>,
    /// The smallest, and when it was seen.
    round_trip: Option<(Duration, Instant)>,
}

/// A round lasts until something that was sent within it is acknowledged.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    number: u64,
    ends_at: u64,
    /// The smallest round trip within it.
    round_trip: Option<Duration>,
    /// Bytes acknowledged within it, and those of them that came while there was nothing to send.
    bytes: u64,
    limited_bytes: u64,
    queued_in_a_row: u32,
    limited_in_a_row: u32,
    /// Of the phase.
    started: u64,
}

impl Steady {
    fn new(initial_window: u64, mtu: u16, now: Instant) -> Self {
        Self {
            mtu: u64::from(mtu),
            initial_window,
            start_window: initial_window,
            phase: Phase::Start,
            delivered: 0,
            delivered_at: now,
            delivered_sent_at: now,
            snapshots: VecDeque::new(),
            round: Round::default(),
            rates: VecDeque::new(),
            round_trip: None,
        }
    }

    /// What the path holds without a queue, in bytes.
    fn path_bytes(&self) -> f64 {
        let rates = self.rates.iter().map(|&(_, rate)| rate);
        let rate = rates.fold(0.0, f64::max);
        let round_trip = self.round_trip.map_or(Duration::ZERO, |(least, _)| least);
        rate * round_trip.as_secs_f64()
    }

    fn gain(&self) -> f64 {
        match self.phase {
            Phase::Start => START_GAIN,
            Phase::Drain => DRAIN_GAIN,
            Phase::Full => match (self.round.number - self.round.started) % CYCLE_ROUNDS {
                0 => PROBE_GAIN,
                _ => FULL_GAIN,
            },
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.round.started = self.round.number;
        (self.round.queued_in_a_row, self.round.limited_in_a_row) = (0, 0);
    }

    fn sample_rate(&mut self, now: Instant, sent: Instant, is_limited: bool) {
        while self
            .snapshots
            .get(1)
            .is_some_and(|next| next.sent_at <= sent)
        {
            self.snapshots.pop_front();
        }
        let Some(at_departure) = self.snapshots.front().filter(|first| first.sent_at <= sent)
        else {
            return;
        };
        if at_departure.delivered >= self.round.ends_at {
            self.end_round(now);
            return self.sample_rate(now, sent, is_limited);
        }
        // Acknowledgements that come at once must not look like a fast path.
        let apart = now.duration_since(at_departure.delivered_at);
        let span = apart
            .max(sent.duration_since(at_departure.delivered_sent_at))
            .as_secs_f64();
        let rate = (self.delivered - at_departure.delivered) as f64 / span.max(1e-6);
        let most = self.rates.iter().map(|&(_, rate)| rate).fold(0.0, f64::max);
        // With little to send, the rate is the sender's and not the path's.
        if is_limited && rate < most {
            return;
        }
        let round = self.round.number;
        self.rates.retain(|&(at, _)| at + RATE_ROUNDS > round);
        match self.rates.back_mut() {
            Some((at, newest)) if *at == round => *newest = newest.max(rate),
            _ => self.rates.push_back((round, rate)),
        }
    }

    fn end_round(&mut self, now: Instant) {
        let round = &mut self.round;
        round.ends_at = self.delivered.max(round.ends_at + 1);
        round.number += 1;
        let least = self.round_trip.map_or(Duration::ZERO, |(least, _)| least);
        let is_queued = round
            .round_trip
            .is_some_and(|shortest| shortest > least.mul_f64(1.0 + QUEUE_SHARE) + QUEUE_TIME);
        let count = |row: u32, counts: bool| if counts { row + 1 } else { 0 };
        round.queued_in_a_row = count(round.queued_in_a_row, is_queued);
        let is_limited = round.limited_bytes * 2 > round.bytes;
        round.limited_in_a_row = count(round.limited_in_a_row, is_limited);
        let (queued, limited) = (round.queued_in_a_row, round.limited_in_a_row);
        let in_phase = round.number - round.started;
        // What was sent with the larger window has been acknowledged a round later.
        let was_probe = in_phase > CYCLE_ROUNDS && in_phase % CYCLE_ROUNDS == 2;
        (round.round_trip, round.bytes, round.limited_bytes) = (None, 0, 0);
        match self.phase {
            Phase::Start if queued >= FULL_ROUNDS => {
                self.start_window = 0;
                self.drain();
            }
            // It carries less than it did.
            Phase::Full if queued >= FALLEN_ROUNDS => self.drain(),
            // Nothing was in the queue a round after the window fell.
            Phase::Drain if in_phase > 1 && !is_queued => self.enter(Phase::Full),
            Phase::Full if limited >= LIMITED_ROUNDS => {
                self.enter(Phase::Start);
                self.start_window = self.initial_window;
            }
            // The path delivered more, and no queue came of it.
            Phase::Full if was_probe && !is_queued && self.has_grown() => self.enter(Phase::Start),
            // A path without its queue is seen once in a while, or the queue becomes the path.
            Phase::Full if self.is_stale(now) => self.enter(Phase::Drain),
            Phase::Start | Phase::Drain | Phase::Full => {}
        }
    }

    /// Lets the queue run empty. What the path delivered before there was one says nothing.
    fn drain(&mut self) {
        let round = self.round.number;
        self.rates.retain(|&(at, _)| at + 2 >= round);
        self.enter(Phase::Drain);
    }

    /// Whether the newest two rounds had a higher rate than those before.
    fn has_grown(&self) -> bool {
        let is_new = |at: u64| at + 2 >= self.round.number;
        let most = |new: bool| {
            let rates = self.rates.iter().filter(|&&(at, _)| is_new(at) == new);
            rates.map(|&(_, rate)| rate).fold(0.0, f64::max)
        };
        most(true) > most(false) * GROWTH
    }

    fn is_stale(&self, now: Instant) -> bool {
        self.round_trip
            .is_none_or(|(_, at)| now.duration_since(at) > ROUND_TRIP_SPAN)
    }

    fn sample_round_trip(&mut self, now: Instant, sample: Duration) {
        let least = self
            .round
            .round_trip
            .map_or(sample, |least| least.min(sample));
        self.round.round_trip = Some(least);
        // On a full path the next one waits until the queue is gone.
        let is_stale = self.is_stale(now) && self.phase != Phase::Full;
        if is_stale || self.round_trip.is_none_or(|(least, _)| sample <= least) {
            self.round_trip = Some((sample, now));
        }
    }
}

impl Controller for Steady {
    fn on_sent(&mut self, now: Instant, _bytes: u64, _last_packet_number: u64) {
        let is_apart = |last: &Snapshot| now.duration_since(last.sent_at) >= SNAPSHOT_INTERVAL;
        if self.snapshots.back().is_none_or(is_apart) {
            if self.snapshots.is_empty() {
                // An idle path delivers nothing: that must not count against its rate.
                (self.delivered_at, self.delivered_sent_at) = (now, now);
            }
            if self.snapshots.len() == SNAPSHOTS_MAX {
                self.snapshots.pop_front();
            }
            self.snapshots.push_back(Snapshot {
                sent_at: now,
                delivered: self.delivered,
                delivered_at: self.delivered_at,
                delivered_sent_at: self.delivered_sent_at,
            });
        }
    }

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
        let window = (self.path_bytes() * self.gain()) as u64;
        let least = match self.phase {
            Phase::Start => self.start_window,
            Phase::Drain | Phase::Full => 0,
        };
        window.max(least).max(PACKETS_MIN * self.mtu)
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

impl Steady {
    fn acknowledge(&mut self, now: Instant, sent: Instant, bytes: u64, is_limited: bool) {
        self.delivered += bytes;
        self.round.bytes += bytes;
        self.round.limited_bytes += if is_limited { bytes } else { 0 };
        self.sample_round_trip(now, now.duration_since(sent));
        self.sample_rate(now, sent, is_limited);
        (self.delivered_at, self.delivered_sent_at) = (now, sent.max(self.delivered_sent_at));
    }
}

#[cfg(test)]
mod tests {
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
            }
        }

        /// For `length`: `rate` is the path's in bytes per second, `offered` the sender's.
        fn run(&mut self, length: Duration, rate: f64, offered: Option<f64>) {
            let (end, mut owed) = (self.now + length, 0.0);
            self.waits.clear();
            self.delivered = 0;
            while self.now < end {
                let step = Duration::from_micros(500);
                self.now += step;
                let now = self.start + self.now;
                owed = offered.map_or(f64::MAX, |offered| owed + offered * step.as_secs_f64());
                let mut is_limited = false;
                while self.in_flight.len() as u64 * PACKET < self.controller.window() {
                    if owed < PACKET as f64 {
                        is_limited = true;
                        break;
                    }
                    owed -= PACKET as f64;
                    let spent = Duration::from_secs_f64(PACKET as f64 / rate);
                    self.waits.push(self.idle_at.saturating_sub(self.now));
                    self.idle_at = self.idle_at.max(self.now) + spent;
                    self.in_flight
                        .push_back((self.idle_at + ROUND_TRIP, self.now));
                    self.controller.on_sent(now, PACKET, 0);
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
    fn silence_for_long_starts_over() {
        let mut path = Path::new();
        path.run(SECONDS(5), 1.3e6, None);
        let now = path.start + path.now;
        path.controller.on_congestion_event(now, now, true, 1400);
        assert_eq!(path.controller.window(), 256 * 1024);
    }
}
