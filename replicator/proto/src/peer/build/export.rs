//! What one record adds to a batch: the present state of its keys, with whatever must travel with it.
//!
//! What is too large for company is left out: it waits apart ([`super::super::apart`]) and travels alone. A batch never
//! becomes larger than a link takes, either: what finds no room begins the next one. A record whose keys fit into none
//! together (they grew since they were written) waits apart, too, and is sent key by key, each under its own number, so
//! that every batch covers what it brings. That unit is then seen in part on the way, and counted.

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
    /// What is larger by itself is left out.
    pub(super) limit_bytes: usize,
    /// The largest items of one batch.
    pub(super) bytes_max: usize,
    pub(super) seen: &'a mut Seen,
    pub(super) built: &'a mut Built,
}

/// What became of keys that were to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Added,
    /// The batch has no room for them beside what is in it.
    NoRoom,
    /// They are too large for company.
    Large,
}

impl<S: Store> Exporter<'_, S> {
    /// Adds the keys of a record that have numbers from `next` on. Returns false when they are left out.
    pub(super) fn record(&mut self, next: u64, keys: &[&[u8]]) -> Result<bool, Full> {
        let outcome = match keys {
            [] => {
                batch::put_flush(self.store.flushed(), &mut self.built.items);
                Outcome::Added
            }
            keys if keys.iter().all(|key| self.seen.is_exported(key)) => {
                self.built.coalesced += 1;
                Outcome::Added
            }
            [key] => self.one(key),
            keys => self.together(keys).unwrap_or(Outcome::Large),
        };
        match outcome {
            Outcome::Added => Ok(true),
            Outcome::NoRoom => Err(Full(next)),
            Outcome::Large => Ok(false),
        }
    }

    /// Adds keys to a batch of their own. Returns false when they fit into none.
    pub(super) fn by_itself(&mut self, keys: &[&[u8]]) -> bool {
        match keys {
            [key] => self.one(key) == Outcome::Added,
            keys => self.together(keys) == Some(Outcome::Added),
        }
    }

    /// Adds a key to a batch of its own, without those that go with it.
    pub(super) fn part(&mut self, key: &[u8]) -> bool {
        self.look_up(key, false) == Some(Outcome::Added)
    }

    /// Adds a key, with those that go with it.
    pub(super) fn one(&mut self, key: &[u8]) -> Outcome {
        if let Some(outcome) = self.look_up(key, true) {
            return outcome;
        }
        if let Some(together) = self.together(&[key]) {
            return together;
        }
        let outcome = self.look_up(key, false);
        self.built.split += u64::from(outcome == Some(Outcome::Added));
        outcome.unwrap_or(Outcome::NoRoom)
    }

    /// Adds a key's present state; `None` when it `must_be_alone` and others go with it.
    fn look_up(&mut self, key: &[u8], must_be_alone: bool) -> Option<Outcome> {
        let Self {
            store,
            units,
            sent,
            limit_bytes,
            bytes_max,
            seen,
            built,
        } = self;
        let earlier = seen.item(key);
        let (mut item, mut outcome) = (None, Some(Outcome::Added));
        store.export(&[key], &mut |entry| {
            let mut has_company = false;
            if must_be_alone {
                units.of(&layout::view(entry), *sent, &mut |_, _| has_company = true);
            }
            outcome = if has_company {
                None
            } else if entry.len() > *limit_bytes {
                Some(Outcome::Large)
            } else if built.has_room(entry.len() + ITEM_OVERHEAD_BYTES, *bytes_max) {
                item = Some(built.put(entry, earlier));
                Some(Outcome::Added)
            } else {
                Some(Outcome::NoRoom)
            };
        });
        if outcome == Some(Outcome::Added) {
            seen.export(key, item);
        }
        outcome
    }

    /// Adds keys that go together; `None` when no batch has room for them.
    fn together(&mut self, own: &[&[u8]]) -> Option<Outcome> {
        let units = (self.units, self.sent);
        let bytes_max = self.bytes_max.min(self.limit_bytes);
        let (gathered, extent) = Closure::gather(self.store, own, units, bytes_max);
        let closure = match extent {
            Extent::Whole | Extent::Cut => Some(gathered),
            Extent::TooLarge if self.limit_bytes < self.bytes_max => return Some(Outcome::Large),
            Extent::TooLarge if own.len() == 1 => None,
            Extent::TooLarge => Closure::gather_alone(self.store, own, self.bytes_max),
        };
        let closure = closure?;
        if !self.built.has_room(closure.bytes_max(), self.bytes_max) {
            return Some(Outcome::NoRoom);
        }
        self.built.split += u64::from(extent != Extent::Whole);
        closure.put(&mut self.built.items);
        self.built.updates += closure.count();
        closure.keys().for_each(|key| self.seen.export(key, None));
        Some(Outcome::Added)
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
