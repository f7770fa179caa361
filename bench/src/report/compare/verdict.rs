//! Whether two sets of measurements of the same differ by more than chance.
//!
//! The rule: the ratio of B to A has a 99 % confidence interval, of Student's t over the logarithms of the rounds. Rounds
//! of two reports are independent (Welch); rounds of two servers that took turns in one report are pairs, so that what
//! befell both falls out. They differ when the interval does not contain 1, the medians differ by at least 1 %, and by
//! more than the measurement's own error. What was measured in one run each can be called noise, and never a difference:
//! nothing is known of how runs differ.

use std::fmt;

use crate::report::local::Spread;

/// Measurements of the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// In the order in which they were taken.
    pub values: Vec<f64>,
    /// Whether the values are parts of one run.
    pub is_one_run: bool,
    /// The error of each, in the same unit.
    pub error: f64,
}

/// How measurements of A belong to those of B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounds {
    /// Not at all.
    Independent,
    /// The first to the first, and so on.
    Paired,
}

/// What can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// B is better.
    Better,
    /// B is worse.
    Worse,
    /// The difference is within noise.
    Noise,
    /// It is more than the noise within a run, and nothing is known of the noise between runs.
    OneRun,
    /// There is one measurement of A or of B.
    Once,
    /// A value is not above zero.
    NoRatio,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Noise => "within noise",
            Self::OneRun => "differs, in one run each",
            Self::Once => "measured once",
            Self::NoRatio => "without a ratio",
        })
    }
}

/// B beside A.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Median of A.
    pub a: f64,
    /// Median of B.
    pub b: f64,
    /// Of the medians, B to A, when both are above zero.
    pub ratio: Option<f64>,
    /// The ends of the ratio's confidence interval, when there are at least two rounds.
    pub interval: Option<(f64, f64)>,
    /// What that means.
    pub verdict: Verdict,
}

/// A smaller difference is called noise, whatever its interval: clocks and counters are no better.
const DIFFERENCE_MIN: f64 = 0.01;

/// Student's t, two-sided, 99 %, by degrees of freedom from 1; what comes later is hardly smaller.
const T_99: [f64; 30] = [
    63.657, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.250, 3.169, 3.106, 3.055, 3.012,
    2.977, 2.947, 2.921, 2.898, 2.878, 2.861, 2.845, 2.831, 2.819, 2.807, 2.797, 2.787, 2.779,
    2.771, 2.763, 2.756, 2.750,
];

impl Comparison {
    /// Compares B with A.
    #[must_use]
    pub fn new(a: &Sample, b: &Sample, rounds: Rounds, is_more_better: bool) -> Self {
        let median = |sample: &Sample| Spread::of(sample.values.clone()).median;
        let (of_a, of_b) = (median(a), median(b));
        let ratio = (of_a > 0.0 && of_b > 0.0).then(|| of_b / of_a);
        let interval = interval(&a.values, &b.values, rounds);
        let verdict = match (ratio, interval) {
            (Some(ratio), Some((least, most))) => {
                let is_chance = least <= 1.0 && most >= 1.0;
                let is_small = (ratio - 1.0).abs() < DIFFERENCE_MIN
                    || (of_b - of_a).abs() <= a.error.max(b.error);
                match (is_chance || is_small, a.is_one_run || b.is_one_run) {
                    (true, _) => Verdict::Noise,
                    (false, true) => Verdict::OneRun,
                    (false, false) if (ratio > 1.0) == is_more_better => Verdict::Better,
                    (false, false) => Verdict::Worse,
                }
            }
            _ if a.values.len().min(b.values.len()) < 2 => Verdict::Once,
            _ => Verdict::NoRatio,
        };
        Self {
            a: of_a,
            b: of_b,
            ratio,
            interval,
            verdict,
        }
    }
}

/// The interval of the ratio; `None` with fewer than two rounds, or where a value has no logarithm.
fn interval(a: &[f64], b: &[f64], rounds: Rounds) -> Option<(f64, f64)> {
    let (a, b) = (logarithms(a)?, logarithms(b)?);
    let (difference, error, freedom) = match rounds {
        Rounds::Paired if a.len() == b.len() => {
            let differences: Vec<f64> = a.iter().zip(&b).map(|(a, b)| b - a).collect();
            let (mean, square) = mean_and_error(&differences)?;
            (mean, square.sqrt(), differences.len() as f64 - 1.0)
        }
        Rounds::Paired | Rounds::Independent => {
            let ((mean_a, square_a), (mean_b, square_b)) =
                (mean_and_error(&a)?, mean_and_error(&b)?);
            let square = square_a + square_b;
            let of = |part: f64, count: usize| part * part / (count as f64 - 1.0);
            let freedom = square * square / (of(square_a, a.len()) + of(square_b, b.len()));
            (mean_b - mean_a, square.sqrt(), freedom)
        }
    };
    // Without any spread the freedom is not a number, and no factor matters.
    let freedom = if freedom >= 1.0 { freedom as usize } else { 1 };
    let reach = T_99[freedom.min(T_99.len()) - 1] * error;
    Some(((difference - reach).exp(), (difference + reach).exp()))
}

