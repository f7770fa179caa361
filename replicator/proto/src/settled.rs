//! What every region has heard of: the dead among it may be forgotten, and what is not held of it was held once.
//!
//! It is a stamp, up to which everything was heard, and for regions that were away for longer than anybody waits for
//! ([`crate::lives`]) a stamp of their own: of what such a region wrote, everything up to there.
//!
//! ```text
//!   us-east  ───────────────────────────────┤ stamp
//!   eu-west  ───────────────────────────────┤
//!   ap-south ──────────┤ behind: away since ╌╌╌╌ what it writes meanwhile is news when it comes back
//! ```
//!
//! While nobody is away, it says also which lives are over for good.

use crate::{
    entry::{EntryRef, totals::Total},
    hlc::{Origin, Stamp, Version},
    lives::Ended,
};

/// What every region has heard of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    stamp: Stamp,
    behind: Vec<(Origin, (Stamp, Stamp))>,
    ended: Ended,
}

impl Settled {
    /// Nothing.
    pub const NOTHING: &'static Self = &Self::up_to(Stamp::ZERO);

    /// Everything up to `stamp`.
    #[must_use]
    pub const fn up_to(stamp: Stamp) -> Self {
        Self {
            stamp,
            behind: Vec::new(),
            ended: Ended::NONE,
        }
    }

    /// As this, but for what a region wrote between two stamps, of which neither belongs to it.
    #[must_use]
    pub fn but_for(mut self, origin: Origin, between: (Stamp, Stamp)) -> Self {
        self.behind.push((origin, between));
        self
    }

    /// As this, with lives of which every region has heard everything.
    #[must_use]
    pub fn with_ended(self, ended: Ended) -> Self {
        Self { ended, ..self }
    }

    /// Whether every region holds this total, or what it was folded into, and none will hold another one of the same life.
    #[must_use]
    pub fn is_final(&self, total: &Total) -> bool {
        self.ended.has(total.actor) && self.has(total.version())
    }

    /// Since when the same lives are over.
    #[must_use]
    pub const fn ended_as_of(&self) -> Stamp {
        self.ended.as_of()
    }

    /// Up to where everything was heard of whoever was not away.
    #[must_use]
    pub const fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// What regions wrote between two stamps each, of which neither belongs to it, is not part of it.
    #[must_use]
    pub fn late(&self) -> impl ExactSizeIterator<Item = (Origin, (Stamp, Stamp))> {
        self.behind.iter().copied()
    }

    /// Up to where everything was heard of everybody. Whoever hears that of this node takes what is older for known here.
    #[must_use]
    pub fn of_everybody(&self) -> Stamp {
        let from = self.behind.iter().map(|(_, (from, _))| *from);
        from.fold(self.stamp, Stamp::min)
    }

    /// Whether nobody was away.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.behind.is_empty()
    }

    /// Whether what a region wrote is news although it is older than [`Self::stamp`], or may be.
    #[must_use]
    pub fn is_late(&self, version: Version) -> bool {
        let is_late = |&(origin, (from, to))| {
            origin == version.origin && from < version.stamp && version.stamp < to
        };
        self.behind.iter().any(is_late)
    }

    /// Whether every region has heard of a write.
    #[must_use]
    pub fn has(&self, version: Version) -> bool {
        version.stamp <= self.stamp && !self.is_late(version)
    }

    /// Whether every region has heard of all that an entry says.
    #[must_use]
    pub fn has_all_of(&self, entry: &EntryRef<'_>) -> bool {
        entry.newest() <= self.stamp && !self.is_any_late(entry)
    }

    /// Whether something that an entry says is late.
    #[must_use]
    pub fn is_any_late(&self, entry: &EntryRef<'_>) -> bool {
        !self.behind.is_empty() && entry.versions().any(|version| self.is_late(version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWAY: Origin = Origin(3);

    fn version(stamp: u64, origin: Origin) -> Version {
        let stamp = Stamp(stamp);
        Version { stamp, origin }
    }

    #[test]
    fn what_a_region_wrote_while_it_was_away_is_news_however_old_it_is() {
        let settled = Settled::up_to(Stamp(100)).but_for(AWAY, (Stamp(40), Stamp(u64::MAX)));
        assert!(settled.has(version(100, Origin(1))));
        assert!(!settled.has(version(101, Origin(1))));
        assert!(settled.has(version(40, AWAY)));
        assert!(!settled.has(version(41, AWAY)));
    }

    #[test]
    fn an_entry_is_settled_when_all_of_it_is() {
        let settled = Settled::up_to(Stamp(100)).but_for(AWAY, (Stamp(40), Stamp(u64::MAX)));
        let mut entry = EntryRef::absent(b"key", version(10, Origin(1)));
        assert!(settled.has_all_of(&entry));
        entry.deadline.version = version(50, AWAY);
        assert!(!settled.has_all_of(&entry) && settled.is_any_late(&entry));
    }
}
