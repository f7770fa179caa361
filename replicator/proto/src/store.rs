//! What replication needs from a keyspace.
//!
//! Every method takes its own locks and gives them back before it returns; none calls back into replication.

use std::ops::Range;

use crate::{
    entry::EntryRef,
    hlc::Version,
    settled::Settled,
    slots::{KeyHash, SLOTS},
    time::Wall,
    wire::control::Over,
};

/// How many keys are looked up or joined in one go: about as many as a processor fetches at the same time.
pub const AT_ONCE: usize = 16;

/// What became of incoming entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Entries that changed what is held.
    pub changed: u64,
    /// Entries that were covered by what is held.
    pub superseded: u64,
}

impl std::ops::AddAssign for Applied {
    fn add_assign(&mut self, other: Self) {
        self.changed += other.changed;
        self.superseded += other.superseded;
    }
}

/// A keyspace as the core sees it.
pub trait Store {
    /// Says which keys come next, at most [`AT_ONCE`], so that their memory can be fetched meanwhile. A hint.
    fn prefetch(&self, _keys: &[&[u8]]) {}

    /// Calls `visit` with the encoded entry of every key that is held. All keys are locked together.
    fn export(&self, keys: &[&[u8]], visit: &mut dyn FnMut(&[u8]));

    /// Joins entries that changed together; readers see all of them or none. The sender may have dropped
    /// dead bases among what it `forgot`.
    fn join(&self, entries: &[EntryRef<'_>], forgot: &Settled, now: Wall) -> Applied;

    /// Drops everything that was written up to `version`, in every region before or after.
    fn flush(&self, version: Version);

    /// The newest flush.
    fn flushed(&self) -> Version;

    /// Every region has heard all of this: what has been dead since may be forgotten.
    fn settle(&self, settled: Settled);

    /// What was given to [`Self::settle`] last.
    fn settled(&self) -> Settled;

    /// Whether totals of several lives were ever folded into one in what is held.
    fn has_folded(&self) -> bool {
        false
    }

    /// Bytes of what is remembered of the dead.
    fn husk_bytes(&self) -> u64 {
        0
    }

    /// Buries a key that has ended elsewhere, if nothing was written to it since ([`EntryRef::ended`]). Returns whether it has.
    fn bury(&self, _over: &Over, _now: Wall) -> bool {
        false
    }

    /// About how many keys clients see; `None` where nobody counts them.
    fn keys(&self) -> Option<u64> {
        None
    }

    /// Calls `visit` with encoded entries in the order of an internal position, from `position` on, until about
    /// `bytes` were visited: the last one may be large, and few follow it. Returns the position to go on from, or `None`
    /// at the end. Zero is the start. A position stays good whatever is written: a walk visits every key that is there from
    /// its start to its end.
    fn sweep(&self, position: u64, bytes: usize, visit: &mut dyn FnMut(&[u8])) -> Option<u64>;

    /// Calls `visit` with every slot in order, and its fingerprint at the end of `epoch`; with `None` where that is too
    /// long ago to be known. Deadlines up to that end are taken for passed from here on, so the epoch must be over.
    fn prints(&self, _epoch: u64, visit: &mut dyn FnMut(usize, Option<u64>)) {
        (0..SLOTS).for_each(|slot| visit(slot, None));
    }

    /// Calls `visit` with the hash of every key in some slots and its encoded entry, those that clients do not see
    /// included.
    fn list_slots(&self, _slots: Range<usize>, _visit: &mut dyn FnMut(KeyHash, &[u8])) {}
}

#[cfg(test)]
pub(crate) mod stub {
    //! A keyspace for tests of what only looks: it holds nothing but what its functions show.

    use super::{Applied, EntryRef, KeyHash, Range, Settled, Store, Version, Wall};

    type Visit<'a> = &'a mut dyn FnMut(&[u8]);

    /// Shows what `export` shows of keys, what `sweep` shows of a position, and what `list` shows of slots.
    pub(crate) struct Stub<E, S, L> {
        pub(crate) export: E,
        pub(crate) sweep: S,
        pub(crate) list: L,
    }

    impl<E, S, L> Store for Stub<E, S, L>
    where
        E: Fn(&[&[u8]], Visit<'_>),
        S: Fn(u64, Visit<'_>) -> Option<u64>,
        L: Fn(Range<usize>, &mut dyn FnMut(KeyHash, &[u8])),
    {
        fn export(&self, keys: &[&[u8]], visit: Visit<'_>) {
            (self.export)(keys, visit);
        }

        fn join(&self, _: &[EntryRef<'_>], _: &Settled, _: Wall) -> Applied {
            Applied::default()
        }

        fn flush(&self, _: Version) {}

        fn flushed(&self) -> Version {
            Version::ZERO
        }

        fn settle(&self, _: Settled) {}

        fn settled(&self) -> Settled {
            Settled::default()
        }

        fn sweep(&self, position: u64, _: usize, visit: Visit<'_>) -> Option<u64> {
            (self.sweep)(position, visit)
        }

        fn list_slots(&self, slots: Range<usize>, visit: &mut dyn FnMut(KeyHash, &[u8])) {
            (self.list)(slots, visit);
        }
    }
}
