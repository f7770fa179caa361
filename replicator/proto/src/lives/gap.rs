//! What earlier lives of a region may have left behind that nobody here has heard of.
//!
//! It is closed by a transfer from everybody. Where a region is away that is not waited for, it stays open, so that what
//! only that region has received of a dead life is news when it is back.

use serde::{Deserialize, Serialize};

use crate::hlc::Stamp;

/// The stamps between which writes of earlier lives may be unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Everything up to here was heard.
    from: Stamp,
    /// The present life was heard of then, and writes nothing before.
    to: Stamp,
}

impl Gap {
    /// None.
    pub(crate) const CLOSED: Self = Self {
        from: Stamp(u64::MAX),
        to: Stamp::ZERO,
    };

    /// Nothing is known of earlier lives than one that was heard of at `now`.
    pub(super) const fn before(now: Stamp) -> Self {
        let from = Stamp::ZERO;
        Self { from, to: now }
    }

    /// A life has ended of which everything up to `heard` was heard; the next one was heard of at `now`.
    pub(super) fn widen(&mut self, heard: Stamp, now: Stamp) {
        let from = self.bounds().map_or(heard, |(from, _)| from);
        *self = Self { from, to: now };
    }

    /// Nothing of it was written later than `at`.
    pub(super) fn ended(self, at: Stamp) -> Self {
        let to = self.to.min(at);
        Self { to, ..self }
    }

    /// A peer that holds the same as this node knows of this one.
    pub(super) fn agree(&mut self, theirs: Self) {
        self.from = self.from.max(theirs.from);
        self.to = self.to.max(theirs.to);
    }

    /// Its ends, if it is open: neither belongs to it.
    pub(super) fn bounds(self) -> Option<(Stamp, Stamp)> {
        (self.from < self.to).then_some((self.from, self.to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_until_somebody_has_heard_more() {
        let mut gap = Gap::CLOSED;
        gap.widen(Stamp(10), Stamp(20));
        gap.widen(Stamp(25), Stamp(30));
        assert_eq!(gap.bounds(), Some((Stamp(10), Stamp(30))), "both lives");
        let mut other = Gap::before(Stamp(31));
        other.agree(gap);
        gap.agree(other);
        assert_eq!((gap.bounds(), other), (Some((Stamp(10), Stamp(31))), gap));
        gap.agree(Gap::CLOSED);
        assert_eq!(gap.bounds(), None);
    }
}
