//! The cache itself: every key of the region, in memory.
//!
//! ```text
//!   key ─hash─▶ shard (one mutex) ─▶ index ─▶ entries, side by side (header · key · value)
//!                 ├─▶ lane of the log, written under the shard's lock
//!                 └─▶ fingerprints of its slots
//! ```
//!
//! Two hashes: one that all regions share chooses the slot that they compare, and with it the shard; one with a seed of
//! its own finds the key in there, so that nobody outside can choose keys that collide.
//!
//! Callers get closures, not guards: [`Access::read`] and [`Access::update`] run one under the key's lock, and
//! [`Access::together`] under the locks of several keys, taken in the order of their shards; what is written there
//! travels as one unit. The lock order is shard, then lane; there is no third.
//!
//! Knows entries and their join; does not know commands, clients or peers.

mod access;
mod arena;
mod fold;
mod index;
mod lookups;
mod prints;
mod remains;
mod scan;
mod shard;
mod slot;
mod store;
mod tend;
#[cfg(test)]
mod tests;
mod view;

use std::{
    fmt,
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use foldhash::fast::FixedState;
use greenwich_proto::{
    entry::totals::Actor,
    hlc::Version,
    log::{LANES, Log},
    settled::Settled,
    slots::KeyHash,
};
use parking_lot::{Mutex, RwLock};

pub use self::{
    access::Access,
    lookups::Lookups,
    scan::{ScanLimits, ScanPage},
    slot::Slot,
    view::View,
};
use index::Tag;
use prints::SLOTS_OF_SHARD;
use remains::Waiting;
use shard::Shard;

/// The number of shards: enough that two cores rarely meet in one, and that what looks at a whole shard under its lock
/// stays short at many millions of keys.
const SHARDS: usize = 1024;

/// Every key of a region.
pub struct Keyspace {
    shards: Box<[Mutex<Shard>]>,
    hasher: FixedState,
    actor: Actor,
    log: Arc<Log>,
    settled: RwLock<Settled>,
    flushed: Mutex<Version>,
    expired: AtomicU64,
    folded: AtomicU64,
    remains: Waiting,
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyspace")
            .field("actor", &self.actor)
            .finish_non_exhaustive()
    }
}

/// How full a keyspace is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Keys that clients see, and those that expired since their shard was last tended.
    pub keys: usize,
    /// Keys with a deadline.
    pub mortal_keys: usize,
    /// Deleted and expired keys that are remembered until every region has heard of their end.
    pub husks: usize,
    /// Bytes of those.
    pub husk_bytes: usize,
    /// Bytes of entries, without the tables around them.
    pub entry_bytes: usize,
}

impl Keyspace {
    /// An empty keyspace whose writes are `actor`'s and go to `log`. `seed` keys the hash function: give each process
    /// its own, so that nobody outside can choose keys that collide.
    #[must_use]
    pub fn new(log: Arc<Log>, actor: Actor, seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        Self {
            shards: (0..SHARDS)
                .map(|_| Mutex::new(Shard::new(hasher.clone())))
                .collect(),
            hasher,
            actor,
            log,
            settled: RwLock::default(),
            flushed: Mutex::new(Version::ZERO),
            expired: AtomicU64::new(0),
            folded: AtomicU64::new(0),
            remains: Waiting::default(),
        }
    }

    /// The log of this keyspace's writes.
    #[must_use]
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// How full it is. Looks at every shard's counters.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for shard in &self.shards {
            let shard = shard.lock();
            usage.keys += shard.tally.keys;
            usage.mortal_keys += shard.tally.mortal;
            usage.husks += shard.len() - shard.tally.keys;
            usage.husk_bytes += shard.tally.bytes - shard.tally.key_bytes;
            usage.entry_bytes += shard.tally.bytes;
        }
        usage
    }

    /// Values that this node has seen expire since the start: those that it held alive and whose deadline passed, each
    /// once, whether they were still there when [`Keyspace::tend`] came or had been overwritten. Values that arrive after
    /// their deadline do not count; one that a later deadline brings back expires again. Takes no lock.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    /// Entries with totals of several lives in one: folded here, or sent by a peer that has. Takes no lock.
    #[must_use]
    pub fn folded(&self) -> u64 {
        self.folded.load(Ordering::Relaxed)
    }

    /// The first slot whose fingerprint is not what its entries say, for tests. Looks at everything.
    #[must_use]
    pub fn miscounted(&self) -> Option<usize> {
        let shards = self.shards.iter().zip((0..).step_by(SLOTS_OF_SHARD));
        let mut slots =
            shards.filter_map(|(shard, first)| Some(first + shard.lock().miscounted()?));
        slots.next()
    }

    fn place(&self, key: &[u8]) -> Place {
        Place::of(key, &self.hasher)
    }
}

/// Where a key lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// Chooses the slot, and the shard that it is of: the same in every region.
    key: KeyHash,
    /// Finds it in there: no other process' is the same.
    tag: Tag,
}

impl Place {
    /// Of no key.
    const NONE: Self = Self {
        key: KeyHash(0),
        tag: Tag(0),
    };

    #[inline]
    fn of(key: &[u8], hasher: &FixedState) -> Self {
        Self {
            key: KeyHash::of(key),
            tag: Self::tag_of(key, hasher),
        }
    }

    fn tag_of(key: &[u8], hasher: &FixedState) -> Tag {
        Tag((hasher.hash_one(key) >> Tag::BITS) as u32)
    }

    /// What the index inside a shard uses.
    const fn tag(self) -> Tag {
        self.tag
    }

    const fn shard(self) -> usize {
        self.key.slot() / SLOTS_OF_SHARD
    }

    const fn lane(self) -> usize {
        self.shard() % LANES
    }
}
