//! A histogram as reports keep it: percentiles from the median to the worst, ever finer, as HdrHistogram's plots have them.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Percentiles of a time, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Distribution {
    /// How many times were recorded.
    pub count: u64,
    /// Their mean.
    pub mean_ms: f64,
    /// Their standard deviation.
    #[serde(default)]
    pub deviation_ms: f64,
    /// The worst.
    pub max_ms: f64,
    /// From the least to the worst, denser towards the worst.
    pub points: Vec<Point>,
}

/// One percentile.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct Point {
    /// Share of the times that are not longer, 0 to 1.
    pub quantile: f64,
    /// That time.
    pub ms: f64,
    /// How many times are not longer.
    pub count: u64,
}

/// Points until half of what is left to the worst is passed.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

impl Distribution {
    /// Of a histogram of nanoseconds.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let millis = |nanos: f64| nanos / 1e6;
        let points = histogram
            .iter_quantiles(TICKS_PER_HALF_DISTANCE)
            .map(|step| Point {
                quantile: step.quantile(),
                ms: millis(histogram.value_at_quantile(step.quantile()) as f64),
                count: histogram.count_between(0, step.value_iterated_to()),
            });
        Self {
            count: histogram.len(),
            mean_ms: millis(histogram.mean()),
            deviation_ms: millis(histogram.stdev()),
            max_ms: millis(histogram.max() as f64),
            points: points.collect(),
        }
    }

    /// The time that a share of `quantile` does not exceed, of the points that were kept; zero when nothing was recorded.
    #[must_use]
    pub fn at(&self, quantile: f64) -> f64 {
        let reached = self.points.iter().find(|point| point.quantile >= quantile);
        reached.map_or(self.max_ms, |point| point.ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::record::histogram;

    #[test]
    fn a_distribution_has_the_percentiles_of_its_histogram() {
        let mut times = histogram();
        (1..=10_000_u64).for_each(|micros| times.saturating_record(micros * 1000));
        let distribution = Distribution::of(&times);
        assert_eq!(distribution.count, 10_000);
        assert!((distribution.mean_ms - 5.0).abs() < 0.05);
        assert!((distribution.max_ms - 10.0).abs() < 0.02);
        assert!((distribution.deviation_ms - 2.887).abs() < 0.03);
        for (quantile, ms) in [(0.5, 5.0), (0.99, 9.9), (0.999, 9.99)] {
            let found = distribution.at(quantile);
            assert!((found - ms).abs() / ms < 0.03, "{quantile}: {found}");
        }
        let last = distribution.points.last().unwrap();
        assert_eq!((last.quantile, last.count), (1.0, 10_000));
        assert_eq!(Distribution::of(&histogram()), Distribution::default());
    }
}
