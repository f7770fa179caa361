//! Entries that a comparison showed to be missing at the peer, on their way there.
//!
//! Only their names are kept; their state is looked up when there is room to send it. What was written together and is found
//! together travels together, so that it is seen whole.

use std::collections::VecDeque;

use super::{
    lists::{self, are_together},
    send::Part,
    sweep::Piece,
};
use crate::{hlc::Version, store::Store, wire::batch};

/// What is to be sent.
#[derive(Debug, Default)]
pub(super) struct Pushes {
    /// Slots, the names of their entries that the peer lacks, and of which epoch these names are.
    slots: VecDeque<(usize, Vec<u32>, u64)>,
    batches_in_flight: usize,
}

impl Pushes {
    /// The peer lacks these entries of a slot.
    pub(super) fn add(&mut self, slot: usize, names: Vec<u32>, epoch: u64) {
        if !names.is_empty() {
            self.slots.push_back((slot, names, epoch));
        }
    }

    /// Whether there is something to send.
    pub(super) fn is_due(&self) -> bool {
        !self.slots.is_empty()
    }

    /// Whether everything has arrived.
    pub(super) fn are_done(&self) -> bool {
        self.slots.is_empty() && self.batches_in_flight == 0
    }

    /// What comes next, about `limit_bytes` of it.
    pub(super) fn next<S: Store>(&mut self, store: &S, limit_bytes: usize) -> Option<Piece> {
        let mut found: Vec<(Version, Box<[u8]>)> = Vec::new();
        let mut bytes = 0;
        while bytes < limit_bytes
            && let Some((slots, names, epoch)) = self.next_slots()
        {
            lists::list(store, &slots, epoch, &mut |listed| {
                if names[listed.at].contains(&listed.name) {
                    bytes += listed.bytes.len();
                    found.push((listed.entry.version, listed.bytes.into()));
                }
            });
        }
        if found.is_empty() {
            return None;
        }
        found.sort_by_key(|(version, _)| *version);
        let mut items = Vec::with_capacity(bytes + 4 * found.len());
        for written_together in found.chunk_by(|(a, _), (b, _)| a == b) {
            put(written_together, &mut items);
        }
        self.batches_in_flight += 1;
        Some(Piece {
            part: Part::Push,
            items,
            ranges: Vec::new(),
            updates: found.len() as u64,
        })
    }

    /// The next slots that are walked over together, the names in each, and their epoch.
    fn next_slots(&mut self) -> Option<(Vec<usize>, Vec<Vec<u32>>, u64)> {
        let (slot, first, epoch) = self.slots.pop_front()?;
        let (mut slots, mut names) = (vec![slot], vec![first]);
        let is_next = |next: &mut (usize, Vec<u32>, u64), last: usize| {
            next.2 == epoch && next.0 > last && are_together(next.0, last)
        };
        while let Some((slot, more, _)) = self
            .slots
            .pop_front_if(|next| is_next(next, slots[slots.len() - 1]))
        {
            slots.push(slot);
            names.push(more);
        }
        Some((slots, names, epoch))
    }

    /// A batch has arrived.
    pub(super) fn acknowledge(&mut self) {
        self.batches_in_flight -= 1;
    }
}

fn put(written_together: &[(Version, Box<[u8]>)], items: &mut Vec<u8>) {
    if let [(_, entry)] = written_together {
        return batch::put_entry(entry, items);
    }
    batch::put_unit(written_together.len() as u64, items);
    for (_, entry) in written_together {
        batch::put_unit_entry(entry, items);
    }
}
