//! Replication lag, end to end: keys that are written in one region at known times, and looked for in another.
//!
//! Writer and readers share a clock, because they are threads of one process. A reader asks for what is under way again and
//! again; how long before it found a probe it last looked for it is the error of the measurement, and is reported.

pub mod probe;

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::load::record::histogram;

/// Lag from one region to another.
#[derive(Clone, Debug)]
pub struct Lag {
    /// From the intended start of a probe's write to the first look that found it, in nanoseconds.
    pub seen_after: Histogram<u64>,
    /// From the look before the one that found a probe, or from when it could first be there, to that one, in nanoseconds.
    pub looks: Histogram<u64>,
    /// Probes that were not found within the limit.
    pub never: u64,
    /// For plots: when probes were due, since the start, and how long they took; at most one a point of time.
    pub series: Vec<(Duration, Duration)>,
}

impl Default for Lag {
    fn default() -> Self {
        Self {
            seen_after: histogram(),
            looks: histogram(),
            never: 0,
            series: Vec::new(),
        }
    }
}

/// Percentiles of a lag, in milliseconds. Probes that were never seen lie beyond all others: see [`LagFigures::is_known`].
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct LagFigures {
    /// Probes that were found.
    pub probes: u64,
    /// Probes that were not found within the limit.
    pub never: u64,
    /// Half of the probes took less.
    pub p50_ms: f64,
    /// 90 of 100 took less.
    pub p90_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// 999 of 1,000.
    pub p999_ms: f64,
    /// 9,999 of 10,000.
    pub p9999_ms: f64,
    /// The worst of those that were found.
    pub max_ms: f64,
    /// How long before it was found a probe was looked for, median: the error of the figures above.
    pub look_ms_p50: f64,
    /// The same, 99 of 100.
    pub look_ms_p99: f64,
}

impl LagFigures {
    /// p50, p90, p99, p99.9, p99.99 and the maximum of those that were found, where they are known.
    #[must_use]
    pub fn known_ms(&self) -> [Option<f64>; 6] {
        let known = |quantile, ms| self.is_known(quantile).then_some(ms);
        [
            known(0.5, self.p50_ms),
            known(0.9, self.p90_ms),
            known(0.99, self.p99_ms),
            known(0.999, self.p999_ms),
            known(0.9999, self.p9999_ms),
            (self.probes > 0).then_some(self.max_ms),
        ]
    }

    /// Whether this percentile is known: it is not where probes lie that were never seen, and one without a probe beyond it is
    /// the maximum by another name.
    #[must_use]
    pub fn is_known(&self, quantile: f64) -> bool {
        let all = (self.probes + self.never) as f64;
        all * quantile <= self.probes as f64 && all * (1.0 - quantile) >= 1.0
    }
}

impl Lag {
    /// Its percentiles.
    #[must_use]
    pub fn figures(&self) -> LagFigures {
        let at = |of: &Histogram<u64>, quantile| of.value_at_quantile(quantile) as f64 / 1e6;
        let (probes, never) = (self.seen_after.len(), self.never);
        let all_by_seen = (probes + never) as f64 / probes.max(1) as f64;
        let seen = |quantile: f64| at(&self.seen_after, (quantile * all_by_seen).min(1.0));
        LagFigures {
            probes,
            never,
            p50_ms: seen(0.5),
            p90_ms: seen(0.9),
            p99_ms: seen(0.99),
            p999_ms: seen(0.999),
            p9999_ms: seen(0.9999),
            max_ms: seen(1.0),
            look_ms_p50: at(&self.looks, 0.5),
            look_ms_p99: at(&self.looks, 0.99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many times of so many milliseconds each.
    fn times(of: &[(u64, u64)]) -> Histogram<u64> {
        let mut times = histogram();
        for &(count, millis) in of {
            times.saturating_record_n(millis * 1_000_000, count);
        }
        times
    }

    #[test]
    fn every_percentile_is_its_own() {
        let (seen_after, looks) = (
            times(&[
                (60_000, 1),
                (35_000, 2),
                (4_500, 3),
                (450, 4),
                (45, 5),
                (5, 6),
            ]),
            times(&[(60, 7), (36, 8), (4, 9)]),
        );
        let (never, series) = (3, Vec::new());
        let lag = Lag {
            seen_after,
            looks,
            never,
            series,
        };
        let LagFigures {
            probes,
            never,
            p50_ms,
            p90_ms,
            p99_ms,
            p999_ms,
            p9999_ms,
            max_ms,
            look_ms_p50,
            look_ms_p99,
        } = lag.figures();
        assert_eq!((probes, never), (100_000, 3));
        let seen = [p50_ms, p90_ms, p99_ms, p999_ms, p9999_ms, max_ms];
        // Histograms keep three digits.
        assert_eq!(seen.map(f64::round), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!([look_ms_p50, look_ms_p99].map(f64::round), [7.0, 9.0]);
    }

    #[test]
    fn what_was_never_seen_lies_beyond_all_others() {
        let figures = |seen: &[(u64, u64)], never| {
            let lag = Lag {
                seen_after: times(seen),
                never,
                ..Lag::default()
            };
            lag.figures()
        };
        let most = figures(&[(50, 1), (20, 2)], 30);
        assert_eq!(most.p50_ms.round(), 1.0);
        assert!(most.is_known(0.5) && most.is_known(0.7));
        assert!(!most.is_known(0.75) && !most.is_known(0.9));
        let half = figures(&[(30, 1), (30, 2)], 40);
        assert_eq!(half.p50_ms.round(), 2.0, "half of all, not of those seen");
        let none = figures(&[], 7);
        assert!(!none.is_known(0.5) && !none.is_known(0.99));
        let few = figures(&[(50, 1)], 0);
        assert!(
            few.is_known(0.9) && !few.is_known(0.99),
            "the maximum by another name"
        );
    }
}
