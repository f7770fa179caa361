//! Building batches from the log: which keys changed after the cursors, each once, in their present state.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::apart::{Apart, RANGES_MAX};
use crate::{
    entry::layout,
    hlc::Stamp,
    log::{Change, Cursor, Fallen, KeyList, LANES, Log},
    store::{AT_ONCE, Store},
    wire::batch::{self, Range},
};

/// Builds batches for the peers of a node, one after the other. It remembers the last one: peers that keep up stand at
/// the same place, so what one is sent is built once for all of them.
#[derive(Debug, Default)]
pub struct Builder {
    seen: Seen,
    keys: Keys,
    first_lane: usize,
    /// Where the cursors of the last batch stood before it, and after it.
    from: [u64; LANES],
    to: [Cursor; LANES],
    last: Built,
}

/// What a built batch covers and says.
#[derive(Debug, Default)]
pub(super) struct Built {
    pub(super) items: Vec<u8>,
    pub(super) ranges: Vec<Range>,
    /// Records that it leaves out, because their keys are too large for company.
    pub(super) apart: Vec<Apart>,
    /// Dead bases up to here may have been dropped when the items were collected.
    pub(super) forgotten: Stamp,
    /// Whether the lanes had no more than this.
    pub(super) drained: bool,
    /// Entries in it.
    pub(super) updates: u64,
    /// Records that needed no entry of their own.
    pub(super) coalesced: u64,
}

impl Builder {
    /// Moves the cursors over the log and collects the state of what changed, up to about `limit_bytes`. What is larger
    /// by itself is left out.
    pub(super) fn build<S: Store>(
        &mut self,
        log: &Log,
        store: &S,
        cursors: &mut [Cursor; LANES],
        limit_bytes: usize,
    ) -> Result<&Built, Fallen> {
        let from = cursors.map(|cursor| cursor.seq);
        if from != self.from || self.last.ranges.is_empty() {
            let collected = self.collect(log, store, *cursors, limit_bytes);
            if collected.is_err() {
                // What was collected before a lane failed is no batch that another peer could be sent.
                self.last.ranges.clear();
            }
            collected?;
        }
        *cursors = self.to;
        Ok(&self.last)
    }

    fn collect<S: Store>(
        &mut self,
        log: &Log,
        store: &S,
        mut cursors: [Cursor; LANES],
        limit_bytes: usize,
    ) -> Result<(), Fallen> {
        self.seen.clear();
        let Built {
            mut items,
            mut ranges,
            ..
        } = std::mem::take(&mut self.last);
        items.clear();
        // A large value's batch is not the measure of the next one.
        items.shrink_to(2 * limit_bytes);
        ranges.clear();
        self.last = Built {
            items,
            ranges,
            forgotten: store.settled(),
            drained: true,
            ..Built::default()
        };
        self.from = cursors.map(|cursor| cursor.seq);
        // Under load every lane gets its turn to be first.
        self.first_lane = (self.first_lane + 1) % LANES;
        let first = self.first_lane;
        for lane in (0..LANES).map(|offset| (first + offset) % LANES) {
            let start = cursors[lane].seq;
            let is_drained =
                self.collect_lane(log, store, lane, &mut cursors[lane], limit_bytes)?;
            self.last.drained &= is_drained;
            self.last.cover(lane, start, cursors[lane].seq);
        }
        self.to = cursors;
        Ok(())
    }

    /// Whether the lane was read to its end.
    fn collect_lane<S: Store>(
        &mut self,
        log: &Log,
        store: &S,
        lane: usize,
        cursor: &mut Cursor,
        limit_bytes: usize,
    ) -> Result<bool, Fallen> {
        loop {
            let mut is_full = false;
            let Self {
                seen, keys, last, ..
            } = self;
            keys.clear();
            log.read(lane, cursor, |record| {
                is_full = last.items.len() >= limit_bytes;
                if is_full || keys.records.len() == AT_ONCE {
                    return false;
                }
                match record.change {
                    Change::Entry(entry) => carry(entry, seen, last),
                    // Keys are locked once the lane is not.
                    Change::Keys(list) => keys.push(record.first, list),
                }
                true
            })?;
            if self.keys.records.is_empty() {
                return Ok(!is_full);
            }
            if let Some(unread) = self.look_up(store, lane, limit_bytes) {
                // What was carried behind it is sent again, which changes nothing.
                *cursor = Cursor::after(unread - 1);
                return Ok(false);
            }
        }
    }

