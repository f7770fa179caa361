//! Rates of counters over the last second or so.

use std::time::Instant;

/// The last two looks at one counter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    total: u64,
    at: Instant,
    per_second: f64,
}

impl Rate {
    pub(super) fn start(total: u64, at: Instant) -> Self {
        Self {
            total,
            at,
            per_second: 0.0,
        }
    }

    /// Looks at the counter, and again about every second.
    pub(super) fn look(&mut self, total: u64, at: Instant) {
        let seconds = at.duration_since(self.at).as_secs_f64();
        if seconds > 0.0 {
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let change = total.saturating_sub(self.total) as f64;
            *self = Self {
                total,
                at,
                per_second: change / seconds,
            };
        }
    }

    pub(super) fn per_second(&self) -> f64 {
        self.per_second
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_rate_is_the_change_over_the_time_between_two_looks() {
        let start = Instant::now();
        let mut rate = Rate::start(100, start);
        rate.look(150, start + Duration::from_millis(500));
        assert!((rate.per_second() - 100.0).abs() < 1e-9);
        rate.look(150, start + Duration::from_millis(1500));
        assert!(rate.per_second().abs() < 1e-9);
    }
}
