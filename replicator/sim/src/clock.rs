//! The wall clock of one node: virtual time with an offset, a drift, and steps.

use greenwich_proto::time::{Time, Wall};

/// The wall time at which every run starts, in milliseconds since the Unix epoch.
pub const START: Wall = Wall(1_750_000_000_000);

/// How far one node's wall clock is off.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallClock {
    /// Milliseconds ahead of true time; negative is behind.
    pub offset_ms: i64,
    /// Microseconds gained per second.
    pub drift_ppm: i64,
}

impl WallClock {
    /// What the node reads at `now`.
    #[must_use]
    pub fn read(&self, now: Time) -> Wall {
        let elapsed_us = i64::try_from(now.0).expect("a run is short");
        let drift_us = elapsed_us / 1_000_000 * self.drift_ppm;
        let error_ms = self.offset_ms + drift_us / 1_000;
        Wall(START.0 + now.0 / 1_000).shifted(error_ms)
    }
}

trait Shifted {
    fn shifted(self, by_ms: i64) -> Self;
}

impl Shifted for Wall {
    fn shifted(self, by_ms: i64) -> Self {
        Self(self.0.saturating_add_signed(by_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_off_by_its_offset_and_its_drift() {
        let clock = WallClock {
            offset_ms: -20,
            drift_ppm: 1_000,
        };
        assert_eq!(clock.read(Time(0)).0, START.0 - 20);
        assert_eq!(clock.read(Time(10_000_000)).0, START.0 + 10_000 - 20 + 10);
        assert_eq!(WallClock::default().read(Time(5_000)).0, START.0 + 5);
    }
}
