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

/// Percentiles of a lag, in milliseconds.
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
    /// The worst.
    pub max_ms: f64,
    /// How long before it was found a probe was looked for, median: the error of the figures above.
    pub look_ms_p50: f64,
    /// The same, 99 of 100.
    pub look_ms_p99: f64,
}

impl Lag {
    /// Its percentiles.
    #[must_use]
    pub fn figures(&self) -> LagFigures {
        let at = |of: &Histogram<u64>, quantile| of.value_at_quantile(quantile) as f64 / 1e6;
        let seen = |quantile| at(&self.seen_after, quantile);
        LagFigures {
            probes: self.seen_after.len(),
            never: self.never,
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
