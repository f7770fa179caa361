//! How much may be in flight to one peer.
//!
//! About 1.5 × delivery rate × round trip: enough that an acknowledgement lost on the way does not stall the sender,
//! little enough that the rest waits in the log, where it still coalesces, and not in queues along the path. The rate
//! is the largest of recent samples, as in BBR (Cardwell et al., 2016); while the window limits, each round grows it by
//! half. A link that knows its path says what that holds: the window is then never smaller than a little more, and is as
//! small as that where the path is slow.

use std::{collections::VecDeque, time::Duration};

use crate::time::Time;

/// How many rounds a rate sample counts.
const RATE_ROUNDS: usize = 10;
/// How long the smallest round trip counts.
const ROUND_TRIP_SPAN: Duration = Duration::from_secs(10);

/// A batch that is larger does not count, and says nothing about the path: the link lets the small ones behind it pass, so
/// updates go on while a large value is under way. On a slow path the window is smaller than any part of one.
const COUNTED_BYTES_MAX: u64 = 256 * 1024;
/// Such batches that may be in flight together: one is on its way, and the next one follows it without a pause.
const LARGE_IN_FLIGHT_MAX: usize = 2;

/// What is not urgent takes three of four parts of the window at most.
const SPARE_PARTS: (u64, u64) = (3, 4);

/// Bounds of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowLimits {
    /// Never less than this many bytes.
    pub min_bytes: u64,
    /// Never more.
    pub max_bytes: u64,
}

/// What is remembered of a batch while it is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) bytes: u64,
    at: Time,
    delivered_before: u64,
    delivered_at: Time,
}

/// Bytes in flight, and how many there may be.
#[derive(Debug)]
pub(super) struct Window {
    limits: WindowLimits,
    in_flight: u64,
    /// What of it counts: all but the large batches.
    counted: u64,
    large_in_flight: usize,
    delivered: u64,
    delivered_at: Time,
    round_ends_at: u64,
    /// Largest rate of each recent round in bytes per second.
    rates: VecDeque<u64>,
    round_trip: Option<(Duration, Time)>,
    /// What the link lets be in flight on its path, if it says so.
    path_bytes: Option<u64>,
}

impl Window {
    pub(super) fn new(limits: WindowLimits, now: Time) -> Self {
        Self {
            limits,
            in_flight: 0,
            counted: 0,
            large_in_flight: 0,
            delivered: 0,
            delivered_at: now,
            round_ends_at: 0,
            rates: VecDeque::from([0]),
            round_trip: None,
            path_bytes: None,
        }
    }

    pub(super) fn in_flight_bytes(&self) -> u64 {
        self.in_flight
    }

    pub(super) fn has_room(&self) -> bool {
        self.counted < self.size_bytes()
    }

    /// Whether there is room for a batch of any size.
    pub(super) fn has_room_for_large(&self) -> bool {
        self.has_room() && self.large_in_flight < LARGE_IN_FLIGHT_MAX
    }

    /// Whether there is room that what is urgent will not need.
    pub(super) fn has_room_to_spare(&self) -> bool {
        self.has_room() && self.counted < self.size_bytes() * SPARE_PARTS.0 / SPARE_PARTS.1
    }

