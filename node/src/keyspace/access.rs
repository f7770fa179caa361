//! The way in: closures under the locks of one key or of several.

use greenwich_proto::{
    entry::layout,
    hlc::Version,
    log::{Marks, Position},
    time::Wall,
};
use parking_lot::MutexGuard;

use super::{
    Keyspace, Lookups, SHARDS, Slot, View,
    shard::{Remains, Shard},
    slot::Record,
};

/// Access to the keyspace for one command, or for the commands of one transaction.
pub struct Access<'a> {
    space: &'a Keyspace,
    now: Wall,
    marks: &'a mut Marks,
    lookups: Lookups,
    held: Option<Held<'a>>,
}

impl std::fmt::Debug for Access<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// Locked shards in their order, and the unit that is written under them.
struct Held<'a> {
    shards: Vec<(usize, MutexGuard<'a, Shard>)>,
    keys: &'a [&'a [u8]],
    position: Option<Position>,
    /// What was flushed, to be freed when nothing is locked any more.
    taken: Vec<Remains>,
}

impl Held<'_> {
    fn shard(&mut self, shard: usize) -> &mut Shard {
        let at = self.shards.binary_search_by_key(&shard, |(held, _)| *held);
        let at = at.expect("a transaction locks the shard of every key that its commands name");
        &mut self.shards[at].1
    }
}

impl<'a> Access<'a> {
    /// Access at the time `now`. `marks` collects where the writes stand in the log.
    pub fn new(space: &'a Keyspace, now: Wall, marks: &'a mut Marks) -> Self {
        Self {
            space,
            now,
            marks,
            lookups: Lookups::default(),
            held: None,
        }
    }

    /// The time at which the command runs.
    #[must_use]
    pub fn now(&self) -> Wall {
        self.now
    }

    /// The keyspace, for what needs no lock of the caller's. Must not be used to lock keys inside [`Self::together`].
    #[must_use]
    pub fn space(&self) -> &'a Keyspace {
        self.space
    }

    /// What [`Self::read`] and [`Slot::read`] found so far.
    #[must_use]
    pub fn lookups(&self) -> Lookups {
        self.lookups
    }

    /// Runs `look` on the live value of a key, under its lock, and counts the lookup.
    #[inline]
    pub fn read<R>(&mut self, key: &[u8], look: impl FnOnce(Option<View<'_>>) -> R) -> R {
        let mut is_hit = false;
        let result = self.peek(key, |view| {
            is_hit = view.is_some();
            look(view)
        });
        self.lookups.count(is_hit);
        result
    }

    /// As [`Self::read`], for what is no lookup of a client: nothing is counted.
    #[inline]
    pub fn peek<R>(&mut self, key: &[u8], look: impl FnOnce(Option<View<'_>>) -> R) -> R {
        let place = self.space.place(key);
        let now = self.now;
        let see = |shard: &Shard| {
            look(
                shard
                    .find(place, key)
                    .map(layout::view)
                    .and_then(|entry| View::of(entry, now)),
            )
        };
        match &mut self.held {
            Some(held) => see(held.shard(place.shard())),
            None => see(&self.space.shards[place.shard()].lock()),
        }
    }

    /// Runs `change` on a key, under its lock.
    pub fn update<R>(&mut self, key: &[u8], change: impl FnOnce(&mut Slot<'_>) -> R) -> R {
        let (space, now) = (self.space, self.now);
        let place = space.place(key);
        match &mut self.held {
            Some(held) => {
                let keys = held.keys;
                let mut position = held.position;
                let record = Record::Unit {
                    keys,
                    position: &mut position,
                };
                let shard = held.shard(place.shard());
                let result = change(&mut Slot {
                    space,
                    shard,
                    place,
                    key,
                    now,
                    marks: self.marks,
                    lookups: &mut self.lookups,
                    record,
                });
                held.position = position;
                result
            }
            None => {
                let shard = &mut *space.shards[place.shard()].lock();
                change(&mut Slot {
                    space,
                    shard,
                    place,
                    key,
                    now,
                    marks: self.marks,
                    lookups: &mut self.lookups,
                    record: Record::Alone,
                })
            }
        }
    }

    /// Runs `act` with `keys` locked together. What it writes gets one stamp and travels as one unit of the keys in
    /// `written`, which must be among `keys`. Inside another call, the locks are the outer one's.
    pub fn together<R>(
        &mut self,
        keys: &[&[u8]],
        written: &[&[u8]],
        act: impl FnOnce(&mut Access<'_>) -> R,
    ) -> R {
        if self.held.is_some() {
            return act(self);
        }
        let mut shards: Vec<usize> = keys
            .iter()
            .map(|key| self.space.place(key).shard())
            .collect();
        shards.sort_unstable();
        shards.dedup();
        self.hold(&shards, written, act)
    }

    /// As [`Self::together`], with every key locked.
    pub fn with_all<R>(&mut self, written: &[&[u8]], act: impl FnOnce(&mut Access<'_>) -> R) -> R {
        if self.held.is_some() {
            return act(self);
        }
        self.hold(&(0..SHARDS).collect::<Vec<_>>(), written, act)
    }

    fn hold<R>(
        &mut self,
        shards: &[usize],
        written: &[&[u8]],
        act: impl FnOnce(&mut Access<'_>) -> R,
    ) -> R {
        let mut keys = written.to_vec();
        keys.sort_unstable();
        keys.dedup();
        let space = self.space;
        let shards = shards
            .iter()
            .map(|&shard| (shard, space.shards[shard].lock()))
            .collect();
        let held = Held {
            shards,
            keys: &keys,
            position: None,
            taken: Vec::new(),
        };
        let mut inner = Access {
            space,
            now: self.now,
            marks: self.marks,
            lookups: Lookups::default(),
            held: Some(held),
        };
        let result = act(&mut inner);
        self.lookups += inner.lookups;
        let taken = inner.held.take().map(|held| held.taken);
        space.free_later(taken.unwrap_or_default());
        result
    }

    /// Deletes everything, here and in every other region.
    pub fn flush(&mut self) {
        self.with_all(&[], |all| {
            let held = all.held.as_mut().expect("all keys are locked");
            // Held across the append: whoever reads the record must find its flush here.
            let mut flushed = all.space.flushed.lock();
            let position = all.space.log.append(0, all.now, std::iter::empty());
            all.marks.note(position);
            // What a transaction writes after this is a later unit.
            held.position = None;
            let version = Version {
                stamp: position.stamp,
                origin: all.space.actor.origin,
            };
            *flushed = version;
            for (_, shard) in &mut held.shards {
                held.taken.push(shard.clear(version));
            }
        });
    }

    /// The number of keys, those that expired a moment ago included.
    pub fn key_count(&mut self) -> usize {
        match &self.held {
            Some(held) => held.shards.iter().map(|(_, shard)| shard.tally.keys).sum(),
            None => self.space.usage().keys,
        }
    }

    /// Calls `visit` with one shard, which is locked meanwhile.
    pub(super) fn with_shard<R>(&mut self, shard: usize, visit: impl FnOnce(&Shard) -> R) -> R {
        match &mut self.held {
            Some(held) => visit(held.shard(shard)),
            None => visit(&self.space.shards[shard].lock()),
        }
    }
}
