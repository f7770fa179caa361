//! The keyspace as replication sees it.

use std::{
    borrow::Cow,
    ops::{ControlFlow, Range},
    sync::atomic::Ordering,
};

use greenwich_proto::{
    entry::{
        EntryRef,
        join::{Forgotten, Joined, join},
        layout,
    },
    hlc::Version,
    settled::Settled,
    slots::KeyHash,
    store::{AT_ONCE, Applied, Store},
    time::Wall,
    wire::control::Over,
};

use super::{
    Keyspace, Place,
    prints::SLOTS_OF_SHARD,
    scan::{LOCKED_KEYS, Spot},
    shard::Shard,
};

impl Keyspace {
    /// Joins one entry into its locked shard. Returns whether it changed anything.
    fn join_into(
        &self,
        shard: &mut Shard,
        incoming: &EntryRef<'_>,
        sender: &Settled,
        now: Wall,
    ) -> bool {
        let place = self.place(incoming.key);
        let settled = self.settled.read();
        let forgotten = Forgotten {
            local: &settled,
            sender,
            flushed: shard.flushed,
        };
        if incoming.totals.has_folded() {
            self.folded.fetch_add(1, Ordering::Relaxed);
        }
        let local = shard.find(place, incoming.key).map(layout::view);
        match join(local.as_ref(), incoming, forgotten) {
            None | Some(Joined::Local) => false,
            Some(Joined::Incoming) => {
                shard.put(place, incoming, now);
                true
            }
            Some(Joined::Mixed(bytes)) => {
                shard.put(place, &layout::view(&bytes), now);
                true
            }
        }
    }

    /// Runs `act` on the shards of all `keys`, locked in their order.
    fn with_shards<'k, R>(
        &self,
        keys: impl Iterator<Item = &'k [u8]>,
        act: impl FnOnce(&mut dyn FnMut(&[u8], &mut dyn FnMut(&mut Shard))) -> R,
    ) -> R {
        let mut shards: Vec<usize> = keys.map(|key| self.place(key).shard()).collect();
        shards.sort_unstable();
        shards.dedup();
        let mut guards: Vec<_> = shards
            .iter()
            .map(|&shard| self.shards[shard].lock())
            .collect();
        act(&mut |key, visit| {
            let at = shards
                .binary_search(&self.place(key).shard())
                .expect("the shards of all keys are locked");
            visit(&mut guards[at]);
        })
    }
}

/// What is left of an entry after everything up to `version` was flushed.
fn after_flush(bytes: &[u8], version: Version) -> Option<Cow<'_, [u8]>> {
    let entry = layout::view(bytes);
    // What counts on the flush itself came after it.
    let is_later =
        entry.version > version || (entry.version == version && !entry.totals.is_empty());
    if is_later {
        Some(Cow::Borrowed(bytes))
    } else if entry.deadline.version > version {
        // A deadline set in ignorance of the flush counts for what is written between the two.
        let absent = EntryRef::absent(entry.key, version);
        let bytes = layout::to_box(&EntryRef {
            deadline: entry.deadline,
            ..absent
        });
        Some(Cow::Owned(bytes.into()))
    } else {
        None
    }
}

impl Store for Keyspace {
    /// A key that is not in the processor's cache makes a command wait longer than all else that it does; the memory of
    /// several is fetched at the same time.
    fn prefetch(&self, keys: &[&[u8]]) {
        let mut places = [Place::NONE; AT_ONCE];
        for (place, key) in places.iter_mut().zip(keys) {
            *place = self.place(key);
        }
        let places = &places[..keys.len().min(AT_ONCE)];
        for place in places {
            self.shards[place.shard()].lock().prefetch_slot(*place);
        }
        for place in places {
            self.shards[place.shard()].lock().prefetch_entry(*place);
        }
    }

    fn export(&self, keys: &[&[u8]], visit: &mut dyn FnMut(&[u8])) {
        if let [key] = keys {
            let place = self.place(key);
            if let Some(entry) = self.shards[place.shard()].lock().find(place, key) {
                visit(entry);
            }
            return;
        }
        self.with_shards(keys.iter().copied(), |with_shard| {
            for key in keys {
                with_shard(key, &mut |shard| {
                    if let Some(entry) = shard.find(self.place(key), key) {
                        visit(entry);
                    }
                });
            }
        });
    }

