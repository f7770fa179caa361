//! Which keys were lately changed together, so that no region shows a part of that.
//!
//! What is sent is a key's present state, and that may be the work of several units: the one that wrote its base, those
//! that counted on it or moved its deadline since. Whoever sends it sends the other keys of these units with it. A unit
//! is of no more importance for a key whose base is newer; and of none at all once every region has heard of it.
//!
//! Units of other regions are noted too, as they arrive: what they wrote here may be passed on with a key of ours.
//!
//! Bounded in bytes: the oldest are forgotten first, and may then be seen in part by a region that has not heard of them.
//! Two keys of one hash share their units, which sends more than is needed and never less.

use std::{
    collections::VecDeque,
    hash::BuildHasher,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use parking_lot::Mutex;

use super::record::KeyList;
use crate::{entry::EntryRef, hlc::Stamp};

/// Of the units that a key's state is the work of and that were all sent before, as many of the newest are sent again
/// with it, lest a batch that overtakes theirs shows a part. Only counters, and deadlines, are the work of many; one that
/// is counted in unit after unit would otherwise be followed by all that is under way.
const SENT_AGAIN_MAX: usize = 8;

/// The units that are remembered.
#[derive(Debug)]
pub struct Units {
    limit_bytes: AtomicUsize,
    /// For a look without the lock.
    is_empty: AtomicBool,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    hasher: FixedState,
    units: Numbered<Unit>,
    members: Numbered<Member>,
    /// The number of each key's newest member, by the hash of the key.
    newest: HashTable<u64>,
    bytes: usize,
    /// Units that were forgotten at the limit.
    dropped: u64,
}

#[derive(Debug)]
struct Unit {
    newest: Stamp,
    count: usize,
    keys: Box<[u8]>,
}

/// A key of a unit.
#[derive(Debug)]
struct Member {
    hash: u64,
    unit: u64,
    /// When the unit changed the key. Never older than in an earlier unit, so that a walk back may end early.
    stamp: Stamp,
    /// The same key in an earlier unit.
    earlier: Option<u64>,
}

impl Units {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes: AtomicUsize::new(limit_bytes),
            is_empty: AtomicBool::new(true),
            held: Mutex::default(),
        }
    }

    pub(super) fn set_limit(&self, limit_bytes: usize) {
        self.limit_bytes.store(limit_bytes, Ordering::Relaxed);
    }

    /// Keys were changed together, each at its stamp. Their locks are held by the caller.
    pub fn note<'a>(&self, keys: impl Iterator<Item = (&'a [u8], Stamp)> + Clone) {
        let limit_bytes = self.limit_bytes.load(Ordering::Relaxed);
        if limit_bytes == 0 {
            return;
        }
        let mut held = self.held.lock();
        held.push(keys);
        while held.bytes > limit_bytes {
            held.drop_oldest();
            held.dropped += 1;
        }
        self.is_empty
            .store(held.units.is_empty(), Ordering::Release);
    }

    /// Every region holds what was written up to here.
    pub fn forget(&self, up_to: Stamp) {
        if self.is_empty.load(Ordering::Acquire) {
            return;
        }
        let mut held = self.held.lock();
        while held.units.front().is_some_and(|unit| unit.newest <= up_to) {
            held.drop_oldest();
        }
        self.is_empty
            .store(held.units.is_empty(), Ordering::Release);
    }

    /// Calls `visit` with the number and the keys of every unit that the state of a key is the work of, newest first.
    /// Those after `sent` have not all been sent before. The key's lock is held by the caller.
    pub(crate) fn of(
        &self,
        entry: &EntryRef<'_>,
        sent: Stamp,
        visit: &mut dyn FnMut(u64, KeyList<'_>),
    ) {
        if self.is_empty.load(Ordering::Acquire) {
            return;
        }
        let held = self.held.lock();
        let mut next = held.newest_of(held.hasher.hash_one(entry.key));
        let mut sent_again = 0;
        while let Some(member) = next.and_then(|number| held.members.get(number)) {
            sent_again += usize::from(member.stamp <= sent);
            if member.stamp < entry.version.stamp || sent_again > SENT_AGAIN_MAX {
                return;
            }
            let unit = held.units.get(member.unit);
            let unit = unit.expect("a unit is held as long as its members");
            visit(member.unit, KeyList::new(unit.count, &unit.keys));
            next = member.earlier;
        }
    }

    /// Memory of what is remembered.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.held.lock().bytes
    }

    /// How many were forgotten before every region had heard of them, because there was no room for them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.held.lock().dropped
    }
}

impl Held {
    fn newest_of(&self, hash: u64) -> Option<u64> {
        let Self {
            newest, members, ..
        } = self;
        let is_of_key = |&number: &u64| members.get(number).is_some_and(|held| held.hash == hash);
        newest.find(hash, is_of_key).copied()
    }

