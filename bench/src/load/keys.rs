//! Which key comes next.

use std::{fmt, str::FromStr};

use rand::{Rng, RngExt, rngs::StdRng};
use rand_distr::{Distribution, Zipf};

/// How often keys are asked for, beside each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KeySpread {
    /// All alike.
    Uniform,
    /// A key's share falls with its rank to this power: 0.99 is YCSB's. The ranks are scattered over the keys.
    Zipf(f64),
    /// A fifth of the keys gets four fifths of the requests.
    HotSet,
}

/// YCSB's exponent.
const ZIPF_EXPONENT: f64 = 0.99;

impl FromStr for KeySpread {
    type Err = String;

    /// Reads `uniform`, `zipf`, `zipf:0.8` or `hot-set`.
    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("zipf:").map(str::parse)) {
            ("uniform", _) => Ok(Self::Uniform),
            ("zipf", _) => Ok(Self::Zipf(ZIPF_EXPONENT)),
            ("hot-set", _) => Ok(Self::HotSet),
            (_, Some(Ok(exponent))) if exponent > 0.0 && exponent < 10.0 => {
                Ok(Self::Zipf(exponent))
            }
            (_, Some(_)) => Err("the exponent of zipf must be a number from 0 to 10".to_owned()),
            (_, None) => Err("must be uniform, zipf, zipf:EXPONENT or hot-set".to_owned()),
        }
    }
}

impl fmt::Display for KeySpread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf(exponent) => write!(f, "zipf:{exponent}"),
            Self::HotSet => f.write_str("hot-set"),
        }
    }
}

/// Picks numbers of keys.
#[derive(Clone, Debug)]
pub struct Keys {
    count: u64,
    spread: Spread,
}

#[derive(Clone, Debug)]
enum Spread {
    Uniform,
    Zipf(Zipf<f64>),
    HotSet,
}

impl Keys {
    /// `count` keys, at least one. `None` when the exponent is no positive number.
    #[must_use]
    pub fn new(count: u64, spread: KeySpread) -> Option<Self> {
        let count = count.max(1);
        let spread = match spread {
            KeySpread::Uniform => Spread::Uniform,
            KeySpread::Zipf(exponent) => Spread::Zipf(Zipf::new(count as f64, exponent).ok()?),
            KeySpread::HotSet => Spread::HotSet,
        };
        Some(Self { count, spread })
    }

    /// The number of a key, below the count.
    pub fn pick(&self, random: &mut StdRng) -> u64 {
        match &self.spread {
            Spread::Uniform => random.random_range(0..self.count),
            // Ranks count from one. Scattered, so that the most popular keys are not neighbours.
            Spread::Zipf(zipf) => scatter(zipf.sample(random) as u64 - 1, self.count),
            Spread::HotSet => {
                let hot = (self.count / 5).max(1);
                match random.next_u32() % 5 {
                    0 if hot < self.count => random.random_range(hot..self.count),
                    _ => random.random_range(0..hot),
                }
            }
        }
    }

    /// One of the loaded keys and the `inserted` ones behind them: the newer, the likelier.
    pub fn pick_latest(&self, inserted: u64, random: &mut StdRng) -> u64 {
        let all = self.count + inserted;
        let age = match &self.spread {
            Spread::Zipf(zipf) => zipf.sample(random) as u64 - 1,
            Spread::Uniform | Spread::HotSet => random.random_range(0..all),
        };
        all - 1 - age.min(all - 1)
    }

    /// The newest key after `inserted` ones.
    #[must_use]
    pub fn newest(&self, inserted: u64) -> u64 {
        self.count + inserted - 1
    }

    /// Which insert a number stands for, counted from zero; `None` for loaded keys.
    #[must_use]
    pub fn insert_of(&self, number: u64) -> Option<u64> {
        number.checked_sub(self.count)
    }
}

/// Has no factor in common with any count of keys, so that no two ranks share one: a hash, as YCSB takes it, leaves out more
/// than a third of the keys. It is the first prime of xxHash.
const SCATTER_PRIME: u64 = 0x9e37_79b1_85eb_ca87;

/// The key of a rank, both below `count`.
fn scatter(rank: u64, count: u64) -> u64 {
    let key = u128::from(rank) * u128::from(SCATTER_PRIME) % u128::from(count);
    u64::try_from(key).expect("it is below the count")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;

    fn counts(spread: KeySpread) -> Vec<u32> {
        let keys = Keys::new(100, spread).expect("a valid spread");
        let mut random = StdRng::seed_from_u64(7);
        let mut counts = vec![0; 100];
        for _ in 0..100_000 {
            counts[usize::try_from(keys.pick(&mut random)).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn uniform_asks_for_all_alike() {
        assert!(
            counts(KeySpread::Uniform)
                .iter()
                .all(|count| (800..1200).contains(count))
        );
    }

    #[test]
    fn a_hot_fifth_gets_four_fifths() {
        let counts = counts(KeySpread::HotSet);
        let hot: u32 = counts[..20].iter().sum();
        assert!((79_000..81_000).contains(&hot), "{hot}");
    }

    #[test]
    fn zipf_gives_the_first_rank_its_share() {
        // 1 / sum of 1 / n^0.99 up to 100 is 18.9 %.
        let most = counts(KeySpread::Zipf(0.99)).into_iter().max().unwrap();
        assert!((18_300..19_500).contains(&most), "{most}");
    }

    #[test]
    fn each_rank_has_a_key_of_its_own_far_from_the_next() {
        for count in [1, 2, 100, 1_000, 4_096, 100_003] {
            let keys: Vec<u64> = (0..count).map(|rank| scatter(rank, count)).collect();
            let distinct: BTreeSet<u64> = keys.iter().copied().collect();
            assert_eq!(distinct.len() as u64, count);
            assert!(distinct.iter().all(|&key| key < count));
            if count >= 100 {
                assert!(keys[..10].windows(2).all(|two| two[0].abs_diff(two[1]) > 1));
            }
        }
    }

    #[test]
    fn the_latest_are_below_the_count_and_new_ones_come_most() {
        let keys = Keys::new(50, KeySpread::Zipf(0.99)).unwrap();
        let mut random = StdRng::seed_from_u64(1);
        let picks: Vec<_> = (0..1000)
            .map(|_| keys.pick_latest(10, &mut random))
            .collect();
        assert!(picks.iter().all(|&key| key < 60));
        let newest = picks.iter().filter(|&&key| key == 59).count();
        assert!(newest > 150, "{newest}");
    }

    #[test]
    fn spreads_are_read_as_they_are_written_or_refused_with_a_reason() {
        for text in ["uniform", "zipf:0.8", "hot-set"] {
            assert_eq!(text.parse::<KeySpread>().unwrap().to_string(), text);
        }
        assert_eq!("zipf".parse(), Ok(KeySpread::Zipf(0.99)));
        assert!(
            "zipf:x"
                .parse::<KeySpread>()
                .unwrap_err()
                .contains("must be a number")
        );
        assert!(
            "pareto"
                .parse::<KeySpread>()
                .unwrap_err()
                .contains("must be uniform")
        );
    }
}
