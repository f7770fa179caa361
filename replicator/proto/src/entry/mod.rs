//! What a region holds of one key, and how two regions' holdings join.
//!
//! An entry is three pieces, each of which only grows in its own order, so that joining entries is a semilattice:
//!
//! - the *value register*: the newest base (SET, DEL, or the base that expiry starts) and its version;
//! - the *deadline register*: the newest deadline or its absence, with a version of its own. Whatever writes a base
//!   writes a deadline at the same version, so the deadline is never older than the base;
//! - *totals*: for counters, what each origin has added to this base so far.
//!
//! ```text
//!   visible value = base + Σ totals          join = newest base, newest deadline, per life of an origin the newest total
//! ```
//!
//! The bytes of an entry are the same in memory and on the wire ([`layout`]); this module knows neither maps nor locks.

pub mod join;
pub mod layout;
pub mod totals;

use std::time::Duration;

use crate::{
    decimal::Decimal,
    hlc::{Origin, Stamp, Version},
    time::Wall,
};
use totals::Totals;

/// The longest key in bytes.
pub const KEY_BYTES_MAX: usize = u16::MAX as usize;

/// What a base is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Body<'a> {
    /// Deleted, or never written. With totals it counts as zero.
    Dead,
    /// A string.
    Bytes(&'a [u8]),
}

/// The deadline register. `at` is `None` for "does not expire".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    /// When it was set.
    pub version: Version,
    /// When the entry expires.
    pub at: Option<Wall>,
}

/// One key as a region holds it, borrowed from its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRef<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Version of the base.
    pub version: Version,
    /// The base.
    pub body: Body<'a>,
    /// The deadline register; its version is never older than the base's.
    pub deadline: Deadline,
    /// What origins added to the base.
    pub totals: Totals<'a>,
}

impl<'a> EntryRef<'a> {
    /// A key that nobody wrote since `version`.
    #[must_use]
    pub fn absent(key: &'a [u8], version: Version) -> Self {
        Self {
            key,
            version,
            body: Body::Dead,
            deadline: Deadline { version, at: None },
            totals: Totals::EMPTY,
        }
    }

    /// A key that has ended, with what was written up to `at`: a deletion that covers that, and nothing later.
    #[must_use]
    pub fn ended(key: &'a [u8], at: Stamp) -> Self {
        let version = Version {
            stamp: at,
            origin: Origin::ENDED,
        };
        Self::absent(key, version)
    }

    /// Whether clients see a value until its deadline.
    #[inline]
    #[must_use]
    pub fn has_value(&self) -> bool {
        match self.body {
            Body::Dead => !self.totals.is_empty(),
            Body::Bytes(_) => true,
        }
    }

    /// Whether clients see a value at `now`.
    #[must_use]
    pub fn is_live(&self, now: Wall) -> bool {
        self.has_value() && !self.has_expired(now)
    }

    /// Whether the deadline has passed at `now`.
    #[must_use]
    pub fn has_expired(&self, now: Wall) -> bool {
        self.deadline.at.is_some_and(|at| at <= now)
    }

    /// What it was written by: the version of each register, and one for each total.
    pub fn versions(&self) -> impl Iterator<Item = Version> {
        let counted = self.totals.iter().map(|total| total.version());
        [self.version, self.deadline.version]
            .into_iter()
            .chain(counted)
    }

    /// The newest stamp in any of its registers.
    #[inline]
    #[must_use]
    pub fn newest(&self) -> Stamp {
        let registers = self.version.stamp.max(self.deadline.version.stamp);
        if self.totals.is_empty() {
            return registers;
        }
        let counted = self.totals.iter().map(|total| total.stamp);
        counted.fold(registers, Stamp::max)
    }

    /// The base that the passing of this entry's deadline starts: the same in every region that holds the same
    /// registers, so that increments after an expiry add up whichever region saw it first.
    #[must_use]
    pub fn expiry_base(&self) -> Version {
        let passed = self.deadline.at.map_or(Stamp::ZERO, Stamp::at);
        let after = self.version.stamp.max(self.deadline.version.stamp).next();
        Version {
            stamp: passed.max(after),
            origin: Origin::NONE,
        }
    }

    /// The stamp up to which every region must have heard everything before this entry may be forgotten; `None`
    /// while clients may see it, or will when an outstanding update arrives.
    ///
    /// An expired entry stays for `margin` beyond its deadline, the longest by which a region's wall clock may lie
    /// behind its stamps: no region may still see alive, and count on or prolong, what another has forgotten.
    #[must_use]
    pub fn forgettable_after(&self, now: Wall, margin: Duration) -> Option<Stamp> {
        if let Some(at) = self.deadline.at {
            let unseen = Stamp::at(at + margin).max(self.expiry_base().stamp);
            return (at <= now).then_some(unseen.max(self.newest()));
        }
        (!self.has_value()).then(|| self.newest())
    }

    /// The base as a number, if it is one. Nothing counts as zero.
    #[must_use]
    pub fn base_number(&self) -> Option<Decimal> {
        match self.body {
            Body::Dead => Some(Decimal::ZERO),
            Body::Bytes(text) => Decimal::read(text).ok(),
        }
    }

    /// The visible number of a counter, if the base is one. Sums that do not fit stay at the bound.
    #[must_use]
    pub fn number(&self) -> Option<Decimal> {
        let base = self.base_number()?;
        Some(
            self.totals
                .iter()
                .fold(base, |sum, total| sum.saturating_add(total.sum)),
        )
    }
}
