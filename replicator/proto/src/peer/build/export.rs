//! What one record adds to a batch: the present state of its keys, with whatever must travel with it.
//!
//! A batch never becomes larger than a link takes: what finds no room begins the next one. A record whose keys fit into
//! none together (they grew since they were written) is sent key by key, each under its own number, so that every batch
//! covers what it brings. That unit is then seen in part on the way, and counted.

use super::{
    Built,
    closure::{Closure, Extent},
    seen::{Item, Seen},
};
use crate::{
    entry::layout,
    hlc::Stamp,
    log::Units,
    store::Store,
    wire::batch::{self, ITEM_OVERHEAD_BYTES},
};

/// The batch has no room for the record from this number on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full(pub(super) u64);

/// Adds records to a batch.
pub(super) struct Exporter<'a, S> {
    pub(super) store: &'a S,
    pub(super) units: &'a Units,
    /// Everything up to here was sent in earlier batches.
    pub(super) sent: Stamp,
    /// The largest items of one batch.
    pub(super) bytes_max: usize,
    pub(super) seen: &'a mut Seen,
    pub(super) built: &'a mut Built,
}

impl<S: Store> Exporter<'_, S> {
    /// Adds the keys of a record that have numbers from `next` on; the first one has `first`.
    pub(super) fn record(&mut self, first: u64, next: u64, keys: &[&[u8]]) -> Result<(), Full> {
        let has_room = match keys {
            [] => {
                batch::put_flush(self.store.flushed(), &mut self.built.items);
                true
            }
            // It did not fit when it was begun.
            keys if next > first => return self.parts(first, next, keys),
            keys if keys.iter().all(|key| self.seen.is_exported(key)) => {
                self.built.coalesced += 1;
                true
            }
            [key] => self.one(key),
            keys => match self.together(keys) {
                Some(has_room) => has_room,
                None => return self.parts(first, next, keys),
            },
        };
        if has_room { Ok(()) } else { Err(Full(first)) }
    }

    /// Adds a key, with those that go with it. Returns whether there was room.
    fn one(&mut self, key: &[u8]) -> bool {
        let mut has_company = false;
        let has_room = self.look_up(key, |units, sent, entry| {
            units.of(&layout::view(entry), sent, &mut |_, _| has_company = true);
            !has_company
        });
        if !has_company {
            return has_room;
        }
        self.together(&[key]).unwrap_or_else(|| self.alone(key))
    }

    /// Adds a key by itself. Returns whether there was room.
    fn alone(&mut self, key: &[u8]) -> bool {
        self.look_up(key, |_, _, _| true)
    }

    /// Adds the keys of a record one by one.
    fn parts(&mut self, first: u64, next: u64, keys: &[&[u8]]) -> Result<(), Full> {
        for (number, key) in (first..).zip(keys) {
            if number >= next && !self.alone(key) {
                return Err(Full(number));
            }
        }
        Ok(())
    }

    /// Adds a key's present state, if `is_wanted` says so of it. Returns whether there was room.
    fn look_up(
        &mut self,
        key: &[u8],
        mut is_wanted: impl FnMut(&Units, Stamp, &[u8]) -> bool,
    ) -> bool {
        let Self {
            store,
            units,
            sent,
            bytes_max,
            seen,
            built,
        } = self;
        let earlier = seen.item(key);
        let (mut item, mut has_room) = (None, true);
        store.export(&[key], &mut |entry| {
            if is_wanted(units, *sent, entry) {
                has_room = built.has_room(entry.len() + ITEM_OVERHEAD_BYTES, *bytes_max);
                item = has_room.then(|| built.put(entry, earlier));
            }
        });
        if has_room {
            seen.export(key, item);
        }
        has_room
    }

    /// Adds keys that go together. Returns whether there was room; `None` when no batch has.
    fn together(&mut self, own: &[&[u8]]) -> Option<bool> {
        let units = (self.units, self.sent);
        let (gathered, extent) = Closure::gather(self.store, own, units, self.bytes_max);
        let closure = match extent {
            Extent::Whole | Extent::Cut => Some(gathered),
            Extent::TooLarge if own.len() == 1 => None,
            Extent::TooLarge => Closure::gather_alone(self.store, own, self.bytes_max),
        };
        let has_room = closure
            .as_ref()
            .is_none_or(|closure| self.built.has_room(closure.bytes_max(), self.bytes_max));
        if has_room && extent != Extent::Whole {
            self.built.split += 1;
        }
        let closure = closure?;
        if has_room {
            closure.put(&mut self.built.items);
            self.built.updates += closure.count();
            closure.keys().for_each(|key| self.seen.export(key, None));
        }
        Some(has_room)
    }
}

impl Built {
    /// Whether so many bytes more are not too many. One thing alone always finds room.
    fn has_room(&self, bytes: usize, bytes_max: usize) -> bool {
        self.items.is_empty() || self.items.len() + bytes <= bytes_max
    }

    /// Adds an entry, over an earlier one of its key where that has the same size, and tells where it is. An earlier one
    /// of another size stays: the later one wins when both are applied.
    pub(super) fn put(&mut self, entry: &[u8], earlier: Option<Item>) -> Item {
        if let Some((item, len)) = earlier.filter(|&(_, len)| len == entry.len()) {
            batch::replace_entry(entry, item, &mut self.items);
            self.coalesced += 1;
            return (item, len);
        }
        let item = (self.items.len(), entry.len());
        batch::put_entry(entry, &mut self.items);
        self.updates += 1;
        item
    }
}
