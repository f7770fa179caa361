//! One shard: a table of encoded entries, and counters about them.

use foldhash::fast::FixedState;
use greenwich_proto::{
    entry::{Body, EntryRef, layout},
    hlc::Version,
    time::Wall,
};

use super::{
    Place,
    arena::{self, Arena},
    index::{self, Index},
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
    pub(super) expiries: Expiries,
}

impl Tally {
    fn add(&mut self, entry: &[u8]) {
        let entry_ref = layout::view(entry);
        self.expiries.owed -= i64::from(self.expiries.is_due(&entry_ref));
        let (keys, mortal) = self.weigh(&entry_ref);
        self.keys += keys;
        self.mortal += mortal;
        self.bytes += entry.len();
    }

    fn remove(&mut self, entry: &[u8]) {
        let entry_ref = layout::view(entry);
        self.expiries.owed += i64::from(self.expiries.is_due(&entry_ref));
        let (keys, mortal) = self.weigh(&entry_ref);
        self.keys -= keys;
        self.mortal -= mortal;
        self.bytes -= entry.len();
    }

    fn weigh(&self, entry: &EntryRef<'_>) -> (usize, usize) {
        let at = entry.deadline.at;
        let is_key = has_value(entry) && at.is_none_or(|at| at > self.expiries.counted);
        (usize::from(is_key), usize::from(is_key && at.is_some()))
    }

    /// Counts the ends of `due` entries that stay in the shard. Returns how many values have expired that were not
    /// counted yet.
    pub(super) fn settle(&mut self, due: usize) -> u64 {
        self.keys -= due;
        self.mortal -= due;
        self.expiries.settle(due)
    }
}

fn has_value(entry: &EntryRef<'_>) -> bool {
    match entry.body {
        Body::Bytes(_) => true,
        Body::Dead => !entry.totals.is_empty(),
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
        entry.deadline.at.is_some_and(is_in_time) && has_value(entry)
    }

    /// Whether something is to be counted beside the entries that are due.
    pub(super) fn owes(&self) -> bool {
        self.owed != 0
    }

    /// The expiries that were not counted yet, where `due` entries in the shard are due.
    fn settle(&mut self, due: usize) -> u64 {
        let due = i64::try_from(due).expect("a shard has fewer entries");
        let expired = due + std::mem::take(&mut self.owed);
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
    /// The newest flush that this shard has seen: the base of every key that it does not hold.
    pub(super) flushed: Version,
    /// No deadline in this shard is earlier.
    pub(super) next_deadline: Option<Wall>,
}

impl Shard {
    /// An empty shard of keys whose places are computed with `hasher`.
    pub(super) fn new(hasher: FixedState) -> Self {
        Self {
            index: Index::default(),
            arena: Arena::default(),
            hasher,
            tally: Tally::default(),
            flushed: Version::ZERO,
            next_deadline: None,
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

    /// Writes an entry that borrows nothing from this shard. One of the same size is overwritten in place.
    pub(super) fn put(&mut self, place: Place, entry: &EntryRef<'_>, now: Wall) {
        self.tally.expiries.see(now);
        let len = layout::encoded_len(entry);
        let handle = match self.slot(place, entry.key) {
            Some(slot) => {
                let handle = self.index.handle(slot);
                let held = self.arena.get_mut(handle);
                self.tally.remove(held);
                if held.len() == len {
                    layout::encode_over(entry, held);
                    handle
                } else {
                    self.arena.free(handle);
                    let handle = self.arena.insert(len, |out| layout::encode(entry, out));
                    self.index.replace(slot, handle);
                    handle
                }
            }
            None => {
                let handle = self.arena.insert(len, |out| layout::encode(entry, out));
                self.index.insert(place.tag(), handle);
                handle
            }
        };
        self.tally.add(self.arena.get(handle));
        self.next_deadline = entry
            .deadline
            .at
            .into_iter()
            .chain(self.next_deadline)
            .min();
        self.compact();
    }

    /// Keeps, shrinks or removes each entry as `judge` says.
    pub(super) fn retain(&mut self, mut judge: impl FnMut(&[u8]) -> Verdict) {
        let Self {
            index,
            arena,
            tally,
            ..
        } = self;
        index.retain(|handle| {
            let entry = arena.get(handle);
            let verdict = judge(entry);
            if let Verdict::Keep = verdict {
                return Some(handle);
            }
            tally.remove(entry);
            arena.free(handle);
            let Verdict::Replace(bytes) = verdict else {
                return None;
            };
            tally.add(&bytes);
            Some(arena.insert(bytes.len(), |out| out.extend_from_slice(&bytes)))
        });
        self.compact();
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
            let place = Place::of(layout::key_of(entry), hasher);
            let slot = index.find(place.tag(), |held| held == from);
            index.replace(slot.expect("every living entry is in the index"), to);
        }) {}
    }
}

/// What becomes of an entry.
pub(super) enum Verdict {
    Keep,
    Replace(Box<[u8]>),
    Remove,
}
