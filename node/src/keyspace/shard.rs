//! One shard: a table of encoded entries, counters about them, and their fingerprints.

use std::{borrow::Cow, mem, ops::ControlFlow};

use foldhash::fast::FixedState;
use greenwich_proto::{
    entry::{EntryRef, layout},
    fingerprint::Presence,
    hlc::{Stamp, Version},
    time::Wall,
};

use super::{
    Place,
    arena::{self, Arena},
    index::{self, Index},
    prints::{Prints, SLOTS_OF_SHARD, presence_of},
};

/// What an entry takes beside its bytes: its length in the arena, and its slot in a table that is half full.
pub(super) const ENTRY_OVERHEAD_BYTES: usize = arena::PREFIX_BYTES + 2 * index::SLOT_BYTES;

/// Counters over the entries of a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Entries with a value whose end was not counted yet.
    pub(super) keys: usize,
    /// Those of them with a deadline.
    pub(super) mortal: usize,
    /// Bytes of all entries.
    pub(super) bytes: usize,
    /// Of them, those of the keys.
    pub(super) key_bytes: usize,
    pub(super) expiries: Expiries,
}

/// Entries whose deadline has passed and was not counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Due {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

impl Tally {
    fn add(&mut self, entry: &EntryRef<'_>, bytes: usize) {
        self.expiries.owed -= i64::from(self.expiries.is_due(entry));
        let (keys, mortal) = self.weigh(entry);
        self.keys += keys;
        self.mortal += mortal;
        self.bytes += bytes;
        self.key_bytes += keys * bytes;
    }

    fn remove(&mut self, entry: &EntryRef<'_>, bytes: usize) {
        self.expiries.owed += i64::from(self.expiries.is_due(entry));
        let (keys, mortal) = self.weigh(entry);
        self.keys -= keys;
        self.mortal -= mortal;
        self.bytes -= bytes;
        self.key_bytes -= keys * bytes;
    }

    fn weigh(&self, entry: &EntryRef<'_>) -> (usize, usize) {
        let at = entry.deadline.at;
        let is_key = entry.has_value() && at.is_none_or(|at| at > self.expiries.counted);
        (usize::from(is_key), usize::from(is_key && at.is_some()))
    }

    /// Counts the ends of `due` entries that stay in the shard. Returns how many values have expired that were not
    /// counted yet.
    pub(super) fn settle(&mut self, due: Due) -> u64 {
        self.keys -= due.entries;
        self.mortal -= due.entries;
        self.key_bytes -= due.bytes;
        self.expiries.settle(due.entries)
    }
}

/// Counts values whose deadline passed while this shard held them, each once, without a mark on the entries: an expired
/// value stays for a while, may be overwritten before anybody looks at it, and may have arrived after its deadline.
///
/// What was not counted yet is at any moment the number of due entries in the shard plus `owed`: an entry that is due
/// when it leaves adds to `owed`, and one that is due when it comes, which never lived here, is taken off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Expiries {
    /// Deadlines up to this time were counted.
    counted: Wall,
    /// The latest time that this shard was told.
    seen: Wall,
    owed: i64,
}

impl Expiries {
    /// The time is `now`, unless it was later before.
    pub(super) fn see(&mut self, now: Wall) {
        self.seen = self.seen.max(now);
    }

    /// Whether a value's deadline has passed and was not counted.
    pub(super) fn is_due(&self, entry: &EntryRef<'_>) -> bool {
        let is_in_time = |at: Wall| self.counted < at && at <= self.seen;
        entry.deadline.at.is_some_and(is_in_time) && entry.has_value()
    }

    /// Whether something is to be counted beside the entries that are due.
    pub(super) fn owes(&self) -> bool {
        self.owed != 0
    }

    /// The expiries that were not counted yet, where `due` entries in the shard are due.
    fn settle(&mut self, due: usize) -> u64 {
        let due = i64::try_from(due).expect("a shard has fewer entries");
        let expired = due + mem::take(&mut self.owed);
        self.counted = self.seen;
        u64::try_from(expired).unwrap_or_default()
    }
}

