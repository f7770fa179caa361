//! A small seeded generator for simulation, emulation and jittered timers. It is not for secrets, and it takes no
//! entropy of its own: equal seeds give equal numbers on every machine.

/// SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

impl Rng {
    /// A generator whose whole future is decided by `seed`; any value will do, zero included.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// An independent generator for one part of a run, so that drawing more in one part does not shift the others.
    #[must_use]
    pub const fn fork(&mut self) -> Self {
        Self {
            state: self.next_u64(),
        }
    }

    /// The next 64 bits, uniform.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN_GAMMA);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in `0..limit`, by multiplication (Lemire 2019, without the rejection step: the bias is below
    /// `limit / 2^64`). Zero for a limit of zero.
    pub const fn below(&mut self, limit: u64) -> u64 {
        ((self.next_u64() as u128 * limit as u128) >> 64) as u64
    }

    /// Uniform in `[0, 1)` with 53 bits.
    pub const fn fraction(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with this probability; draws one number whatever the probability.
    pub const fn chance(&mut self, probability: f64) -> bool {
        self.fraction() < probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_numbers_match_the_reference_implementation() {
        let mut rng = Rng::new(1_234_567);
        assert_eq!(rng.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn below_stays_below_and_reaches_every_value() {
        let mut rng = Rng::new(7);
        let mut seen = [0_u32; 6];
        for _ in 0..6_000 {
            seen[usize::try_from(rng.below(6)).unwrap()] += 1;
        }
        assert!(
            seen.iter().all(|&count| (800..1_200).contains(&count)),
            "{seen:?}"
        );
        assert_eq!(rng.below(0), 0);
    }

    #[test]
    fn chance_is_never_at_zero_and_always_at_one() {
        let mut rng = Rng::new(3);
        assert!((0..10_000).all(|_| !rng.chance(0.0)));
        assert!((0..10_000).all(|_| rng.chance(1.0)));
        let hits = (0..100_000).filter(|_| rng.chance(0.25)).count();
        assert!((24_000..26_000).contains(&hits), "{hits}");
    }

    #[test]
    fn forks_are_reproducible_and_differ_from_their_parent() {
        let (mut left, mut right) = (Rng::new(9), Rng::new(9));
        let (mut left_fork, mut right_fork) = (left.fork(), right.fork());
        assert_eq!(left_fork.next_u64(), right_fork.next_u64());
        assert_ne!(left_fork.next_u64(), left.next_u64());
    }
}
