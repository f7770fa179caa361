//! How often commands found what they looked for.

use std::ops::AddAssign;

/// Lookups by what reads, as redis-server counts them: a value that is looked at only to be overwritten does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// Those that found a live value.
    pub hits: u64,
    /// Those that did not.
    pub misses: u64,
}

impl Lookups {
    #[inline]
    pub(super) fn count(&mut self, is_hit: bool) {
        self.hits += u64::from(is_hit);
        self.misses += u64::from(!is_hit);
    }
}

impl AddAssign for Lookups {
    #[inline]
    fn add_assign(&mut self, more: Self) {
        self.hits += more.hits;
        self.misses += more.misses;
    }
}