    /// Takes the present state of the copied keys. Returns the number of the first record that found no room.
    fn look_up<S: Store>(&mut self, store: &S, lane: usize, limit_bytes: usize) -> Option<u64> {
        let Self {
            seen, keys, last, ..
        } = self;
        seen.begin_pass();
        let all: Vec<&[u8]> = keys.iter().collect();
        store.prefetch(&all[..all.len().min(AT_ONCE)]);
        let full = last.items.len() + limit_bytes;
        let mut start = 0;
        for &(seq, end) in &keys.records {
            if last.items.len() >= full || last.apart.len() >= RANGES_MAX {
                return Some(seq);
            }
            let keys = &all[start..end];
            if !export(store, keys, limit_bytes, seen, last) {
                let after = seq - 1;
                let range = Range {
                    lane,
                    after,
                    up_to: after + keys.len() as u64,
                };
                let keys = keys.iter().map(|&key| key.into()).collect();
                last.apart.push(Apart { range, keys });
            }
            start = end;
        }
        None
    }
}

impl Built {
    /// The present state of keys that travel by themselves.
    pub(super) fn alone<S: Store>(store: &S, keys: &[&[u8]]) -> Self {
        let mut alone = Self {
            forgotten: store.settled(),
            ..Self::default()
        };
        export(store, keys, usize::MAX, &mut Seen::default(), &mut alone);
        alone
    }

    /// It covers what was read of a lane, but for the records that it leaves out.
    fn cover(&mut self, lane: usize, mut after: u64, up_to: u64) {
        let ranges = &mut self.ranges;
        let mut cover = |after, up_to| {
            let range = Range { lane, after, up_to };
            ranges.extend((up_to > after).then_some(range));
        };
        for Apart { range, .. } in self.apart.iter().filter(|it| it.range.lane == lane) {
            cover(after, range.after);
            after = range.up_to;
        }
        cover(after, up_to);
    }
}

/// Adds the present state of keys that changed together, or of one that changed alone. Returns false, and adds nothing,
/// when that is larger than `limit_bytes`.
fn export<S: Store>(
    store: &S,
    keys: &[&[u8]],
    limit_bytes: usize,
    seen: &mut Seen,
    last: &mut Built,
) -> bool {
    let mut fits = true;
    match keys {
        [] => batch::put_flush(store.flushed(), &mut last.items),
        [key] if seen.is_exported(key) => last.coalesced += 1,
        [key] => {
            let earlier = seen.export(key, None);
            store.export(&[key], &mut |entry| {
                // What a unit wrote travels with the unit's own record.
                if layout::is_of_unit(entry) {
                    last.coalesced += 1;
                } else if entry.len() > limit_bytes {
                    fits = false;
                    seen.take_back(key, earlier);
                } else {
                    let item = put(entry, earlier, last);
                    seen.export(key, Some(item));
                }
            });
        }
        keys => {
            let mut entries = Vec::new();
            let mut count = 0;
            store.export(keys, &mut |entry| {
                fits &= entry.len() <= limit_bytes.saturating_sub(entries.len());
                if fits {
                    batch::put_unit_entry(entry, &mut entries);
                    count += 1;
                }
            });
            if !fits {
                return false;
            }
            batch::put_unit(count, &mut last.items);
            last.items.extend_from_slice(&entries);
            last.updates += count;
            for key in keys {
                seen.export(key, None);
            }
        }
    }
    fits
}

/// Adds a carried entry.
fn carry(entry: &[u8], seen: &mut Seen, last: &mut Built) {
    let key = layout::key_of(entry);
    let earlier = seen.item(key);
    let item = put(entry, earlier, last);
    seen.insert(key, Taken::Carried(item));
}

/// Adds an entry, over an earlier one of its key where that has the same size, and tells where it is. An earlier one of
/// another size stays: the later one wins when both are applied.
fn put(entry: &[u8], earlier: Option<Item>, last: &mut Built) -> Item {
    if let Some((item, len)) = earlier.filter(|&(_, len)| len == entry.len()) {
        batch::replace_entry(entry, item, &mut last.items);
        last.coalesced += 1;
        return (item, len);
    }
    let item = (last.items.len(), entry.len());
    batch::put_entry(entry, &mut last.items);
    last.updates += 1;
    item
}

/// The keys of some records, copied out of the log so that its lock is free while keys are locked.
#[derive(Debug, Default)]
struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// The first number of each record, and how many of the keys end with it.
    records: Vec<(u64, usize)>,
}

impl Keys {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.records.clear();
    }

    fn push(&mut self, seq: u64, list: KeyList<'_>) {
        for key in list.iter() {
            self.bytes.extend_from_slice(key);
            self.ends.push(self.bytes.len());
        }
        self.records.push((seq, self.ends.len()));
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends
            .iter()
            .map(move |&end| &self.bytes[std::mem::replace(&mut start, end)..end])
    }
}

/// Where a carried entry is among the items, and its size.
type Item = (usize, usize);

/// How a key came into the batch, and where its entry is, if it has one of its own.
#[derive(Clone, Copy, Debug)]
enum Taken {
    /// Its record carried its state.
    Carried(Item),
    /// Its state was looked up in this pass. It stands for the records that were read before, which are those of the
    /// pass: while the batch is built, the key may be written again.
    Exported(u32, Option<Item>),
}

