//! Says in the log when a clock is off, and when it is right again: each once.
//!
//! It is told how far off clocks are; it reads none.

use std::{collections::BTreeMap, time::Duration};

use tracing::{info, warn};

use crate::status::Link;

/// A peer's clock that is off by one part in so many of what is tolerated is worth a look: before links are refused.
const PART: u32 = 10;

/// What was said of the clocks of a node and its peers.
#[derive(Debug)]
pub(super) struct ClockWatch {
    max_skew: Duration,
    own: Alarm,
    /// By region.
    peers: BTreeMap<String, Alarm>,
}

impl ClockWatch {
    pub(super) fn new(max_skew: Duration) -> Self {
        Self {
            max_skew,
            own: Alarm::default(),
            peers: BTreeMap::new(),
        }
    }

    /// The system's clock is `error_ms` ahead of the node's.
    pub(super) fn look_at_own(&mut self, error_ms: i64) {
        let limit_ms = millis(self.max_skew);
        match self.own.look(error_ms as f64, limit_ms) {
            Some(true) => warn!(
                ahead_ms = error_ms,
                "the system's clock was set: this node's follows it slowly; restart the node to take it over at once"
            ),
            Some(false) => info!("this node's clock is near the system's again"),
            None => {}
        }
    }

    /// Looks at the clocks of all peers.
    pub(super) fn look_at_peers(&mut self, links: &[Link]) {
        let limit_ms = millis(self.max_skew / PART);
        self.peers
            .retain(|region, _| links.iter().any(|link| link.region == *region));
        for link in links {
            let alarm = self.peers.entry(link.region.clone()).or_default();
            let Some(skew_ms) = link.clock_skew_ms else {
                continue;
            };
            match alarm.look(skew_ms, limit_ms) {
                Some(true) => warn!(
                    peer = link.region,
                    ahead_ms = skew_ms.round(),
                    refused_beyond = ?self.max_skew,
                    "the peer's clock differs from this node's: check time synchronisation on both hosts"
                ),
                Some(false) => info!(
                    peer = link.region,
                    "the peer's clock is near this node's again"
                ),
                None => {}
            }
        }
    }
}

/// Whether a clock was said to be off.
#[derive(Clone, Copy, Debug, Default)]
struct Alarm {
    is_raised: bool,
}

impl Alarm {
    /// Whether to say that it is off, or that it is right again. It is off beyond the limit, and right again below half of
    /// it, so that one at the limit is not said again and again.
    fn look(&mut self, off_ms: f64, limit_ms: f64) -> Option<bool> {
        let limit_ms = if self.is_raised {
            limit_ms / 2.0
        } else {
            limit_ms
        };
        let is_off = off_ms.abs() > limit_ms;
        let was_off = std::mem::replace(&mut self.is_raised, is_off);
        (is_off != was_off).then_some(is_off)
    }
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_said_once_and_so_is_its_end() {
        let mut alarm = Alarm::default();
        let said: Vec<_> = [0.0, 499.0, 501.0, 700.0, 499.0, 501.0, -501.0, 240.0, 501.0]
            .map(|off_ms| alarm.look(off_ms, 500.0))
            .into_iter()
            .flatten()
            .collect();
        assert_eq!(said, [true, false, true]);
    }
}
