//! A model of one direction of a network link: delay, jitter, loss, duplicates, a rate with a bounded queue. It
//! decides when a packet would arrive and moves nothing: it knows no socket, no clock and no entropy but its seed.
//! The simulator and the emulation inside a node's UDP socket share it.

mod presets;

use std::fmt;

pub use self::presets::{UnknownWan, Wan, preset};
use crate::{rng::Rng, time::Time};

/// What one direction of a link does to packets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkProfile {
    /// One-way delay in microseconds.
    pub delay_us: u64,
    /// The delay varies uniformly by up to this much either way, in microseconds; at most [`Self::delay_us`] counts.
    pub jitter_us: u64,
    /// Fraction of packets lost, 0 to 1.
    pub loss: f64,
    /// How many packets are lost in a row, in the mean: the two states of Gilbert (1960), one of which loses all.
    /// Up to 1, each packet is lost or not independently of the others.
    pub loss_burst_packets: f64,
    /// Fraction of packets that arrive twice, 0 to 1.
    pub duplicate: f64,
    /// Draws the jitter for each packet alone, so that packets may overtake each other. Otherwise the jitter drifts,
    /// as queues in routers do, and packets stay in order.
    pub reorder: bool,
    /// Bytes per second that the link can carry; `None` carries everything at once.
    pub rate_bytes_per_s: Option<u64>,
    /// Bytes that may wait for the rate; what comes on top is dropped (tail drop).
    pub queue_bytes: u64,
}

/// A router's buffer of about a bandwidth-delay product at 100 Mbit/s and 80 ms.
pub const QUEUE_BYTES_DEFAULT: u64 = 1024 * 1024;

impl LinkProfile {
    /// Delivers everything at once.
    pub const NONE: Self = Self {
        delay_us: 0,
        jitter_us: 0,
        loss: 0.0,
        loss_burst_packets: 0.0,
        duplicate: 0.0,
        reorder: false,
        rate_bytes_per_s: None,
        queue_bytes: QUEUE_BYTES_DEFAULT,
    };

    /// A link with half of this round trip in each direction and nothing else.
    #[must_use]
    pub const fn with_rtt_us(rtt_us: u64) -> Self {
        Self {
            delay_us: rtt_us / 2,
            ..Self::NONE
        }
    }

    /// True when the link neither delays nor drops nor repeats anything.
    #[must_use]
    pub fn is_none(&self) -> bool {
        Self {
            queue_bytes: QUEUE_BYTES_DEFAULT,
            reorder: false,
            loss_burst_packets: 0.0,
            ..*self
        } == Self::NONE
    }
}

impl Default for LinkProfile {
    fn default() -> Self {
        Self::NONE
    }
}

impl fmt::Display for LinkProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |micros: u64| micros as f64 / 1_000.0;
        write!(
            f,
            "{} ms one way ± {} ms, ",
            millis(self.delay_us),
            millis(self.jitter_us)
        )?;
        write!(f, "{} % loss", self.loss * 100.0)?;
        if self.loss_burst_packets > 1.0 {
            write!(f, " in bursts of {}", self.loss_burst_packets)?;
        }
        match self.rate_bytes_per_s {
            Some(rate) => write!(f, ", {rate} B/s with {} B queue", self.queue_bytes),
            None => Ok(()),
        }
    }
}

/// What becomes of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It arrives.
    Deliver {
        /// When it arrives.
        at: Time,
        /// When a second copy arrives, if the link duplicates it.
        duplicate_at: Option<Time>,
    },
    /// It never arrives.
    Drop(DropReason),
}

/// Why a packet does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// Lost at random.
    Loss,
    /// The queue in front of the rate was full.
    Queue,
    /// The link is cut.
    Cut,
}

/// One direction of a link, with the state that its profile needs.
#[derive(Clone, Debug)]
pub struct Link {
    profile: LinkProfile,
    cut: bool,
    rng: Rng,
    /// Whether a burst of losses is under way.
    is_in_burst: bool,
    /// When the last accepted byte will have left, in nanoseconds: packets are shorter than a microsecond on a fast link.
    idle_at_ns: u64,
    drift: Drift,
    newest_arrival: Time,
}

impl Link {
    /// An idle link; all its chances are decided by `seed`.
    #[must_use]
    pub const fn new(profile: LinkProfile, seed: u64) -> Self {
        Self {
            profile,
            cut: false,
            is_in_burst: false,
            rng: Rng::new(seed),
            idle_at_ns: 0,
            drift: Drift {
                from: Time(0),
                until: Time(0),
                start_us: 0.0,
                end_us: 0.0,
            },
            newest_arrival: Time(0),
        }
    }

    /// What the link does at present.
    #[must_use]
    pub const fn profile(&self) -> LinkProfile {
        self.profile
    }

    /// Changes what the link does to packets sent from here on; those under way keep their arrival.
    pub const fn set_profile(&mut self, profile: LinkProfile) {
        self.profile = profile;
        self.drift.until = Time(0);
    }

    /// Drops everything sent from here on, or stops doing so.
    pub const fn set_cut(&mut self, cut: bool) {
        self.cut = cut;
    }

