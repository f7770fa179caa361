//! The log of local writes: lanes of records, and how far each peer has read them.
//!
//! A peer is a cursor, never a queue: a slow one costs nobody anything. What every peer has acknowledged is dropped; at
//! the limit the oldest records are dropped too, and a peer that still needed them is caught up by a sweep over the
//! whole keyspace. Whether a key's state is worth sending is not known here.

mod budget;
mod lane;
mod readers;
mod recent;
mod record;
mod units;

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use parking_lot::Mutex;

use self::{budget::Budget, lane::Lane, readers::Readers};
pub use self::{
    lane::Cursor,
    readers::PEERS_MAX,
    record::{CARRIED_BYTES_MAX, Change, KeyList, Record},
    units::Units,
};
use crate::{
    entry::{Body, EntryRef},
    hlc::{Clock, Stamp},
    time::Wall,
};

/// The number of lanes of every node of a cluster. Compared in the handshake.
pub const LANES: usize = 16;

/// The largest number of keys that change as one unit.
pub const UNIT_KEYS_MAX: usize = u16::MAX as usize - 1;

/// Units are remembered in at most one part in this many of the log's limit, on top of it; of a small log, in more.
const UNITS_PART: usize = 4;
const UNITS_BYTES_MIN: usize = 4 * 1024 * 1024;

/// Which peer of the node: those that it was configured with come first, those that were added later follow. Below
/// [`PEERS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerIndex(pub usize);

/// Where a write stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The lane.
    pub lane: usize,
    /// Its number in the lane; of several, the last.
    pub seq: u64,
    /// Its stamp.
    pub stamp: Stamp,
}

/// The newest position of some writes in each lane, such as those of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks([u64; LANES]);

impl Marks {
    /// Adds a write.
    pub fn note(&mut self, position: Position) {
        let mark = &mut self.0[position.lane];
        // A write that shares an unread record stands before the lane's newest.
        *mark = position.seq.max(*mark);
    }

    /// The newest of them in a lane; zero when there is none.
    #[must_use]
    pub fn in_lane(&self, lane: usize) -> u64 {
        self.0[lane]
    }
}

/// The log of one node.
#[derive(Debug)]
pub struct Log {
    lanes: Box<[Mutex<Lane>]>,
    /// The last number given in each lane, for a look without the lock.
    heads: [AtomicU64; LANES],
    /// The last number in each lane that somebody has read, or takes for read. No later write may share its record.
    read: [AtomicU64; LANES],
    readers: Readers,
    clock: Clock,
    budget: Arc<Budget>,
    limit_bytes: usize,
    units: Units,
    /// Set by the first append after a reader said that it is going to sleep.
    signalled: AtomicBool,
    wake: OnceLock<Wake>,
}

struct Wake(Box<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Wake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wake")
    }
}

impl Log {
    /// A log that the first `peers` peers read, and that holds at most about `limit_bytes`.
    #[must_use]
    pub fn new(clock: Clock, peers: usize, limit_bytes: usize) -> Self {
        let budget = Arc::new(Budget::new(0));
        let log = Self {
            lanes: (0..LANES)
                .map(|_| Mutex::new(Lane::new(Arc::clone(&budget))))
                .collect(),
            heads: Default::default(),
            read: Default::default(),
            readers: Readers::default(),
            clock,
            budget,
            limit_bytes,
            units: Units::new(0),
            signalled: AtomicBool::new(false),
            wake: OnceLock::new(),
        };
        (0..peers).for_each(|at| log.admit(PeerIndex(at)));
        log
    }

    /// From here on `peer` reads the log: what it has not applied is held, within the limit.
    pub fn admit(&self, peer: PeerIndex) {
        self.readers.admit(peer);
        self.give_room();
    }

    /// `peer` reads no more: nothing is held for it.
    pub fn dismiss(&self, peer: PeerIndex) {
        self.readers.dismiss(peer);
        self.give_room();
        (0..LANES).for_each(|lane| self.trim(lane));
    }

