//! The fingerprints of a shard's slots, under the shard's lock.
//!
//! Says which slot an entry belongs to. What a fingerprint is, is proto's.

use std::{array, iter, ops::Range};

use greenwich_proto::{
    entry::layout,
    fingerprint::{Presence, SlotPrints, epoch_of},
    hlc::Stamp,
    slots::{KeyHash, SLOTS},
};

use super::SHARDS;

/// The slots of one shard.
pub(super) const SLOTS_OF_SHARD: usize = SLOTS / SHARDS;

#[derive(Debug, Default)]
pub(super) struct Prints {
    slots: SlotPrints<SLOTS_OF_SHARD>,
    /// Epochs whose ends are not known, because entries were flushed before their deadlines were accounted for.
    unknown: Range<u64>,
}

impl Prints {
    /// The entry of a key has become another one.
    #[inline]
    pub(super) fn change(&mut self, key: KeyHash, old: Presence, new: Presence) {
        self.slots.change(of_shard(key), old, new);
    }

    /// Accounts for deadlines up to the end of an epoch, where `entries` are all that the shard holds.
    pub(super) fn account<'e>(&mut self, epoch: u64, entries: impl Iterator<Item = &'e [u8]>) {
        let mortal = entries.filter(|entry| layout::view(entry).deadline.at.is_some());
        let in_slots = mortal.map(|entry| {
            let (key, presence) = presence_of(entry);
            (of_shard(key), presence)
        });
        self.slots.account(epoch, in_slots);
    }

    /// Everything was flushed. Deadlines up to then that are not accounted for would have to be looked for while all
    /// shards are locked: instead, the ends of these epochs count as not known.
    pub(super) fn flush(&mut self, stamp: Stamp) {
        let epoch = epoch_of(stamp);
        let next_end = self.slots.next_end();
        if next_end < epoch {
            let first = if self.unknown.is_empty() {
                next_end
            } else {
                self.unknown.start.min(next_end)
            };
            self.unknown = first..epoch;
        }
        self.slots.account(epoch, iter::empty());
        self.slots.flush(stamp);
    }

    /// Whether an entry adds nothing to its slot.
    pub(super) fn is_without(&self, entry: &[u8]) -> bool {
        self.slots.share_of(presence_of(entry).1) == 0
    }

    /// Every slot's fingerprint at the end of an epoch, up to which deadlines are accounted for.
    pub(super) fn as_of(&self, epoch: u64) -> [Option<u64>; SLOTS_OF_SHARD] {
        let is_known = !self.unknown.contains(&epoch);
        array::from_fn(|slot| self.slots.as_of(slot, epoch).filter(|_| is_known))
    }

    /// The first slot whose fingerprint is not that of `entries`, all that the shard holds.
    pub(super) fn miscounted<'e>(&self, entries: impl Iterator<Item = &'e [u8]>) -> Option<usize> {
        let mut slots = self.slots.now();
        for (key, presence) in entries.map(presence_of) {
            slots[of_shard(key)] ^= self.slots.share_of(presence);
        }
        slots.iter().position(|left| *left != 0)
    }
}

fn of_shard(key: KeyHash) -> usize {
    key.slot() % SLOTS_OF_SHARD
}

/// The hash of an entry's key, and its presence.
pub(super) fn presence_of(entry: &[u8]) -> (KeyHash, Presence) {
    let entry = layout::view(entry);
    let key = KeyHash::of(entry.key);
    (key, Presence::of(key, &entry))
}