/// Passes are counted from 1.
const NO_PASS: u32 = 0;

/// The keys that are in the batch already.
#[derive(Debug, Default)]
struct Seen {
    hasher: FixedState,
    keys: HashTable<(usize, usize, Taken)>,
    bytes: Vec<u8>,
    pass: u32,
}

impl Seen {
    fn clear(&mut self) {
        self.keys.clear();
        self.bytes.clear();
        self.pass = 0;
    }

    /// Records were read, and their keys are about to be looked up.
    fn begin_pass(&mut self) {
        self.pass += 1;
    }

    /// Whether the key's state was looked up in this pass.
    fn is_exported(&self, key: &[u8]) -> bool {
        matches!(self.taken(key), Some(Taken::Exported(pass, _)) if pass == self.pass)
    }

    /// Where the key's entry is.
    fn item(&self, key: &[u8]) -> Option<Item> {
        match self.taken(key)? {
            Taken::Carried(item) => Some(item),
            Taken::Exported(_, item) => item,
        }
    }

    fn taken(&self, key: &[u8]) -> Option<Taken> {
        let hash = self.hasher.hash_one(key);
        let is_here = |&(start, end, _): &(usize, usize, Taken)| self.bytes[start..end] == *key;
        self.keys.find(hash, is_here).map(|&(.., taken)| taken)
    }

    /// The key is looked up in this pass; returns where its entry was before.
    fn export(&mut self, key: &[u8], item: Option<Item>) -> Option<Item> {
        let earlier = self.item(key);
        self.insert(key, Taken::Exported(self.pass, item));
        earlier
    }

    /// The key was looked up in this pass and left out: each of its records is to be looked at.
    fn take_back(&mut self, key: &[u8], earlier: Option<Item>) {
        self.insert(key, Taken::Exported(NO_PASS, earlier));
    }

    fn insert(&mut self, key: &[u8], taken: Taken) {
        let Self {
            hasher,
            keys,
            bytes,
            ..
        } = self;
        let hash = hasher.hash_one(key);
        if let Some((.., held)) = keys.find_mut(hash, |&(start, end, _)| bytes[start..end] == *key)
        {
            *held = taken;
            return;
        }
        let start = bytes.len();
        bytes.extend_from_slice(key);
        keys.insert_unique(hash, (start, bytes.len(), taken), |&(start, end, _)| {
            hasher.hash_one(&bytes[start..end])
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, iter::once, time::Duration};

    use super::*;
    use crate::{
        entry::EntryRef,
        hlc::{Clock, Origin, Version},
        store::Applied,
        time::Wall,
    };

    const LANE: usize = 3;
    const WALL: Wall = Wall(1_000);

    /// A key as it is after so many writes.
    fn state(key: &[u8], writes: u64) -> Box<[u8]> {
        let (stamp, origin) = (Stamp(writes), Origin(1));
        layout::to_box(&EntryRef::absent(key, Version { stamp, origin }))
    }

    /// A keyspace of one key, which a client writes again as soon as its state was looked up.
    struct Busy<'a> {
        log: &'a Log,
        looks: Cell<u64>,
    }

    impl Store for Busy<'_> {
        fn export(&self, keys: &[&[u8]], visit: &mut dyn FnMut(&[u8])) {
            self.looks.set(self.looks.get() + 1);
            visit(&state(keys[0], self.looks.get()));
            if self.looks.get() == 1 {
                self.log.append(LANE, WALL, once(keys[0]));
            }
        }

        fn join(&self, _: &[EntryRef<'_>], _: Stamp, _: Wall) -> Applied {
            Applied::default()
        }

        fn flush(&self, _: Version) {}

        fn flushed(&self) -> Version {
            Version::ZERO
        }

        fn settle(&self, _: Stamp) {}

        fn settled(&self) -> Stamp {
            Stamp::ZERO
        }

        fn sweep(&self, _: u64, _: usize, _: &mut dyn FnMut(&[u8])) -> Option<u64> {
            None
        }
    }

    #[test]
    fn a_key_that_is_written_while_its_batch_is_built_is_looked_up_again() {
        let log = Log::new(Clock::new(Duration::from_secs(5)), 1, 1 << 20);
        log.append(LANE, WALL, once(&b"key"[..]));
        let looks = Cell::new(0);
        let store = Busy { log: &log, looks };
        let mut cursors = [Cursor::default(); LANES];
        let mut builder = Builder::default();
        let built = builder.build(&log, &store, &mut cursors, 1 << 16);
        let built = built.unwrap();
        // Both records are covered, so that the state after the second one must be in it.
        assert!(built.items.ends_with(&state(b"key", 2)));
        assert_eq!((built.updates, built.coalesced), (1, 1));
        assert_eq!((store.looks.get(), cursors[LANE].seq), (2, 2));
    }
}