/// A table of entries. All access is under the shard's lock.
#[derive(Debug)]
pub(super) struct Shard {
    index: Index,
    arena: Arena,
    hasher: FixedState,
    pub(super) tally: Tally,
    prints: Prints,
    /// The newest flush that this shard has seen: the base of every key that it does not hold.
    pub(super) flushed: Version,
    /// No deadline in this shard is earlier.
    pub(super) next_deadline: Option<Wall>,
    /// The totals of lives that were over as of this stamp are folded.
    pub(super) folded_as_of: Stamp,
}

impl Shard {
    /// An empty shard of keys whose places are computed with `hasher`.
    pub(super) fn new(hasher: FixedState) -> Self {
        Self {
            index: Index::default(),
            arena: Arena::default(),
            hasher,
            tally: Tally::default(),
            prints: Prints::default(),
            flushed: Version::ZERO,
            next_deadline: None,
            folded_as_of: Stamp::ZERO,
        }
    }

    /// Entries, those that clients do not see included.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    #[inline]
    pub(super) fn find(&self, place: Place, key: &[u8]) -> Option<&[u8]> {
        let slot = self.slot(place, key)?;
        Some(self.arena.get(self.index.handle(slot)))
    }

    #[inline]
    fn slot(&self, place: Place, key: &[u8]) -> Option<usize> {
        let is_key = |held| layout::key_of(self.arena.get(held)) == key;
        self.index.find(place.tag(), is_key)
    }

    /// Asks for the memory where a search begins.
    pub(super) fn prefetch_slot(&self, place: Place) {
        self.index.prefetch(place.tag());
    }

    /// Asks for the memory of the entry that a search will probably find.
    pub(super) fn prefetch_entry(&self, place: Place) {
        if let Some(slot) = self.index.find(place.tag(), |_| true) {
            self.arena.prefetch(self.index.handle(slot));
        }
    }