    /// The window in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        let rate = self.rates.iter().max().copied().unwrap_or(0);
        let round_trip = self
            .round_trip
            .map_or(Duration::ZERO, |(shortest, _)| shortest);
        let product = u128::from(rate) * round_trip.as_micros() * 3 / 2 / 1_000_000;
        // Beyond what is on the path, a little waits in the link, so that the path never does.
        let path = self.path_bytes.map(|bytes| bytes + bytes / 4);
        let least = path.map_or(self.limits.min_bytes, |path| {
            path.min(self.limits.min_bytes)
        });
        u64::try_from(product)
            .unwrap_or(u64::MAX)
            .clamp(least, self.limits.max_bytes)
    }

    /// The link lets so many bytes be in flight on its path.
    pub(super) fn set_path(&mut self, bytes: u64) {
        self.path_bytes = Some(bytes);
    }

    pub(super) fn send(&mut self, bytes: u64, now: Time) -> Sent {
        if self.in_flight == 0 {
            // An idle path delivers nothing; its idle time must not count against the rate.
            self.delivered_at = now;
        }
        self.in_flight += bytes;
        match bytes > COUNTED_BYTES_MAX {
            true => self.large_in_flight += 1,
            false => self.counted += bytes,
        }
        Sent {
            bytes,
            at: now,
            delivered_before: self.delivered,
            delivered_at: self.delivered_at,
        }
    }

    pub(super) fn acknowledge(&mut self, sent: Sent, now: Time) {
        self.in_flight -= sent.bytes;
        if sent.bytes > COUNTED_BYTES_MAX {
            self.large_in_flight -= 1;
            return;
        }
        self.counted -= sent.bytes;
        self.delivered += sent.bytes;
        self.delivered_at = now;
        self.sample_round_trip(now.since(sent.at), now);
        let span = now
            .since(sent.delivered_at)
            .max(now.since(sent.at))
            .as_micros()
            .max(1);
        let rate = u128::from(self.delivered - sent.delivered_before) * 1_000_000 / span;
        if sent.delivered_before >= self.round_ends_at {
            self.round_ends_at = self.delivered;
            self.rates.push_front(0);
            self.rates.truncate(RATE_ROUNDS);
        }
        if let Some(newest) = self.rates.front_mut() {
            *newest = (*newest).max(u64::try_from(rate).unwrap_or(u64::MAX));
        }
    }

    /// The link is gone: nothing that was in flight will be acknowledged.
    pub(super) fn lose_all(&mut self) {
        self.path_bytes = None;
        (self.in_flight, self.counted, self.large_in_flight) = (0, 0, 0);
    }

    fn sample_round_trip(&mut self, sample: Duration, now: Time) {
        let keep = self
            .round_trip
            .is_some_and(|(shortest, at)| shortest < sample && now.since(at) < ROUND_TRIP_SPAN);
        if !keep {
            self.round_trip = Some((sample, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: WindowLimits = WindowLimits {
        min_bytes: 1_000,
        max_bytes: 10_000_000,
    };

    /// Sends as much as the window allows over a path of 80 ms and `rate` bytes per second for `rounds` round trips.
    fn window_after(rate: u64, rounds: u64) -> u64 {
        let mut window = Window::new(LIMITS, Time(0));
        let mut queue: VecDeque<(u64, Sent)> = VecDeque::new();
        let (mut now, mut path_free) = (0u64, 0u64);
        while now < rounds * 80_000 {
            while window.has_room() {
                path_free = path_free.max(now) + 1_000_000_000 / rate;
                queue.push_back((path_free + 80_000, window.send(1_000, Time(now))));
            }
            let (arrives, sent) = queue.pop_front().unwrap();
            now = now.max(arrives);
            window.acknowledge(sent, Time(now));
        }
        window.size_bytes()
    }

    #[test]
    fn settles_near_one_and_a_half_times_rate_and_round_trip() {
        let product = 5_000_000 * 80 / 1_000;
        let window = window_after(5_000_000, 60);
        assert!(
            window > product && window < product * 2,
            "{window} bytes for a path that holds {product}"
        );
    }

    #[test]
    fn a_large_batch_leaves_room_for_small_ones_and_teaches_nothing() {
        let mut window = Window::new(LIMITS, Time(0));
        window.set_path(400);
        let before = window.size_bytes();
        let large = window.send(500 * 1024 * 1024, Time(0));
        assert!(window.has_room_for_large());
        let another = window.send(500 * 1024 * 1024, Time(1));
        assert!(!window.has_room_for_large(), "a third one has to wait");
        assert!(window.has_room(), "small ones do not");
        window.acknowledge(large, Time(60_000_000));
        assert!(window.has_room_for_large());
        window.acknowledge(another, Time(60_000_001));
        assert_eq!((window.in_flight_bytes(), window.size_bytes()), (0, before));
    }

    #[test]
    fn a_slow_path_makes_it_smaller_than_the_least_and_no_path_larger() {
        let mut window = Window::new(LIMITS, Time(0));
        window.set_path(400);
        assert_eq!(window.size_bytes(), 500);
        window.set_path(1_000_000);
        assert_eq!(window.size_bytes(), LIMITS.min_bytes);
    }

    #[test]
    fn stays_within_its_limits() {
        assert_eq!(Window::new(LIMITS, Time(0)).size_bytes(), LIMITS.min_bytes);
        assert_eq!(window_after(900_000_000, 200), LIMITS.max_bytes);
    }
}