    fn push<'a>(&mut self, keys: impl Iterator<Item = (&'a [u8], Stamp)> + Clone) {
        let unit = self.units.next();
        let bytes = keys.clone().map(|(key, _)| 2 + key.len()).sum();
        let mut encoded = Vec::with_capacity(bytes);
        let (mut newest, mut count) = (Stamp::ZERO, 0);
        for (key, stamp) in keys {
            KeyList::put_key(key, &mut encoded);
            newest = newest.max(stamp);
            count += 1;
            self.push_member(unit, self.hasher.hash_one(key), stamp);
        }
        let keys = encoded.into_boxed_slice();
        self.bytes += unit_bytes(&keys, count);
        self.units.push(Unit {
            newest,
            count,
            keys,
        });
    }

    fn push_member(&mut self, unit: u64, hash: u64, stamp: Stamp) {
        let earlier = self.newest_of(hash);
        let least = earlier.and_then(|number| self.members.get(number));
        let stamp = stamp.max(least.map_or(Stamp::ZERO, |earlier| earlier.stamp));
        let number = self.members.push(Member {
            hash,
            unit,
            stamp,
            earlier,
        });
        let Self {
            newest, members, ..
        } = self;
        match earlier.and_then(|earlier| newest.find_mut(hash, |&held| held == earlier)) {
            Some(held) => *held = number,
            None => {
                let hash_of = |&number: &u64| members.get(number).map_or(0, |held| held.hash);
                newest.insert_unique(hash, number, hash_of);
            }
        }
    }

    fn drop_oldest(&mut self) {
        let Some(unit) = self.units.pop() else {
            return;
        };
        self.bytes -= unit_bytes(&unit.keys, unit.count);
        for _ in 0..unit.count {
            let number = self.members.first;
            let member = self.members.pop().expect("a unit has its members");
            if let Ok(held) = self
                .newest
                .find_entry(member.hash, |&newest| newest == number)
            {
                held.remove();
            }
        }
    }
}

fn unit_bytes(keys: &[u8], count: usize) -> usize {
    // Of each key also its place in the table, which is at most half empty.
    size_of::<Unit>() + keys.len() + count * (size_of::<Member>() + 2 * size_of::<u64>())
}

/// A queue whose items keep their numbers.
#[derive(Debug)]
struct Numbered<T> {
    first: u64,
    items: VecDeque<T>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self {
            first: 0,
            items: VecDeque::new(),
        }
    }
}

impl<T> Numbered<T> {
    fn next(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    fn push(&mut self, item: T) -> u64 {
        let number = self.next();
        self.items.push_back(item);
        number
    }

    fn pop(&mut self) -> Option<T> {
        let item = self.items.pop_front()?;
        self.first += 1;
        Some(item)
    }

    fn front(&self) -> Option<&T> {
        self.items.front()
    }

    fn get(&self, number: u64) -> Option<&T> {
        let at = number.checked_sub(self.first)?;
        self.items.get(usize::try_from(at).ok()?)
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hlc::{Origin, Version};

    const ROOMY_BYTES: usize = 1 << 20;

    fn note(units: &Units, stamp: u64, keys: &[&'static str]) {
        units.note(keys.iter().map(|key| (key.as_bytes(), Stamp(stamp))));
    }

    /// The keys that go with a key whose base is of `base`.
    fn partners(units: &Units, key: &str, base: u64, sent: u64) -> Vec<String> {
        let version = Version {
            stamp: Stamp(base),
            origin: Origin(1),
        };
        let mut found = Vec::new();
        let entry = EntryRef::absent(key.as_bytes(), version);
        units.of(&entry, Stamp(sent), &mut |_, keys| {
            found.extend(
                keys.iter()
                    .map(|key| String::from_utf8_lossy(key).into_owned()),
            );
        });
        found
    }

    #[test]
    fn a_state_is_the_work_of_every_unit_since_its_base() {
        let units = Units::new(ROOMY_BYTES);
        note(&units, 5, &["x", "y"]);
        note(&units, 7, &["y", "z"]);
        assert_eq!(partners(&units, "x", 5, 0), ["x", "y"]);
        assert_eq!(partners(&units, "y", 7, 0), ["y", "z"], "it is overwritten");
        assert_eq!(partners(&units, "y", 5, 0), ["y", "z", "x", "y"]);
        assert_eq!(partners(&units, "y", 8, 0), [""; 0], "by a plain write");
        assert_eq!(partners(&units, "w", 0, 0), [""; 0]);
    }

    #[test]
    fn an_older_unit_that_arrives_later_hides_none() {
        let units = Units::new(ROOMY_BYTES);
        note(&units, 7, &["y", "z"]);
        note(&units, 5, &["x", "y"]);
        assert_eq!(partners(&units, "y", 7, 0), ["x", "y", "y", "z"]);
    }

    #[test]
    fn of_what_was_sent_a_few_are_sent_again_and_of_the_rest_all() {
        let units = Units::new(ROOMY_BYTES);
        for stamp in 1..=20 {
            note(&units, stamp, &["counter", "item"]);
        }
        assert_eq!(partners(&units, "counter", 0, 20).len(), 2 * SENT_AGAIN_MAX);
        assert_eq!(partners(&units, "counter", 0, 0).len(), 2 * 20);
        assert_eq!(
            partners(&units, "counter", 0, 15).len(),
            2 * (5 + SENT_AGAIN_MAX)
        );
    }

    #[test]
    fn what_every_region_has_heard_of_is_forgotten() {
        let units = Units::new(ROOMY_BYTES);
        note(&units, 5, &["x", "y"]);
        note(&units, 7, &["y", "z"]);
        units.forget(Stamp(6));
        assert_eq!(partners(&units, "y", 0, 0), ["y", "z"]);
        assert_eq!(partners(&units, "x", 0, 0), [""; 0]);
        units.forget(Stamp(7));
        assert_eq!(partners(&units, "y", 0, 0), [""; 0]);
        assert_eq!(units.bytes(), 0);
        note(&units, 9, &["y", "z"]);
        assert_eq!(partners(&units, "y", 0, 0), ["y", "z"]);
    }

    #[test]
    fn the_memory_of_units_is_bounded() {
        let units = Units::new(ROOMY_BYTES);
        for stamp in 0..100_000 {
            note(&units, stamp, &["counter", "item"]);
        }
        assert!((ROOMY_BYTES / 2..=ROOMY_BYTES).contains(&units.bytes()));
        assert!((90_000..100_000).contains(&units.dropped()));
        assert_eq!(partners(&units, "item", 99_999, 0), ["counter", "item"]);
    }
}