    fn join(&self, entries: &[EntryRef<'_>], forgot: &Settled, now: Wall) -> Applied {
        let mut applied = Applied::default();
        let count = |changed: bool| Applied {
            changed: changed.into(),
            superseded: (!changed).into(),
        };
        if let [entry] = entries {
            let shard = self.place(entry.key).shard();
            let mut shard = self.shards[shard].lock();
            applied += count(self.join_into(&mut shard, entry, forgot, now));
            drop(shard);
            return applied;
        }
        self.with_shards(entries.iter().map(|entry| entry.key), |with_shard| {
            for entry in entries {
                with_shard(entry.key, &mut |shard| {
                    applied += count(self.join_into(shard, entry, forgot, now));
                });
            }
            // While the keys are locked: whoever passes one of them on then passes on all. With one peer there is somebody to
            // pass them on to as well: they may be what a region wrote last that has just been removed.
            if applied.changed > 0 && self.log.peers() > 0 {
                let changed = entries.iter().map(|entry| (entry.key, entry.newest()));
                self.log.units().note(changed);
            }
        });
        applied
    }

    fn flush(&self, version: Version) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            if shard.flushed >= version {
                continue;
            }
            let taken = shard.flush(version, |bytes| after_flush(bytes, version));
            drop(shard);
            self.free_later(vec![taken]);
        }
        let mut flushed = self.flushed.lock();
        *flushed = version.max(*flushed);
    }

    fn flushed(&self) -> Version {
        *self.flushed.lock()
    }

    fn settle(&self, settled: Settled) {
        self.log.units().forget(settled.of_everybody());
        let mut held = self.settled.write();
        // Sessions may come here in another order than they were told.
        if settled.stamp() >= held.stamp() {
            *held = settled;
        }
    }

    fn settled(&self) -> Settled {
        self.settled.read().clone()
    }

    fn has_folded(&self) -> bool {
        self.folded() > 0
    }

    fn husk_bytes(&self) -> u64 {
        self.usage().husk_bytes as u64
    }

    fn bury(&self, over: &Over, now: Wall) -> bool {
        let place = self.place(&over.key);
        let mut shard = self.shards[place.shard()].lock();
        let held = shard.find(place, &over.key).map(layout::view);
        let is_over = held.is_some_and(|held| held.newest() <= over.newest);
        if is_over {
            shard.put(place, &EntryRef::ended(&over.key, over.ended), now);
        }
        is_over
    }

    fn keys(&self) -> Option<u64> {
        Some(self.usage().keys as u64)
    }

    fn sweep(&self, position: u64, bytes: usize, visit: &mut dyn FnMut(&[u8])) -> Option<u64> {
        let mut spot = Spot::at(position);
        let mut left = bytes.max(1);
        while left > 0
            && let Some(here) = spot
        {
            let mut locked_keys = LOCKED_KEYS;
            let look = |entry: &[u8]| {
                visit(entry);
                left = left.saturating_sub(entry.len());
                locked_keys = locked_keys.saturating_sub(1);
                if left > 0 && locked_keys > 0 {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            };
            let next = self.shards[here.shard].lock().walk(here.position, look);
            spot = here.then(next);
        }
        spot.map(Spot::cursor)
    }

    fn prints(&self, epoch: u64, visit: &mut dyn FnMut(usize, Option<u64>)) {
        let mut slot = 0;
        for shard in &self.shards {
            let prints = shard.lock().prints_as_of(epoch);
            for print in prints {
                visit(slot, print);
                slot += 1;
            }
        }
    }

    fn list_slots(&self, slots: Range<usize>, visit: &mut dyn FnMut(KeyHash, &[u8])) {
        let shards = slots.start / SLOTS_OF_SHARD..slots.end.div_ceil(SLOTS_OF_SHARD);
        for shard in &self.shards[shards] {
            for entry in shard.lock().iter() {
                let key = KeyHash::of(layout::key_of(entry));
                if slots.contains(&key.slot()) {
                    visit(key, entry);
                }
            }
        }
    }
}
