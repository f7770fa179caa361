//! Building batches: from the log, of which keys changed after the cursors, each once, in their present state; and of what
//! a sweep or a repair [`found`].

mod closure;
mod export;
mod found;
mod seen;
#[cfg(test)]
mod tests;

pub(super) use self::found::Found;
use self::{
    export::{Exporter, Full},
    seen::Seen,
};
use super::apart::{Apart, RANGES_MAX, Waiting};
use crate::{
    entry::layout,
    hlc::Stamp,
    log::{Change, Cursor, Fallen, LANES, Log, Record},
    settled::Settled,
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
    /// What it was built without, because it was sent before.
    sent: Stamp,
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
    /// Records that it leaves out, because their keys are too large for company.
    pub(super) apart: Vec<Apart>,
    /// Dead bases among this may have been dropped when the items were collected.
    pub(super) forgotten: Settled,
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
            sent: Stamp::ZERO,
            last: Built::default(),
        }
    }

    /// Moves the cursors over the log and collects the state of what changed, up to about `limit_bytes`. What is larger
    /// by itself, with what must travel with it, is left out. Of what was left out before, the first is of `waits_since`.
    pub(super) fn build<S: Store>(
        &mut self,
        log: &Log,
        store: &S,
        cursors: &mut [Cursor; LANES],
        limit_bytes: usize,
        waits_since: Option<Stamp>,
    ) -> Result<&Built, Fallen> {
        let from = cursors.map(|cursor| cursor.seq);
        // One for a peer that was sent more takes too little along.
        let is_enough = waits_since.is_none_or(|since| self.sent < since);
        if from != self.from || self.last.ranges.is_empty() || !is_enough {
            let sent = sent_before(log, cursors, waits_since);
            let collected = self.collect((log, sent), store, *cursors, limit_bytes);
            if collected.is_err() {
                // What was collected before a lane failed is no batch that another peer could be sent.
                self.last.ranges.clear();
            }
            collected?;
        }
        *cursors = self.to;
        Ok(&self.last)
    }

    /// What waited apart, in its present state: of what is split, the first key. `None` when it fits into no batch.
    pub(super) fn alone<S: Store>(
        &self,
        (log, sent): (&Log, Stamp),
        store: &S,
        waiting: &Waiting,
    ) -> Option<Built> {
        let mut built = Built {
            forgotten: store.settled(),
            ..Built::default()
        };
        let mut exporter = Exporter {
            store,
            units: log.units(),
            sent,
            limit_bytes: usize::MAX,
            bytes_max: self.bytes_max,
            seen: &mut Seen::default(),
            built: &mut built,
        };
        let keys: Vec<&[u8]> = waiting.keys.iter().map(|key| &**key).collect();
        let is_added = match waiting.is_split() {
            true => exporter.part(keys[0]),
            false => exporter.by_itself(&keys),
        };
        is_added.then_some(built)
    }

    fn collect<S: Store>(
        &mut self,
        (log, sent): (&Log, Stamp),
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
        self.sent = sent;
        // Under load every lane gets its turn to be first.
        self.first_lane = (self.first_lane + 1) % LANES;
        let first = self.first_lane;
        for lane in (0..LANES).map(|offset| (first + offset) % LANES) {
            let start = cursors[lane].seq;
            let cursor = &mut cursors[lane];
            let is_drained = self.collect_lane((log, sent), store, lane, cursor, limit_bytes)?;
            self.last.drained &= is_drained;
            self.last.cover(lane, start, cursors[lane].seq);
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
            if let Err(Full(unread)) = self.look_up((log, sent), store, lane, limit_bytes) {
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
        lane: usize,
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
            limit_bytes,
            bytes_max: self.bytes_max,
            seen: &mut self.seen,
            built: &mut self.last,
        };
        let mut start = 0;
        for &Copied {
            first,
            next,
            stamp,
            end,
        } in &self.keys.records
        {
            if exporter.built.items.len() >= full || exporter.built.apart.len() >= RANGES_MAX {
                return Err(Full(next));
            }
            // Of one that was begun, only the rest is unread.
            let begun = usize::try_from(next - first).unwrap_or(usize::MAX);
            let keys = &all[(start + begun).min(end)..end];
            if !exporter.record(next, keys)? {
                let after = next - 1;
                let range = Range {
                    lane,
                    after,
                    up_to: after + keys.len() as u64,
                };
                let keys = keys.iter().map(|&key| key.into()).collect();
                exporter.built.apart.push(Apart { range, stamp, keys });
            }
            start = end;
        }
        Ok(())
    }
}

impl Built {
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

/// A stamp up to which everything was sent, where what was left out since waits.
pub(super) fn sent_before(
    log: &Log,
    cursors: &[Cursor; LANES],
    waits_since: Option<Stamp>,
) -> Stamp {
    let read = log.sent_before(cursors);
    waits_since.map_or(read, |since| read.min(Stamp(since.0.saturating_sub(1))))
}

/// Adds a carried entry.
fn carry(entry: &[u8], seen: &mut Seen, last: &mut Built) {
    let key = layout::key_of(entry);
    let item = last.put(entry, seen.carried(key));
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
    stamp: Stamp,
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
            stamp: record.stamp,
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