fn logarithms(values: &[f64]) -> Option<Vec<f64>> {
    let logarithm = |value: &f64| (*value > 0.0).then(|| value.ln());
    values.iter().map(logarithm).collect()
}

/// The mean, and the square of its standard error; `None` with fewer than two values.
fn mean_and_error(values: &[f64]) -> Option<(f64, f64)> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() >= 2).then(|| (mean, squares / (count - 1.0) / count))
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};
    use rand_distr::{Distribution, LogNormal};

    use super::*;

    fn sample(values: &[f64]) -> Sample {
        Sample {
            values: values.to_vec(),
            is_one_run: false,
            error: 0.0,
        }
    }

    /// Share of 2,000 comparisons that call a difference of `factor` by its name, at 2 % of noise.
    fn share(factor: f64, rounds: usize, kind: Rounds, is_called: fn(Verdict) -> bool) -> f64 {
        let mut random = StdRng::seed_from_u64(7);
        let noise = LogNormal::new(0.0, 0.02).unwrap();
        // What befalls a whole round falls on both when they take turns.
        let weather = LogNormal::new(0.0, if kind == Rounds::Paired { 0.2 } else { 0.0 }).unwrap();
        let mut called = 0;
        for _ in 0..2000 {
            let (mut a, mut b) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                let round = 100.0 * weather.sample(&mut random);
                a.push(round * noise.sample(&mut random));
                b.push(round * factor * noise.sample(&mut random));
            }
            let comparison = Comparison::new(&sample(&a), &sample(&b), kind, true);
            called += usize::from(is_called(comparison.verdict));
        }
        called as f64 / 2000.0
    }

    #[test]
    fn noise_is_called_noise() {
        for rounds in [3, 5, 10] {
            for kind in [Rounds::Independent, Rounds::Paired] {
                let wrong = share(1.0, rounds, kind, |verdict| verdict != Verdict::Noise);
                assert!(wrong < 0.02, "{rounds} {kind:?}: {wrong}");
            }
        }
    }

    #[test]
    fn a_difference_is_found() {
        let better = |verdict| verdict == Verdict::Better;
        let worse = |verdict| verdict == Verdict::Worse;
        assert!(share(1.1, 5, Rounds::Independent, better) > 0.95);
        assert!(share(0.85, 5, Rounds::Paired, worse) > 0.95);
        assert!(share(1.3, 3, Rounds::Independent, better) > 0.9);
        let found = share(1.3, 3, Rounds::Paired, better);
        assert!(found > 0.9, "{found}");
        let found = share(1.1, 5, Rounds::Paired, better);
        assert!(found > 0.9, "{found}");
    }

    #[test]
    fn pairs_see_through_what_befalls_both() {
        let (a, b) = (sample(&[100.0, 50.0, 80.0]), sample(&[110.0, 55.1, 87.9]));
        let verdict = |rounds| Comparison::new(&a, &b, rounds, true).verdict;
        assert_eq!(verdict(Rounds::Paired), Verdict::Better);
        assert_eq!(verdict(Rounds::Independent), Verdict::Noise);
    }

    #[test]
    fn little_is_said_of_little() {
        let verdict =
            |a: &Sample, b: &Sample| Comparison::new(a, b, Rounds::Independent, false).verdict;
        assert_eq!(verdict(&sample(&[1.0]), &sample(&[9.0])), Verdict::Once);
        assert_eq!(
            verdict(&sample(&[0.0, 0.0]), &sample(&[9.0, 9.0])),
            Verdict::NoRatio
        );
        let same = sample(&[5.0, 5.0, 5.0]);
        assert_eq!(verdict(&same, &same), Verdict::Noise);
        let almost = sample(&[5.04, 5.04, 5.04]);
        assert_eq!(verdict(&same, &almost), Verdict::Noise, "below 1 %");
        let (mut parts, mut coarse) = (sample(&[8.0, 8.1, 8.0]), sample(&[8.0, 8.1, 8.0]));
        assert_eq!(verdict(&same, &parts), Verdict::Worse);
        parts.is_one_run = true;
        assert_eq!(verdict(&same, &parts), Verdict::OneRun);
        coarse.error = 4.0;
        assert_eq!(verdict(&same, &coarse), Verdict::Noise, "within the error");
    }

    #[test]
    fn the_interval_is_students() {
        // By hand: logarithms 0 and 0.2 against 0.4 and 0.6: difference 0.4, each mean's error 0.1, freedom 2.
        let of = |logarithms: [f64; 2]| logarithms.map(f64::exp);
        let (least, most) =
            interval(&of([0.0, 0.2]), &of([0.4, 0.6]), Rounds::Independent).unwrap();
        let reach = 9.925 * 0.02_f64.sqrt();
        assert!((least.ln() - (0.4 - reach)).abs() < 1e-9, "{least}");
        assert!((most.ln() - (0.4 + reach)).abs() < 1e-9, "{most}");
    }
}
