//! What was seen of a path in about a round trip.

use std::time::{Duration, Instant};

/// A round ends when something that was sent within it is acknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) began: Instant,
    /// The shortest round trip within it.
    pub(super) round_trip: Option<Duration>,
    /// Bytes acknowledged within it, and those of them that came while there was nothing to send.
    pub(super) bytes: u64,
    pub(super) limited_bytes: u64,
    /// Bytes that were noticed to be lost within it.
    pub(super) lost_bytes: u64,
}

impl Round {
    pub(super) const fn new(began: Instant) -> Self {
        Self {
            began,
            round_trip: None,
            bytes: 0,
            limited_bytes: 0,
            lost_bytes: 0,
        }
    }

    /// Those of which it is known where they went.
    pub(super) fn sent_bytes(&self) -> f64 {
        (self.bytes + self.lost_bytes) as f64
    }

    pub(super) fn lost_share(&self) -> f64 {
        self.lost_bytes as f64 / self.sent_bytes()
    }
}
