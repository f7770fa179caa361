//! Keys that must travel together, in the state that they have at one moment.
//!
//! A key's state is the work of units ([`Units`]). A set of keys is *closed* when it has every key of every unit that the
//! state of one of its keys is the work of. What travels is closed, looked up under the locks of all its keys, and joined
//! under the locks of all its keys. Therefore a region never shows a unit in part, in whatever order batches arrive:
//!
//! Say that a region shows what unit U wrote to `k`, and it came there with the closed set C. At the moment when C was
//! looked up, the state of `k` was the work of U, so every key of U was in C, in the state that U wrote or in one that had
//! replaced it. They were joined at once, and joins only replace states by newer ones. So every key of U is shown as U
//! wrote it, or overwritten.
//!
//! It does not matter where U is logged, whether a later unit or plain write has overwritten some of its keys, or lies
//! beyond the end of the batch: which units a state is the work of is asked of the state that is sent, under its lock.
//! And U needs no company once every region holds it: those keys are there already.
//!
//! Two bounds keep this finite. A set has so many keys beside those of its own record ([`COMPANIONS_MAX`]), and must fit
//! into one batch. Where it would have more, it travels as far as it goes, and is counted as split. And of units that
//! were sent before, a counter is followed by a few only ([`Units::of`]).

use hashbrown::HashTable;

use super::seen::KeySet;
use crate::{
    entry::layout,
    hlc::Stamp,
    log::Units,
    store::Store,
    wire::batch::{self, ITEM_OVERHEAD_BYTES},
};

/// Keys that a record's own take with them. Units that overlap so far are one heap of changes rather than units; and all
/// of them are locked together, here and where they arrive.
const COMPANIONS_MAX: usize = 1024;

/// States beyond this are measured before they are copied: the keys are locked meanwhile, and all might be too large.
const AT_FIRST_BYTES: usize = 1024 * 1024;

/// How much of what belongs together was gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it.
    Whole,
    /// There is too much of it.
    Cut,
    /// It does not fit.
    TooLarge,
}

/// Keys and their states.
#[derive(Debug, Default)]
pub(super) struct Closure {
    keys: KeySet,
    /// Units whose keys are among them.
    units: HashTable<u64>,
    entries: Vec<u8>,
    count: u64,
}

impl Closure {
    /// Gathers keys, those that go with them, and the states of all. What was sent before is up to `sent`.
    pub(super) fn gather<S: Store>(
        store: &S,
        own: &[&[u8]],
        (units, sent): (&Units, Stamp),
        bytes_max: usize,
    ) -> (Self, Extent) {
        let mut closure = Self::of(own);
        let mut copied_max = AT_FIRST_BYTES.min(bytes_max);
        loop {
            let mut companions = KeySet::default();
            let bytes = closure.look_up(store, Some((units, sent)), copied_max, &mut companions);
            let is_whole = companions.len() == 0;
            if bytes > bytes_max {
                return (closure, Extent::TooLarge);
            }
            if is_whole && bytes <= copied_max {
                return (closure, Extent::Whole);
            }
            if closure.keys.len() + companions.len() > own.len() + COMPANIONS_MAX {
                let fits = closure.copy(store, bytes_max);
                let extent = if fits { Extent::Cut } else { Extent::TooLarge };
                return (closure, extent);
            }
            if is_whole {
                copied_max = bytes_max;
            }
            for key in companions.iter() {
                closure.keys.insert(key);
            }
        }
    }

    /// Gathers keys without those that go with them, if they fit.
    pub(super) fn gather_alone<S: Store>(
        store: &S,
        own: &[&[u8]],
        bytes_max: usize,
    ) -> Option<Self> {
        let mut closure = Self::of(own);
        closure.copy(store, bytes_max).then_some(closure)
    }

    /// Takes the present state of the keys, if that fits.
    fn copy<S: Store>(&mut self, store: &S, bytes_max: usize) -> bool {
        let mut copy = |copied_max| self.look_up(store, None, copied_max, &mut KeySet::default());
        let at_first = AT_FIRST_BYTES.min(bytes_max);
        let bytes = copy(at_first);
        bytes <= at_first || (bytes <= bytes_max && copy(bytes_max) <= bytes_max)
    }

    fn of(own: &[&[u8]]) -> Self {
        let mut closure = Self::default();
        for key in own {
            closure.keys.insert(key);
        }
        closure
    }

    /// Takes the present state of the keys, and says which others go with it. Returns how many bytes that is; of more
    /// than `copied_max`, not all are taken.
    fn look_up<S: Store>(
        &mut self,
        store: &S,
        units: Option<(&Units, Stamp)>,
        copied_max: usize,
        companions: &mut KeySet,
    ) -> usize {
        let Self {
            keys,
            units: known,
            entries,
            count,
        } = self;
        entries.clear();
        *count = 0;
        let mut bytes = ITEM_OVERHEAD_BYTES;
        let all: Vec<&[u8]> = keys.iter().collect();
        store.export(&all, &mut |entry| {
            bytes += ITEM_OVERHEAD_BYTES + entry.len();
            if bytes <= copied_max {
                batch::put_unit_entry(entry, entries);
                *count += 1;
            }
            let Some((units, sent)) = units else {
                return;
            };
            units.of(&layout::view(entry), sent, &mut |unit, list| {
                if known.find(unit, |&held| held == unit).is_some() {
                    return;
                }
                known.insert_unique(unit, unit, |&held| held);
                for key in list.iter().filter(|key| keys.find(key).is_none()) {
                    companions.insert(key);
                }
            });
        });
        bytes
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter()
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// What [`Self::put`] adds, at most.
    pub(super) fn bytes_max(&self) -> usize {
        self.entries.len() + ITEM_OVERHEAD_BYTES
    }

    /// Adds the item.
    pub(super) fn put(&self, items: &mut Vec<u8>) {
        if self.count > 0 {
            batch::put_unit(self.count, items);
            items.extend_from_slice(&self.entries);
        }
    }
}