    /// Every entry, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.index.iter().map(|handle| self.arena.get(handle))
    }

    /// As [`Index::walk`].
    pub(super) fn walk(
        &self,
        position: u32,
        mut visit: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Option<u32> {
        self.index
            .walk(position, |handle| visit(self.arena.get(handle)))
    }

    /// Writes an entry that borrows nothing from this shard. One of the same size is overwritten in place.
    pub(super) fn put(&mut self, place: Place, entry: &EntryRef<'_>, now: Wall) {
        self.tally.expiries.see(now);
        let len = layout::encoded_len(entry);
        let mut old = Presence::ABSENT;
        match self.slot(place, entry.key) {
            Some(slot) => {
                let handle = self.index.handle(slot);
                let held = self.arena.get_mut(handle);
                let held_ref = layout::view(held);
                self.tally.remove(&held_ref, held.len());
                old = Presence::of(place.key, &held_ref);
                if held.len() == len {
                    layout::encode_over(entry, held);
                } else {
                    self.arena.free(handle);
                    let handle = self.arena.insert(len, |out| layout::encode(entry, out));
                    self.index.replace(slot, handle);
                }
            }
            None => {
                let handle = self.arena.insert(len, |out| layout::encode(entry, out));
                self.index.insert(place.tag(), handle);
            }
        }
        self.tally.add(entry, len);
        self.prints
            .change(place.key, old, Presence::of(place.key, entry));
        self.see_deadline(entry.deadline.at);
        self.compact();
    }

    /// Adds an encoded entry whose key is not there, and which the fingerprints know.
    fn add(&mut self, bytes: &[u8]) {
        let entry = layout::view(bytes);
        let handle = self
            .arena
            .insert(bytes.len(), |out| out.extend_from_slice(bytes));
        self.index
            .insert(Place::tag_of(entry.key, &self.hasher), handle);
        self.tally.add(&entry, bytes.len());
        self.see_deadline(entry.deadline.at);
    }

    fn see_deadline(&mut self, at: Option<Wall>) {
        self.next_deadline = at.into_iter().chain(self.next_deadline).min();
    }

    /// Deletes everything with a flush, which is newer than all of it, in a time that does not depend on how much it is.
    pub(super) fn clear(&mut self, version: Version) -> Remains {
        self.flushed = version;
        self.prints.flush(version.stamp);
        self.take()
    }

    /// Deletes everything with a flush, except what `keep` makes of some entries.
    pub(super) fn flush(
        &mut self,
        version: Version,
        keep: impl Fn(&[u8]) -> Option<Cow<'_, [u8]>>,
    ) -> Remains {
        self.flushed = version;
        let taken = self.take();
        for entry in taken.iter() {
            let kept = keep(entry);
            if !matches!(kept, Some(Cow::Borrowed(_))) {
                let (key, old) = presence_of(entry);
                let new = kept.as_ref().map(|bytes| presence_of(bytes).1);
                let new = new.unwrap_or_else(|| Presence::flushed(version.stamp));
                self.prints.change(key, old, new);
            }
            if let Some(bytes) = kept {
                self.add(&bytes);
            }
        }
        taken
    }

    /// Takes all entries out. They are to be counted and freed where nobody waits for the shard.
    fn take(&mut self) -> Remains {
        let kept = Expiries {
            owed: 0,
            ..self.tally.expiries
        };
        let emptied = Tally {
            expiries: kept,
            ..Tally::default()
        };
        Remains {
            index: mem::take(&mut self.index),
            arena: mem::take(&mut self.arena),
            expiries: mem::replace(&mut self.tally, emptied).expiries,
            next_deadline: self.next_deadline.take(),
        }
    }

    /// Forgets the entries that `keep` does not want: clients have not seen them for long, and nobody needs to hear of
    /// their end any more.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&[u8]) -> bool) {
        let Self {
            index,
            arena,
            tally,
            prints,
            ..
        } = self;
        index.retain(|handle| {
            let entry = arena.get(handle);
            let is_kept = keep(entry);
            if !is_kept {
                debug_assert!(prints.is_without(entry), "it is forgotten too early");
                tally.remove(&layout::view(entry), entry.len());
                arena.free(handle);
            }
            is_kept
        });
        self.compact();
    }

    /// Accounts for deadlines up to the end of an epoch in the fingerprints.
    pub(super) fn account(&mut self, epoch: u64) {
        let Self {
            index,
            arena,
            prints,
            ..
        } = self;
        prints.account(epoch, index.iter().map(|handle| arena.get(handle)));
    }

    /// Every slot's fingerprint at the end of an epoch that is over.
    pub(super) fn prints_as_of(&mut self, epoch: u64) -> [Option<u64>; SLOTS_OF_SHARD] {
        self.account(epoch);
        self.prints.as_of(epoch)
    }

    /// The first of its slots whose fingerprint is not that of its entries.
    pub(super) fn miscounted(&self) -> Option<usize> {
        self.prints.miscounted(self.iter())
    }

    /// Gives back the memory of entries that are gone.
    fn compact(&mut self) {
        let Self {
            index,
            arena,
            hasher,
            ..
        } = self;
        while arena.evacuate(|entry, from, to| {
            let tag = Place::tag_of(layout::key_of(entry), hasher);
            let slot = index.find(tag, |held| held == from);
            index.replace(slot.expect("every living entry is in the index"), to);
        }) {}
    }
}

/// What was taken out of a shard.
#[derive(Debug)]
pub(super) struct Remains {
    index: Index,
    arena: Arena,
    expiries: Expiries,
    /// None of them had an earlier deadline.
    next_deadline: Option<Wall>,
}

impl Remains {
    /// Whether there is nothing to count and nothing to free.
    pub(super) fn is_nothing(&self) -> bool {
        self.index.len() == 0 && !self.expiries.owes()
    }

    /// The values among them that had expired in the shard and were not counted there.
    pub(super) fn expired(mut self) -> u64 {
        let seen = self.expiries.seen;
        let due = if self.next_deadline.is_some_and(|at| at <= seen) {
            let is_due = |entry: &&[u8]| self.expiries.is_due(&layout::view(entry));
            self.iter().filter(is_due).count()
        } else {
            0
        };
        self.expiries.settle(due)
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.index.iter().map(|handle| self.arena.get(handle))
    }
}
