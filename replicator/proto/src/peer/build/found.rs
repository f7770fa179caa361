//! The present state of keys that a sweep or a repair found, with whatever must travel with it.
//!
//! Most keys are small and go with no others: their state is added as it is found. The rest wait, and are looked up again
//! as a record's keys are ([`super::export`]). What is too large for company travels alone here, too.
//!
//! Where keys were found, and what their arrival means, is not known here.

use std::collections::VecDeque;

use super::{
    Built,
    export::{Exporter, Outcome},
    seen::{KeySet, Seen},
};
use crate::{
    entry::layout,
    hlc::Stamp,
    log::Units,
    store::Store,
    wire::batch::{self, ITEM_OVERHEAD_BYTES, ITEMS_BYTES_MAX},
};

/// Memory for keys that went with others before their turn. Beyond it they are forgotten, and go once more.
const AHEAD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Takes entries.
type Visit<'a> = &'a mut dyn FnMut(&[u8]);

/// Later than every unit.
const ALL: Stamp = Stamp(u64::MAX);

/// Keys that were found, and have not been sent.
#[derive(Debug)]
pub(in super::super) struct Found {
    /// The largest items of one batch.
    bytes_max: usize,
    /// Keys that are large, or go with others.
    waiting: VecDeque<Box<[u8]>>,
    /// Keys that went with others: they need not go once more when they are found.
    ahead: KeySet,
    /// Units up to here are followed as those are that were sent: none at first, and all once there was too much of what
    /// belongs together. A counter would otherwise take the same keys with it again and again.
    sent: Stamp,
}

impl Default for Found {
    fn default() -> Self {
        Self::within(ITEMS_BYTES_MAX)
    }
}

impl Found {
    /// One that sends no batch with larger items, unless a single entry is.
    pub(super) fn within(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            waiting: VecDeque::new(),
            ahead: KeySet::default(),
            sent: Stamp::ZERO,
        }
    }

    /// Whether keys wait to be sent.
    pub(in super::super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What was sent may have been lost, or is no longer new enough: every key goes when it is found again.
    pub(in super::super) fn start_over(&mut self) {
        self.waiting.clear();
        self.renew();
    }

    /// What went ahead is no longer new enough.
    pub(in super::super) fn renew(&mut self) {
        self.ahead.clear();
    }

    /// Adds about `limit_bytes` to a batch: of what waits, and then of what `find` finds. That is asked for so many bytes
    /// more until it returns false, and hands over entries while it holds their keys' locks.
    pub(in super::super) fn collect<S: Store>(
        &mut self,
        (units, store): (&Units, &S),
        limit_bytes: usize,
        built: &mut Built,
        find: &mut dyn FnMut(usize, Visit<'_>) -> bool,
    ) {
        loop {
            let has_room = self.send_waiting((units, store), limit_bytes, built);
            let room_bytes = limit_bytes.saturating_sub(built.items.len());
            if !has_room || room_bytes == 0 {
                break;
            }
            let mut take = |entry: &[u8]| self.take(entry, units, limit_bytes, built);
            if !find(room_bytes, &mut take) {
                break;
            }
        }
        built.forgotten = store.settled();
    }

    /// Adds an entry that was found, or has it wait.
    fn take(&mut self, entry: &[u8], units: &Units, limit_bytes: usize, built: &mut Built) {
        let is_large = built.items.len() + ITEM_OVERHEAD_BYTES + entry.len() > limit_bytes;
        let mut has_company = false;
        let held = layout::view(entry);
        units.of(&held, ALL, &mut |_, _| has_company = true);
        if is_large || has_company {
            self.waiting.push_back(held.key.into());
        } else {
            batch::put_entry(entry, &mut built.items);
            built.updates += 1;
        }
    }

    /// Adds what waits. Returns false when not all of it has room.
    fn send_waiting<S: Store>(
        &mut self,
        (units, store): (&Units, &S),
        limit_bytes: usize,
        built: &mut Built,
    ) -> bool {
        let mut seen = Seen::default();
        while let Some(key) = self.waiting.front() {
            let is_ahead = self.ahead.find(key).is_some() || seen.is_exported(key);
            if !is_ahead {
                let is_first = built.items.is_empty();
                if built.items.len() >= limit_bytes {
                    break;
                }
                let split = built.split;
                let mut exporter = Exporter {
                    store,
                    units,
                    sent: self.sent,
                    limit_bytes: if is_first { usize::MAX } else { limit_bytes },
                    bytes_max: self.bytes_max,
                    seen: &mut seen,
                    built,
                };
                if exporter.one(key) != Outcome::Added {
                    break;
                }
                if built.split > split {
                    self.sent = ALL;
                }
            }
            self.waiting.pop_front();
        }
        self.note_ahead(&seen);
        self.waiting.is_empty()
    }

    fn note_ahead(&mut self, seen: &Seen) {
        seen.keys().for_each(|key| {
            self.ahead.insert(key);
        });
        if self.ahead.bytes() > AHEAD_BYTES_MAX {
            self.renew();
        }
    }
}
