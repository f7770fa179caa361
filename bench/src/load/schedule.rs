//! When requests are due: an open loop, whatever the server does. It does not know what a request is.

use std::{ops::RangeInclusive, time::Duration};

/// Evenly spaced slots. Each thread has its own, shifted against those of the others.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Start of the first slot, since the start of the run.
    first: Duration,
    slots_per_second: f64,
    taken: u64,
    slots: u64,
}

impl Schedule {
    /// `slots_per_second` for `length`, with the share of thread `index` of `threads`.
    #[must_use]
    pub fn new(slots_per_second: f64, length: Duration, index: usize, threads: usize) -> Self {
        let all = (length.as_secs_f64() * slots_per_second) as u64;
        let (number, of) = (index as u64, threads as u64);
        Self {
            first: Duration::from_secs_f64(index as f64 / slots_per_second),
            slots_per_second: slots_per_second / threads as f64,
            taken: 0,
            // The first threads take what is left over.
            slots: all / of + u64::from(number < all % of),
        }
    }

    /// When the next slot starts; `None` after the last.
    #[must_use]
    pub fn next_at(&self) -> Option<Duration> {
        (self.taken < self.slots).then(|| {
            let offset = self.taken as f64 / self.slots_per_second;
            self.first + Duration::from_secs_f64(offset)
        })
    }

    /// Takes the next slot if it is due, and tells its intended start.
    pub fn take(&mut self, now: Duration) -> Option<Duration> {
        let at = self.next_at().filter(|&at| at <= now)?;
        self.taken += 1;
        Some(at)
    }

    /// When the slot after the last would start.
    #[must_use]
    pub fn end(&self) -> Duration {
        self.first + Duration::from_secs_f64(self.slots as f64 / self.slots_per_second)
    }

    /// Slots that were not taken.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.slots - self.taken
    }

    /// Slots that were due until `now`, and not taken.
    #[must_use]
    pub fn overdue(&self, now: Duration) -> u64 {
        let Some(since_first) = now.checked_sub(self.first) else {
            return 0;
        };
        let later = (since_first.as_secs_f64() * self.slots_per_second) as u64;
        let due = later.saturating_add(1).min(self.slots);
        due.saturating_sub(self.taken)
    }
}

/// From a request in a quarter of an hour to so many a second that no load comes near: slots are not counted beyond.
const RATES: RangeInclusive<f64> = 1e-3..=1e8;

/// Why no load can have this rate, if so.
#[must_use]
pub fn rate_problem(rate: f64) -> Option<String> {
    let is_possible = RATES.contains(&rate);
    (!is_possible).then(|| format!("rate must be 0.001 to 100 million a second, and is {rate}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_of_all_threads_are_even_and_complete() {
        let mut starts = Vec::new();
        for index in 0..3 {
            let mut schedule = Schedule::new(301.0, Duration::from_secs(2), index, 3);
            while let Some(at) = schedule.take(Duration::MAX) {
                starts.push(at.as_micros());
            }
            assert_eq!(schedule.left(), 0);
        }
        starts.sort_unstable();
        assert_eq!(starts.len(), 602);
        for (slot, start) in starts.iter().enumerate() {
            let expected = slot as f64 * 1e6 / 301.0;
            assert!((*start as f64 - expected).abs() < 2.0, "slot {slot}");
        }
    }

    #[test]
    fn a_late_generator_finds_every_slot_with_its_intended_start() {
        let mut schedule = Schedule::new(1000.0, Duration::from_secs(1), 0, 1);
        let late = Duration::from_millis(10);
        let taken: Vec<_> = std::iter::from_fn(|| schedule.take(late)).collect();
        assert_eq!(taken.len(), 11);
        assert_eq!(taken[3], Duration::from_millis(3));
        assert_eq!(schedule.left(), 989);
        assert_eq!(schedule.overdue(late), 0);
        assert_eq!(schedule.overdue(Duration::from_millis(20)), 10);
        assert_eq!(schedule.overdue(schedule.end()), 989);
        let second = Schedule::new(1000.0, Duration::from_secs(1), 1, 2);
        assert_eq!(second.overdue(Duration::ZERO), 0);
        assert_eq!(schedule.next_at(), Some(Duration::from_millis(11)));
    }
}
