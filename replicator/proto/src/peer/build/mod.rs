//! Building batches from the log: which keys changed after the cursors, each once, in their present state.

mod closure;
mod export;
mod seen;
#[cfg(test)]
mod tests;

use self::{
    export::{Exporter, Full},
    seen::Seen,
};
use crate::{
    entry::layout,
    hlc::Stamp,
    log::{Change, Cursor, Fallen, LANES, Log, Record},
    store::{AT_ONCE, Store},
    wire::batch::{ITEMS_BYTES_MAX, Range},
};

/// Builds batches for the peers of a node, one after the other. It remembers the last one: peers that keep up stand at
/// the same place, so what one is sent is built once for all of them.
#[derive(Debug)]
pub struct Builder {
    /// The largest items of one batch, however large what belongs together is.
    bytes_max: usize,
    seen: Seen,
    keys: Keys,
    first_lane: usize,
    /// Where the cursors of the last batch stood before it, and after it.
    from: [u64; LANES],
    to: [Cursor; LANES],
    last: Built,
}

impl Default for Builder {
    fn default() -> Self {
        Self::within(ITEMS_BYTES_MAX)
    }
}

/// What a built batch covers and says.
#[derive(Debug, Default)]
pub(super) struct Built {
    pub(super) items: Vec<u8>,
    pub(super) ranges: Vec<Range>,
    /// Dead bases up to here may have been dropped when the items were collected.
    pub(super) forgotten: Stamp,
    /// Whether the lanes had no more than this.
    pub(super) drained: bool,
    /// Entries in it.
    pub(super) updates: u64,
    /// Records that needed no entry of their own.
    pub(super) coalesced: u64,
    /// Records whose keys go without others that belong to them.
    pub(super) split: u64,
}

impl Builder {
    /// One that sends no batch with larger items, unless a single entry is.
    fn within(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            seen: Seen::default(),
            keys: Keys::default(),
            first_lane: 0,
            from: [0; LANES],
            to: [Cursor::default(); LANES],
            last: Built::default(),
        }
    }

    /// Moves the cursors over the log and collects the state of what changed, up to about `limit_bytes`.
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
        let sent = log.sent_before(&cursors);
        // Under load every lane gets its turn to be first.
        self.first_lane = (self.first_lane + 1) % LANES;
        let first = self.first_lane;
        for lane in (0..LANES).map(|offset| (first + offset) % LANES) {
            let start = cursors[lane].seq;
            let cursor = &mut cursors[lane];
            let is_drained = self.collect_lane((log, sent), store, lane, cursor, limit_bytes)?;
            self.last.drained &= is_drained;
            if cursors[lane].seq > start {
                self.last.ranges.push(Range {
                    lane,
                    after: start,
                    up_to: cursors[lane].seq,
                });
            }
        }
        self.to = cursors;
        Ok(())
    }

    /// Whether the lane was read to its end.
    fn collect_lane<S: Store>(
        &mut self,
        (log, sent): (&Log, Stamp),
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
            let mut next = cursor.seq + 1;
            log.read(lane, cursor, |record| {
                is_full = last.items.len() >= limit_bytes;
                if is_full || keys.records.len() == AT_ONCE {
                    return false;
                }
                match record.change {
                    Change::Entry(entry) => carry(entry, seen, last),
                    // Keys are locked once the lane is not.
                    Change::Keys(_) => keys.push(&record, next),
                }
                next = record.last() + 1;
                true
            })?;
            if self.keys.records.is_empty() {
                return Ok(!is_full);
            }
            if let Err(Full(unread)) = self.look_up((log, sent), store, limit_bytes) {
                // What was carried behind it is sent again, which changes nothing.
                *cursor = Cursor::after(unread - 1);
                return Ok(false);
            }
        }
    }

    /// Takes the present state of the copied keys.
    fn look_up<S: Store>(
        &mut self,
        (log, sent): (&Log, Stamp),
        store: &S,
        limit_bytes: usize,
    ) -> Result<(), Full> {
        self.seen.begin_pass();
        let all: Vec<&[u8]> = self.keys.iter().collect();
        store.prefetch(&all[..all.len().min(AT_ONCE)]);
        let full = self.last.items.len() + limit_bytes;
        let mut exporter = Exporter {
            store,
            units: log.units(),
            sent,
            bytes_max: self.bytes_max,
            seen: &mut self.seen,
            built: &mut self.last,
        };
        let mut start = 0;
        for &Copied { first, next, end } in &self.keys.records {
            if exporter.built.items.len() >= full {
                return Err(Full(next));
            }
            exporter.record(first, next, &all[start..end])?;
            start = end;
        }
        Ok(())
    }
}

/// Adds a carried entry.
fn carry(entry: &[u8], seen: &mut Seen, last: &mut Built) {
    let key = layout::key_of(entry);
    let item = last.put(entry, seen.item(key));
    seen.carry(key, item);
}

/// The keys of some records, copied out of the log so that its lock is free while keys are locked.
#[derive(Debug, Default)]
struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    records: Vec<Copied>,
}

/// A record among them.
#[derive(Clone, Copy, Debug)]
struct Copied {
    /// The number of its first key, and of the first that is unread.
    first: u64,
    next: u64,
    /// How many of the keys end with it.
    end: usize,
}

impl Keys {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.records.clear();
    }

    /// Adds a record of keys, whose unread ones have numbers from `next` on.
    fn push(&mut self, record: &Record<'_>, next: u64) {
        if let Change::Keys(list) = record.change {
            for key in list.iter() {
                self.bytes.extend_from_slice(key);
                self.ends.push(self.bytes.len());
            }
        }
        self.records.push(Copied {
            first: record.first,
            next,
            end: self.ends.len(),
        });
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends
            .iter()
            .map(move |&end| &self.bytes[std::mem::replace(&mut start, end)..end])
    }
}