    /// What nobody reads is not held.
    fn give_room(&self) {
        let (used_bytes, units_bytes) = match self.peers() {
            0 => (0, 0),
            _ => (
                self.limit_bytes,
                (self.limit_bytes / UNITS_PART).max(UNITS_BYTES_MIN),
            ),
        };
        self.budget.set_limit(used_bytes);
        self.units.set_limit(units_bytes);
    }

    /// The node's clock. Stamps are issued only together with a record.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Which keys were lately changed together.
    #[must_use]
    pub fn units(&self) -> &Units {
        &self.units
    }

    /// The number of peers that read it.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.readers.count()
    }

    /// Calls `wake` when a record is appended while readers sleep. At most one function, set once.
    pub fn wake_with(&self, wake: impl Fn() + Send + Sync + 'static) {
        let set = self.wake.set(Wake(Box::new(wake)));
        assert!(set.is_ok(), "one function wakes the readers");
    }

    /// Asks to be woken by the next append. The caller looks at the lanes once more before it sleeps.
    pub fn arm(&self) {
        self.signalled.store(false, Ordering::SeqCst);
    }

    /// Appends a record of keys that change together, or of a flush. The keys' locks are held by the caller; the stamp
    /// is issued under the lane's lock, so that stamps and numbers of one lane have the same order.
    pub fn append<'a>(
        &self,
        lane: usize,
        wall: Wall,
        keys: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Position {
        let appended = keys.clone();
        let position = self.append_with(lane, wall, |records, stamp, _| {
            records.append(stamp, appended)
        });
        if keys.clone().nth(1).is_some() {
            self.units.note(keys.map(|key| (key, position.stamp)));
        }
        position
    }

    /// As [`Self::append`], for one key. While nobody has read its newest record, that is enough: the key's lock is held
    /// until its state is there, so whoever reads the record then finds it.
    pub fn append_key(&self, lane: usize, wall: Wall, key: &[u8]) -> Position {
        self.append_with(lane, wall, |records, stamp, read| {
            records.append_key(stamp, key, read)
        })
    }

    /// As [`Self::append_key`], for one that becomes a plain value: `entry` makes it from its stamp. A small one is
    /// carried by the record while few records are held.
    pub fn append_value<'a>(
        &self,
        lane: usize,
        wall: Wall,
        entry: impl FnOnce(Stamp) -> EntryRef<'a>,
    ) -> Position {
        self.append_with(lane, wall, |records, stamp, read| {
            let entry = entry(stamp);
            debug_assert!(matches!(entry.body, Body::Bytes(_)) && entry.totals.is_empty());
            records.append_entry(stamp, &entry, read)
        })
    }

    fn append_with(
        &self,
        lane: usize,
        wall: Wall,
        append: impl FnOnce(&mut Lane, Stamp, u64) -> u64,
    ) -> Position {
        let position = {
            let mut records = self.lanes[lane].lock();
            let stamp = self.clock.stamp(wall);
            let read = self.read[lane].load(Ordering::SeqCst);
            let seq = append(&mut records, stamp, read);
            self.heads[lane].store(records.head(), Ordering::SeqCst);
            Position { lane, seq, stamp }
        };
        if self.budget.is_exceeded() {
            self.shrink();
        }
        if !self.signalled.load(Ordering::Relaxed)
            && !self.signalled.swap(true, Ordering::SeqCst)
            && let Some(Wake(wake)) = self.wake.get()
        {
            wake();
        }
        position
    }

    /// Drops the oldest records of the lanes that hold the most, until all are within the limit.
    #[cold]
    fn shrink(&self) {
        while self.budget.is_exceeded() {
            let fullest = self
                .lanes
                .iter()
                .max_by_key(|lane| lane.lock().budgeted_bytes());
            if let Some(fullest) = fullest {
                fullest.lock().shrink();
            }
        }
    }

    /// Moves `cursor` over records of a lane for as long as `visit` accepts them. `visit` must not lock a key.
    ///
    /// # Errors
    /// [`Fallen`] when records after the cursor are no longer held.
    pub fn read(
        &self,
        lane: usize,
        cursor: &mut Cursor,
        visit: impl FnMut(Record<'_>) -> bool,
    ) -> Result<(), Fallen> {
        let records = self.lanes[lane].lock();
        if cursor.seq < records.tail() {
            return Err(Fallen);
        }
        records.read(cursor, visit);
        self.note_read(lane, cursor.seq);
        Ok(())
    }

    /// A stamp before that of every record after `cursors`, those included that are appended later.
    pub(crate) fn sent_before(&self, cursors: &[Cursor; LANES]) -> Stamp {
        let mut oldest = self.clock.newest().next();
        for (lane, cursor) in self.lanes.iter().zip(cursors) {
            let mut cursor = *cursor;
            lane.lock().read(&mut cursor, |record| {
                oldest = oldest.min(record.stamp);
                false
            });
        }
        Stamp(oldest.0 - 1)
    }

    /// The last number given in a lane. Whoever learns it may go on reading from there, so no later write shares it.
    #[must_use]
    pub fn head(&self, lane: usize) -> u64 {
        let head = self.heads[lane].load(Ordering::SeqCst);
        self.note_read(lane, head);
        head
    }

    /// How many numbers were given in a lane after `seq`. Nobody may go on reading from there for it.
    #[must_use]
    pub fn count_after(&self, lane: usize, seq: u64) -> u64 {
        self.heads[lane].load(Ordering::SeqCst).saturating_sub(seq)
    }

    /// A write that has looked at the number before holds its key's lock until its state is there, so a reader that comes
    /// after this call finds it.
    fn note_read(&self, lane: usize, seq: u64) {
        if self.read[lane].load(Ordering::SeqCst) < seq {
            self.read[lane].fetch_max(seq, Ordering::SeqCst);
        }
    }

    /// The last number given in each lane, and a stamp such that every record with an earlier one is among them.
    pub fn watermark(&self, wall: Wall) -> ([u64; LANES], Stamp) {
        // Stamps issued after this one are later, and those issued before are appended before the lane is unlocked.
        let stamp = self.clock.stamp(wall);
        let mut heads = [0; LANES];
        for (head, lane) in heads.iter_mut().zip(&self.lanes) {
            let records = lane.lock();
            *head = records.head();
        }
        (heads, stamp)
    }

    /// The stamp of the first record after `seq`, if there is one. Where that was dropped at the limit it is the oldest
    /// stamp that was dropped.
    #[must_use]
    pub fn stamp_after(&self, lane: usize, seq: u64) -> Option<Stamp> {
        let mut found = None;
        let mut cursor = Cursor::after(seq);
        let records = self.lanes[lane].lock();
        if seq < records.tail()
            && let Some(dropped) = records.dropped_since()
        {
            return Some(dropped);
        }
        cursor.seq = cursor.seq.max(records.tail());
        records.read(&mut cursor, |record| {
            found = found.or(Some(record.stamp));
            false
        });
        found
    }

    /// `peer` has applied everything up to `seq` in a lane. Drops what all peers have.
    pub fn acknowledge(&self, peer: PeerIndex, lane: usize, seq: u64) {
        self.readers.acknowledge(peer, lane, seq);
        self.trim(lane);
    }

    /// Drops what all peers have read of a lane.
    fn trim(&self, lane: usize) {
        let mut records = self.lanes[lane].lock();
        let read_by_all = self.readers.slowest(lane).unwrap_or_else(|| records.head());
        records.trim(read_by_all);
    }

    /// A restarted `peer` holds nothing of what its predecessor had applied.
    pub fn forget(&self, peer: PeerIndex) {
        self.readers.forget(peer);
    }

    /// The last number of a lane up to which `peer` has applied everything.
    #[must_use]
    pub fn applied(&self, peer: PeerIndex, lane: usize) -> u64 {
        self.readers.applied(peer, lane)
    }

    /// Says whether the link to `peer` is up, and something arrives over it.
    pub fn set_linked(&self, peer: PeerIndex, is_linked: bool) {
        self.readers.set_linked(peer, is_linked);
    }

    /// How many peers have applied everything up to `marks` and are linked. What one without a link, or with one that is
    /// silent, had applied may be gone: a node that dies keeps nothing.
    #[must_use]
    pub fn holders(&self, marks: &Marks) -> usize {
        self.readers.holders(marks)
    }

    /// Bytes of the records held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lanes.iter().map(|lane| lane.lock().bytes()).sum()
    }

    /// The limit of [`Self::bytes`], up to the segment that each lane is filling.
    #[must_use]
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }
}

