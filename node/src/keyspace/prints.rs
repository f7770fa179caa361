//! The fingerprints of a shard's slots, under the shard's lock.
//!
//! Says which slot a change belongs to, and looks for entries whose deadline has passed only when there is one. What a
//! fingerprint is, is proto's.

use greenwich_proto::{
    entry::layout,
    fingerprint::{Presence, SlotPrint},
    hlc::Stamp,
    slots::{KeyHash, SLOTS},
};

use super::SHARDS;

/// The slots of one shard.
pub(super) const SLOTS_OF_SHARD: usize = SLOTS / SHARDS;

#[derive(Debug, Default)]
pub(super) struct Prints {
    slots: [SlotPrint; SLOTS_OF_SHARD],
    /// Deadlines up to the end of this epoch are accounted for.
    accounted: u64,
    /// No other deadline lies in an earlier epoch.
    next_end: u64,
}

impl Prints {
    /// The entry of a key has become another one.
    #[inline]
    pub(super) fn change(&mut self, key: KeyHash, old: Presence, new: Presence) {
        self.next_end = self.next_end.min(new.until());
        self.slots[of_shard(key)].change(old, new, self.accounted);
    }

    /// Accounts for deadlines up to the end of an epoch, where `entries` are all that the shard holds.
    pub(super) fn account<'e>(&mut self, up_to: u64, entries: impl Iterator<Item = &'e [u8]>) {
        if up_to <= self.accounted {
            return;
        }
        if self.next_end <= up_to {
            self.next_end = u64::MAX;
            for (key, held) in mortal(entries) {
                self.slots[of_shard(key)].account(held, self.accounted, up_to);
                if held.until() > up_to {
                    self.next_end = self.next_end.min(held.until());
                }
            }
        }
        self.accounted = up_to;
    }

    /// Everything was flushed, and deadlines of earlier epochs are accounted for.
    pub(super) fn flush(&mut self, stamp: Stamp) {
        self.slots.iter_mut().for_each(|slot| slot.flush(stamp));
        self.next_end = u64::MAX;
    }

    /// What an entry adds to its slot's present fingerprint.
    pub(super) fn share_of(&self, entry: &[u8]) -> u64 {
        let (_, presence) = presence_of(entry);
        presence.print_after(self.accounted)
    }

    /// Every slot's fingerprint at the end of an epoch, up to which deadlines are accounted for.
    pub(super) fn as_of(&self, epoch: u64) -> [Option<u64>; SLOTS_OF_SHARD] {
        self.slots.map(|slot| slot.as_of(epoch))
    }

    /// Asks for the memory of a key's slot.
    pub(super) fn prefetch(&self, key: KeyHash) {
        greenwich_prefetch::prefetch(&self.slots, of_shard(key));
    }

    /// The first slot whose fingerprint is not that of `entries`, all that the shard holds.
    pub(super) fn miscounted<'e>(&self, entries: impl Iterator<Item = &'e [u8]>) -> Option<usize> {
        let mut slots = self.slots.map(|slot| slot.now());
        for entry in entries {
            slots[of_shard(KeyHash::of(layout::key_of(entry)))] ^= self.share_of(entry);
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

fn mortal<'e>(
    entries: impl Iterator<Item = &'e [u8]>,
) -> impl Iterator<Item = (KeyHash, Presence)> {
    entries
        .filter(|entry| layout::view(entry).deadline.at.is_some())
        .map(presence_of)
}