    /// How long a packet that is sent at `now` would wait for the link's rate, in microseconds.
    #[must_use]
    pub const fn wait_us(&self, now: Time) -> u64 {
        (self.idle_at_ns / 1_000).saturating_sub(now.0)
    }

    /// Whether the link is cut.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.cut
    }

    /// Sends one packet of `bytes` at `now`. Calls come in the order of `now`.
    pub fn send(&mut self, now: Time, bytes: usize) -> Verdict {
        if self.cut {
            return Verdict::Drop(DropReason::Cut);
        }
        let Some(departure) = self.transmit(now, bytes) else {
            return Verdict::Drop(DropReason::Queue);
        };
        // A packet lost on the way has used the rate all the same.
        if self.loses() {
            return Verdict::Drop(DropReason::Loss);
        }
        let duplicate = self.profile.duplicate > 0.0 && self.rng.chance(self.profile.duplicate);
        let at = self.arrival(departure);
        let duplicate_at = duplicate.then(|| self.arrival(departure));
        Verdict::Deliver { at, duplicate_at }
    }

    /// Draws one number, whatever the profile.
    const fn loses(&mut self) -> bool {
        let LinkProfile {
            loss,
            loss_burst_packets,
            ..
        } = self.profile;
        if loss_burst_packets <= 1.0 || loss >= 1.0 {
            return self.rng.chance(loss);
        }
        // A burst ends after each of its packets with the chance that gives it its mean length, and begins as often as
        // keeps the share of lost packets.
        let end = 1.0 / loss_burst_packets;
        self.is_in_burst = match self.is_in_burst {
            true => !self.rng.chance(end),
            false => self.rng.chance(end * loss / (1.0 - loss)),
        };
        self.is_in_burst
    }

    /// When the packet's last byte has left, or `None` when the queue has no room for it.
    fn transmit(&mut self, now: Time, bytes: usize) -> Option<Time> {
        let Some(rate) = self.profile.rate_bytes_per_s.filter(|&rate| rate > 0) else {
            return Some(now);
        };
        let (now_ns, rate) = (now.0.saturating_mul(1_000), u128::from(rate));
        let start_ns = self.idle_at_ns.max(now_ns);
        let waiting_bytes = u128::from(start_ns - now_ns) * rate / NANOS_PER_SECOND;
        if waiting_bytes + bytes as u128 > u128::from(self.profile.queue_bytes) {
            return None;
        }
        let spent_ns = (bytes as u128 * NANOS_PER_SECOND).div_ceil(rate);
        self.idle_at_ns = start_ns.saturating_add(u64::try_from(spent_ns).unwrap_or(u64::MAX));
        Some(Time(self.idle_at_ns / 1_000))
    }

    fn arrival(&mut self, departure: Time) -> Time {
        let profile = self.profile;
        let jitter_us = profile.jitter_us.min(profile.delay_us) as f64;
        let offset_us = match (jitter_us > 0.0, profile.reorder) {
            (false, _) => 0.0,
            (true, true) => uniform(&mut self.rng, jitter_us),
            (true, false) => self.drift.offset_us(departure, jitter_us, &mut self.rng),
        };
        let delay_us = (profile.delay_us as f64 + offset_us).max(0.0).round() as u64;
        let at = Time(departure.0.saturating_add(delay_us));
        if profile.reorder {
            return at;
        }
        // A profile that just became faster must not let packets overtake those under way.
        self.newest_arrival = self.newest_arrival.max(at);
        self.newest_arrival
    }
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

fn uniform(rng: &mut Rng, reach_us: f64) -> f64 {
    (rng.fraction() * 2.0 - 1.0) * reach_us
}

/// Jitter that moves in straight lines from one random offset to the next. A line falls by less than one
/// microsecond per microsecond, so a later packet never overtakes an earlier one, and the mean stays the delay's:
/// taking the maximum of independent draws instead would push every packet of a busy link to the upper end.
#[derive(Clone, Copy, Debug)]
struct Drift {
    from: Time,
    until: Time,
    start_us: f64,
    end_us: f64,
}

/// A line lasts this many times the jitter: the steepest one (from one end to the other) falls at half speed.
const DRIFT_LINE_PER_JITTER: f64 = 4.0;

impl Drift {
    fn offset_us(&mut self, at: Time, jitter_us: f64, rng: &mut Rng) -> f64 {
        let line_us = ((jitter_us * DRIFT_LINE_PER_JITTER) as u64).max(1);
        if at.0 >= self.until.0.saturating_add(line_us) {
            *self = Self {
                from: at,
                until: at,
                start_us: 0.0,
                end_us: uniform(rng, jitter_us),
            };
        }
        if at >= self.until {
            let until = Time(self.until.0.saturating_add(line_us));
            *self = Self {
                from: self.until,
                until,
                start_us: self.end_us,
                end_us: uniform(rng, jitter_us),
            };
        }
        let passed = at.0.saturating_sub(self.from.0) as f64 / (self.until.0 - self.from.0) as f64;
        self.start_us + (self.end_us - self.start_us) * passed
    }
}

#[cfg(test)]
mod tests;
