//! One shard: a table of encoded entries, and counters about them.

use greenwich_proto::{
    entry::{Body, EntryRef, layout},
    hlc::Version,
    time::Wall,
};
use hashbrown::{HashTable, hash_table::Entry};

use super::Place;

/// Counters over the entries of a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Entries with a value, expired or not.
    pub(super) keys: usize,
    /// Entries with a value and a deadline.
    pub(super) mortal: usize,
    /// Bytes of all entries.
    pub(super) bytes: usize,
}

impl Tally {
    fn add(&mut self, entry: &[u8]) {
        let (keys, mortal) = weigh(&layout::view(entry));
        self.keys += keys;
        self.mortal += mortal;
        self.bytes += entry.len();
    }

    fn remove(&mut self, entry: &[u8]) {
        let (keys, mortal) = weigh(&layout::view(entry));
        self.keys -= keys;
        self.mortal -= mortal;
        self.bytes -= entry.len();
    }
}

fn weigh(entry: &EntryRef<'_>) -> (usize, usize) {
    let has_value = match entry.body {
        Body::Bytes(_) => true,
        Body::Dead => !entry.totals.is_empty(),
        Body::Husk => false,
    };
    (
        usize::from(has_value),
        usize::from(has_value && entry.deadline.at.is_some()),
    )
}

/// A table of entries. All access is under the shard's lock.
#[derive(Debug, Default)]
pub(super) struct Shard {
    table: HashTable<Box<[u8]>>,
    pub(super) tally: Tally,
    /// The newest flush that this shard has seen: the base of every key that it does not hold.
    pub(super) flushed: Version,
    /// No deadline in this shard is earlier.
    pub(super) next_deadline: Option<Wall>,
}

impl Shard {
    /// Entries, those that clients do not see included.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn find(&self, place: Place, key: &[u8]) -> Option<&[u8]> {
        self.table
            .find(place.0, |entry| layout::key_of(entry) == key)
            .map(AsRef::as_ref)
    }

    /// Every entry, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.table.iter().map(AsRef::as_ref)
    }

    /// Writes an entry that borrows nothing from this shard. One of the same size is overwritten in place.
    pub(super) fn put(
        &mut self,
        place: Place,
        entry: &EntryRef<'_>,
        of_unit: bool,
        rehash: impl Fn(&[u8]) -> u64,
    ) {
        let Self {
            table,
            tally,
            next_deadline,
            ..
        } = self;
        let found = table.entry(
            place.0,
            |held| layout::key_of(held) == entry.key,
            |held| rehash(layout::key_of(held)),
        );
        let mut occupied = match found {
            Entry::Occupied(mut occupied) => {
                let held = occupied.get_mut();
                tally.remove(held);
                if held.len() == layout::encoded_len(entry) {
                    layout::encode_over(entry, held);
                } else {
                    *held = layout::to_box(entry);
                }
                occupied
            }
            Entry::Vacant(vacant) => vacant.insert(layout::to_box(entry)),
        };
        let held = occupied.get_mut();
        layout::set_of_unit(held, of_unit);
        tally.add(held);
        *next_deadline = entry.deadline.at.into_iter().chain(*next_deadline).min();
    }

    /// Replaces the bytes of a key that is held.
    pub(super) fn replace(&mut self, place: Place, bytes: Box<[u8]>) {
        let Self {
            table,
            tally,
            next_deadline,
            ..
        } = self;
        let key = layout::key_of(&bytes);
        if let Some(held) = table.find_mut(place.0, |held| layout::key_of(held) == key) {
            tally.remove(held);
            tally.add(&bytes);
            *next_deadline = layout::view(&bytes)
                .deadline
                .at
                .into_iter()
                .chain(*next_deadline)
                .min();
            *held = bytes;
        }
    }

    /// Keeps, shrinks or removes each entry as `judge` says.
    pub(super) fn retain(&mut self, mut judge: impl FnMut(&[u8]) -> Verdict) {
        let Self { table, tally, .. } = self;
        table.retain(|entry| match judge(entry) {
            Verdict::Keep => true,
            Verdict::Replace(bytes) => {
                tally.remove(entry);
                tally.add(&bytes);
                *entry = bytes;
                true
            }
            Verdict::Remove => {
                tally.remove(entry);
                false
            }
        });
    }

    /// Gives back the memory of a table that has become much too large.
    pub(super) fn shrink(&mut self, rehash: impl Fn(&[u8]) -> u64) {
        if self.table.capacity() > 64 && self.table.len() < self.table.capacity() / 4 {
            self.table
                .shrink_to(self.table.len() * 2, |held| rehash(layout::key_of(held)));
        }
    }
}

/// What becomes of an entry.
pub(super) enum Verdict {
    Keep,
    Replace(Box<[u8]>),
    Remove,
}
