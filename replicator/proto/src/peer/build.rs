//! Building a batch from the log: which keys changed after the cursors, each once, in their present state.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::send::SendStats;
use crate::{
    entry::layout,
    log::{Cursor, Fallen, LANES, Log},
    store::Store,
    wire::batch::{self, Range},
};

/// Records that are read from a lane at a time.
const CHUNK_RECORDS: usize = 64;

/// Reused memory of the builder.
#[derive(Debug, Default)]
pub(super) struct Builder {
    seen: Seen,
    records: Records,
    items: Vec<u8>,
    ranges: Vec<Range>,
}

/// What a built batch covers. Its items are in the builder until they are taken.
#[derive(Debug)]
pub(super) struct Built<'a> {
    pub(super) items: &'a [u8],
    pub(super) ranges: &'a [Range],
    /// Whether the lanes had no more than this.
    pub(super) drained: bool,
}

impl Builder {
    /// Moves the cursors over the log and collects the state of what changed, up to about `limit_bytes`. Starts at lane
    /// `first`, so that under load every lane gets its turn.
    pub(super) fn build<S: Store>(
        &mut self,
        log: &Log,
        store: &S,
        cursors: &mut [Cursor; LANES],
        first: usize,
        limit_bytes: usize,
        stats: &mut SendStats,
    ) -> Result<Built<'_>, Fallen> {
        self.seen.clear();
        self.items.clear();
        self.ranges.clear();
        let mut drained = true;
        for lane in (0..LANES).map(|offset| (first + offset) % LANES) {
            let start = cursors[lane].seq;
            drained &=
                self.collect_lane(log, store, lane, &mut cursors[lane], limit_bytes, stats)?;
            if cursors[lane].seq > start {
                self.ranges.push(Range {
                    lane,
                    after: start,
                    up_to: cursors[lane].seq,
                });
            }
        }
        Ok(Built {
            items: &self.items,
            ranges: &self.ranges,
            drained,
        })
    }

    /// Whether the lane was read to its end.
    fn collect_lane<S: Store>(
        &mut self,
        log: &Log,
        store: &S,
        lane: usize,
        cursor: &mut Cursor,
        limit_bytes: usize,
        stats: &mut SendStats,
    ) -> Result<bool, Fallen> {
        loop {
            if self.items.len() >= limit_bytes {
                return Ok(cursor.seq == log.head(lane));
            }
            let start = *cursor;
            self.records.read(log, lane, cursor)?;
            let read = self.records.ends.len();
            let used = self.collect_records(store, limit_bytes, stats);
            if used < read {
                *cursor = start;
                let mut left = used;
                log.read(lane, cursor, |_| {
                    let is_used = left > 0;
                    left -= usize::from(is_used);
                    is_used
                })?;
                return Ok(false);
            }
            if read < CHUNK_RECORDS {
                return Ok(true);
            }
        }
    }

    /// Returns how many records were used before the limit was reached.
    fn collect_records<S: Store>(
        &mut self,
        store: &S,
        limit_bytes: usize,
        stats: &mut SendStats,
    ) -> usize {
        let (seen, items) = (&mut self.seen, &mut self.items);
        for (used, keys) in self.records.iter().enumerate() {
            if items.len() >= limit_bytes {
                return used;
            }
            match keys.as_slice() {
                [] => batch::put_flush(store.flushed(), items),
                [key] if !seen.insert(key) => stats.coalesced += 1,
                [key] => store.export(&[key], &mut |entry| {
                    // What a unit wrote travels with the unit's own record.
                    if layout::is_of_unit(entry) {
                        stats.coalesced += 1;
                    } else {
                        batch::put_entry(entry, items);
                        stats.updates += 1;
                    }
                }),
                keys => {
                    let mut entries = Vec::new();
                    let mut count = 0;
                    store.export(keys, &mut |entry| {
                        batch::put_unit_entry(entry, &mut entries);
                        count += 1;
                    });
                    batch::put_unit(count, items);
                    items.extend_from_slice(&entries);
                    stats.updates += count;
                    for key in keys {
                        seen.insert(key);
                    }
                }
            }
        }
        self.records.ends.len()
    }
}

/// Some records, copied out of the log so that its lock is free while keys are locked.
#[derive(Debug, Default)]
struct Records {
    /// Lengths and bytes of keys, one after the other.
    keys: Vec<u8>,
    key_ends: Vec<usize>,
    /// For each record, the number of keys up to its end.
    ends: Vec<usize>,
}

impl Records {
    fn read(&mut self, log: &Log, lane: usize, cursor: &mut Cursor) -> Result<(), Fallen> {
        self.keys.clear();
        self.key_ends.clear();
        self.ends.clear();
        log.read(lane, cursor, |record| {
            if self.ends.len() == CHUNK_RECORDS {
                return false;
            }
            for key in record.keys() {
                self.keys.extend_from_slice(key);
                self.key_ends.push(self.keys.len());
            }
            self.ends.push(self.key_ends.len());
            true
        })
    }

    /// The keys of each record.
    fn iter(&self) -> impl Iterator<Item = KeyList<'_>> {
        let mut first = 0;
        self.ends.iter().map(move |&end| {
            let keys = (first..end).map(|at| {
                let start = if at == 0 { 0 } else { self.key_ends[at - 1] };
                &self.keys[start..self.key_ends[at]]
            });
            first = end;
            KeyList::new(keys)
        })
    }
}

/// The keys of one record: mostly one, so mostly without an allocation.
enum KeyList<'a> {
    One([&'a [u8]; 1]),
    Many(Vec<&'a [u8]>),
}

impl<'a> KeyList<'a> {
    fn new(mut keys: impl ExactSizeIterator<Item = &'a [u8]>) -> Self {
        match (keys.len(), keys.next()) {
            (1, Some(key)) => Self::One([key]),
            (_, first) => Self::Many(first.into_iter().chain(keys).collect()),
        }
    }

    fn as_slice(&self) -> &[&'a [u8]] {
        match self {
            Self::One(key) => key,
            Self::Many(keys) => keys,
        }
    }
}

/// The keys that are in the batch already.
#[derive(Debug, Default)]
struct Seen {
    hasher: FixedState,
    spans: HashTable<(usize, usize)>,
    bytes: Vec<u8>,
}

impl Seen {
    fn clear(&mut self) {
        self.spans.clear();
        self.bytes.clear();
    }

    /// Whether the key is new.
    fn insert(&mut self, key: &[u8]) -> bool {
        let Self {
            hasher,
            spans,
            bytes,
        } = self;
        let hash = hasher.hash_one(key);
        if spans
            .find(hash, |&(start, end)| bytes[start..end] == *key)
            .is_some()
        {
            return false;
        }
        let start = bytes.len();
        bytes.extend_from_slice(key);
        spans.insert_unique(hash, (start, bytes.len()), |&(start, end)| {
            hasher.hash_one(&bytes[start..end])
        });
        true
    }
}