/// The records after a cursor were dropped at the log's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log no longer holds the records after the cursor")]
pub struct Fallen;

#[cfg(test)]
mod tests {
    use std::{iter::once, time::Duration};

    use super::*;

    pub(super) const WALL: Wall = Wall(1_000);
    const LIMIT_BYTES: usize = 1 << 20;

    pub(super) fn log() -> Log {
        Log::new(Clock::new(Duration::from_secs(5)), 1, LIMIT_BYTES)
    }

    pub(super) fn long_key(n: u64) -> Vec<u8> {
        format!("{n:01000}").into_bytes()
    }

    #[test]
    fn a_key_that_is_counted_while_its_peer_is_away_takes_one_record() {
        let log = log();
        let first = log.append_key(3, WALL, b"counter");
        for _ in 0..100_000 {
            let position = log.append_key(3, WALL, b"counter");
            assert_eq!(position.seq, first.seq);
            assert!(position.stamp > first.stamp, "each write has its own");
        }
        assert_eq!(
            log.stamp_after(3, 0),
            Some(first.stamp),
            "the oldest counts"
        );
        assert!(log.bytes() < 100);
    }

    #[test]
    fn a_write_shares_no_record_that_somebody_reads_or_goes_on_from() {
        let log = log();
        let seq = || log.append_key(3, WALL, b"counter").seq;
        assert_eq!((seq(), seq()), (1, 1));
        let mut cursor = Cursor::default();
        log.read(3, &mut cursor, |_| false).unwrap();
        assert_eq!(seq(), 1, "it was looked at and left");
        log.read(3, &mut cursor, |_| true).unwrap();
        assert_eq!((seq(), seq()), (2, 2));
        assert_eq!(log.head(3), 2);
        assert_eq!(seq(), 3, "a sweep may cover what is before");
        let mut marks = Marks::default();
        for key in [b"a", b"b", b"a"] {
            marks.note(log.append_key(3, WALL, key));
        }
        assert_eq!(marks.in_lane(3), 5, "the newest of them counts");
    }

    #[test]
    fn one_lane_may_use_what_the_others_leave() {
        let log = log();
        let held = LIMIT_BYTES as u64 / 1_100;
        for n in 0..held {
            log.append(3, WALL, once(&long_key(n)[..]));
        }
        assert!(log.read(3, &mut Cursor::default(), |_| false).is_ok());
        for n in 0..held {
            log.append(3, WALL, once(&long_key(n)[..]));
        }
        assert_eq!(log.read(3, &mut Cursor::default(), |_| false), Err(Fallen));
    }

    #[test]
    fn at_the_limit_the_lane_that_holds_the_most_gives_way() {
        let log = log();
        let few = LIMIT_BYTES as u64 / 10_000;
        for n in 0..few {
            log.append(3, WALL, once(&long_key(n)[..]));
        }
        for n in 0..20 * few {
            log.append(4, WALL, once(&long_key(n)[..]));
        }
        assert!(log.read(3, &mut Cursor::default(), |_| false).is_ok());
        assert_eq!(log.read(4, &mut Cursor::default(), |_| false), Err(Fallen));
        let segments = LANES * 32 * 1024;
        assert!((LIMIT_BYTES / 2..LIMIT_BYTES + segments).contains(&log.bytes()));
    }
}
