//! A congestion controller for links that are always in use: it keeps the path's queue short, so that what a path cannot
//! carry waits in the log, where it still coalesces, and other traffic finds room; and it never holds up a path that has
//! room.
//!
//! Loss by itself says nothing: random loss is what long links have. A queue, seen as a longer round trip, says that the path
//! is full. Once a round trip the window is multiplied so that the round trip would be the shortest one and a little more,
//! as in FAST TCP (Wei, Jin, Low and Hegde, 2006). What counts is the shortest round trip of a round: a scheduler or an
//! acknowledgement that is late makes some longer, and a queue makes all longer. While there is no queue at all the window
//! doubles, because a link between caches mostly sends less than it could, and must not be held up when it has to catch up.
//!
//! A router that drops what is above a rate has no queue to be seen. So when much is lost for some rounds, the window becomes
//! what was carried and a little less: if most of the loss goes with it, the path was full; if not, it is random, and the
//! window is given back.
//!
//! It knows nothing of sockets and clocks: times come in.

mod round;
#[cfg(test)]
mod tests;

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use quinn::congestion::{Controller, ControllerFactory};

use self::round::Round;

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
/// Much is lost: this share of what was sent, and some packets, because few say little.
const LOST_SHARE: f64 = 0.1;
const LOST_PACKETS: u64 = 8;
/// In so many rounds in a row. What is shorter is a burst.
const LOST_ROUNDS: u32 = 3;
/// Loss of which no more than this share is left with the smaller window was ours.
const LOST_STILL: f64 = 0.4;
/// How long it counts what was found out about loss.
const LOSS_SPAN: Duration = Duration::from_secs(10);
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
    /// Rounds in a row in which much was lost.
    rounds_with_loss: u32,
    /// The window is made smaller for a round, to see where loss comes from.
    trial: Option<Trial>,
    /// With this window there was little loss, and much with a bigger one. It does not grow beyond until then, and then by steps
    /// until more was carried.
    carried: Option<(f64, Instant)>,
    /// This share is lost at random, and is not looked at until then.
    random: Option<(f64, Instant)>,
}

/// What was before.
#[derive(Clone, Copy, Debug)]
struct Trial {
    window: f64,
    /// What was lost of what was sent, without what is lost at random.
    lost_share: f64,
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
            rounds_with_loss: 0,
            trial: None,
            carried: None,
            random: None,
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
        let bytes = self.round.bytes as f64;
        self.carried = self.carried.filter(|(window, _)| bytes < window * STEP);
        if self.round.limited_bytes * 2 > self.round.bytes {
            // The window is not what limits: it says nothing, and must not be in the way of what comes.
            let window = self.trial.take().map_or(self.window, |trial| trial.window);
            self.rounds_with_loss = 0;
            self.phase = Phase::Start;
            self.window = window.max(self.initial_window as f64);
            return;
        }
        if let Some(before) = self.trial.take() {
            return self.judge(now, before);
        }
        self.rounds_with_loss = match self.is_much_lost(now) {
            true => self.rounds_with_loss + 1,
            false => 0,
        };
        if self.rounds_with_loss == LOST_ROUNDS {
            return self.try_less(now);
        }
        let aim = least.mul_f64(QUEUE_SHARE) + QUEUE_TIME;
        let queue = shortest.saturating_sub(least);
        self.rounds_with_room = match queue < aim.mul_f64(ROOM) {
            true => self.rounds_with_room + 1,
            false => 0,
        };
        match (self.rounds_with_room, self.phase) {
            // Not before it is known where the loss comes from.
            (1.., _) if self.rounds_with_loss > 0 => {}
            (1.., Phase::Start) | (LEAP_AFTER_ROUNDS.., _) if self.may_leap() => {
                self.phase = Phase::Start;
                self.grow(LEAP, now);
            }
            (1.., _) => {
                self.grow(STEP, now);
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

    fn grow(&mut self, factor: f64, now: Instant) {
        let most = self.round.bytes * AHEAD + self.initial_window;
        let most = match self.carried {
            Some((window, until)) if now < until => window.min(most as f64),
            _ => most as f64,
        };
        self.window = (self.window * factor).min(self.window.max(most));
    }

    fn may_leap(&self) -> bool {
        self.carried
            .is_none_or(|(window, _)| self.window * LEAP < window)
    }

    fn is_much_lost(&self, now: Instant) -> bool {
        let few = (LOST_PACKETS * self.mtu) as f64 / self.round.sent_bytes();
        self.lost_share(now) > LOST_SHARE + few
    }

    /// Of the round, without what is lost at random.
    fn lost_share(&self, now: Instant) -> f64 {
        let random = self.random.filter(|(_, until)| now < *until);
        self.round.lost_share() - random.map_or(0.0, |(share, _)| share)
    }

    fn try_less(&mut self, now: Instant) {
        self.trial = Some(Trial {
            window: self.window,
            lost_share: self.lost_share(now),
        });
        // Not just what was carried: what is sent in bursts is lost even then.
        self.window = self.window.min(self.round.bytes as f64) * LOOK;
        self.rounds_with_loss = 0;
        self.is_settling = true;
    }

    /// A round with the smaller window is over.
    fn judge(&mut self, now: Instant, before: Trial) {
        if self.lost_share(now) > before.lost_share * LOST_STILL {
            self.random = Some((self.round.lost_share(), now + LOSS_SPAN));
            self.window = before.window;
        } else {
            // The first time it may have been a burst, and the window may grow at once.
            let span = self.carried.map_or(Duration::ZERO, |_| LOSS_SPAN);
            let carried = self.window / LOOK / (1.0 - self.round.lost_share());
            self.carried = Some((carried.min(before.window), now + span));
            self.phase = Phase::Hold { since: None };
            self.rounds_with_room = 0;
        }
        self.is_settling = true;
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
        lost_bytes: u64,
    ) {
        self.round.lost_bytes += lost_bytes;
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
