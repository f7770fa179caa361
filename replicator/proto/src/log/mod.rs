//! The log of local writes: lanes of records, and how far each peer has read them.
//!
//! A peer is a cursor, never a queue: a slow one costs nobody anything. What every peer has acknowledged is dropped; at
//! the limit the oldest records are dropped too, and a peer that still needed them is caught up by a sweep over the
//! whole keyspace. Whether a key's state is worth sending is not known here.

mod lane;

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use parking_lot::Mutex;

use self::lane::Lane;
pub use self::lane::{CARRIED_BYTES_MAX, Change, Cursor, KeyList, Record};
use crate::{
    entry::{Body, EntryRef},
    hlc::{Clock, Stamp},
    time::Wall,
};

/// The number of lanes of every node of a cluster. Compared in the handshake.
pub const LANES: usize = 16;

/// The largest number of keys that change as one unit.
pub const UNIT_KEYS_MAX: usize = u16::MAX as usize - 1;

/// Which peer of the node, in the order of its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerIndex(pub usize);

/// Where a write stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The lane.
    pub lane: usize,
    /// Its number in the lane.
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
        self.0[position.lane] = position.seq;
    }
}

/// The log of one node.
#[derive(Debug)]
pub struct Log {
    lanes: Box<[Mutex<Lane>]>,
    /// The last number given in each lane, for a look without the lock.
    heads: [AtomicU64; LANES],
    /// Per peer, the last number in each lane that it has applied together with everything before.
    applied: Box<[[AtomicU64; LANES]]>,
    /// Per peer, whether it could be asked at this moment.
    linked: Box<[AtomicBool]>,
    clock: Clock,
    limit_bytes: usize,
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
    /// A log for `peers` readers that holds at most about `limit_bytes`.
    #[must_use]
    pub fn new(clock: Clock, peers: usize, limit_bytes: usize) -> Self {
        let lane_bytes = if peers == 0 { 0 } else { limit_bytes / LANES };
        Self {
            lanes: (0..LANES)
                .map(|_| Mutex::new(Lane::new(lane_bytes)))
                .collect(),
            heads: Default::default(),
            applied: (0..peers).map(|_| Default::default()).collect(),
            linked: (0..peers).map(|_| AtomicBool::new(false)).collect(),
            clock,
            limit_bytes,
            signalled: AtomicBool::new(false),
            wake: OnceLock::new(),
        }
    }

    /// The node's clock. Stamps are issued only together with a record.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The number of peers.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.applied.len()
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

    /// Appends a record of keys that change together. The keys' locks are held by the caller; the stamp is issued
    /// under the lane's lock, so that stamps and numbers of one lane have the same order.
    pub fn append<'a>(
        &self,
        lane: usize,
        wall: Wall,
        keys: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Position {
        self.append_with(lane, wall, |records, stamp| records.append(stamp, keys))
    }

    /// As [`Self::append`], for one key that becomes a plain value: `entry` makes it from its stamp. A small one is
    /// carried by the record while few records are held.
    pub fn append_value<'a>(
        &self,
        lane: usize,
        wall: Wall,
        entry: impl FnOnce(Stamp) -> EntryRef<'a>,
    ) -> Position {
        self.append_with(lane, wall, |records, stamp| {
            let entry = entry(stamp);
            debug_assert!(matches!(entry.body, Body::Bytes(_)) && entry.totals.is_empty());
            records.append_entry(stamp, &entry)
        })
    }

    fn append_with(
        &self,
        lane: usize,
        wall: Wall,
        append: impl FnOnce(&mut Lane, Stamp) -> u64,
    ) -> Position {
        let position = {
            let mut records = self.lanes[lane].lock();
            let stamp = self.clock.stamp(wall);
            let seq = append(&mut records, stamp);
            self.heads[lane].store(seq, Ordering::SeqCst);
            Position { lane, seq, stamp }
        };
        if !self.signalled.load(Ordering::Relaxed)
            && !self.signalled.swap(true, Ordering::SeqCst)
            && let Some(Wake(wake)) = self.wake.get()
        {
            wake();
        }
        position
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
        Ok(())
    }

    /// The last number given in a lane.
    #[must_use]
    pub fn head(&self, lane: usize) -> u64 {
        self.heads[lane].load(Ordering::SeqCst)
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
        self.applied[peer.0][lane].fetch_max(seq, Ordering::AcqRel);
        let slowest = self
            .applied
            .iter()
            .map(|lanes| lanes[lane].load(Ordering::Acquire))
            .min();
        self.lanes[lane].lock().trim(slowest.unwrap_or(0));
    }

    /// A restarted `peer` holds nothing of what its predecessor had applied.
    pub fn forget(&self, peer: PeerIndex) {
        for applied in &self.applied[peer.0] {
            applied.store(0, Ordering::Release);
        }
    }

    /// The last number of a lane up to which `peer` has applied everything.
    #[must_use]
    pub fn applied(&self, peer: PeerIndex, lane: usize) -> u64 {
        self.applied[peer.0][lane].load(Ordering::Acquire)
    }

    /// Says whether the link to `peer` is up.
    pub fn set_linked(&self, peer: PeerIndex, is_linked: bool) {
        self.linked[peer.0].store(is_linked, Ordering::Release);
    }

    /// How many peers have applied everything up to `marks` and are linked. What one without a link had applied may be
    /// gone: a node that dies keeps nothing.
    #[must_use]
    pub fn holders(&self, marks: &Marks) -> usize {
        let holds = |lanes: &[AtomicU64; LANES]| {
            lanes
                .iter()
                .zip(&marks.0)
                .all(|(applied, mark)| applied.load(Ordering::Acquire) >= *mark)
        };
        self.linked
            .iter()
            .zip(&self.applied)
            .filter(|(linked, lanes)| linked.load(Ordering::Acquire) && holds(lanes))
            .count()
    }

    /// Bytes of the records held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lanes.iter().map(|lane| lane.lock().bytes()).sum()
    }

    /// The limit of [`Self::bytes`].
    #[must_use]
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }
}

/// The records after a cursor were dropped at the log's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log no longer holds the records after the cursor")]
pub struct Fallen;
