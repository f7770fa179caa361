//! Entries that a comparison showed to be missing at the peer, on their way there.
//!
//! Only their names are kept; their state is looked up when there is room to send it, and what goes with them goes along
//! ([`Found`]), so that the peer shows it whole.

use std::collections::VecDeque;

use super::{
    build::{Built, Found},
    lists::{self, are_together},
    send::Part,
    sweep::Piece,
};
use crate::{log::Units, store::Store};

/// What is to be sent.
#[derive(Debug, Default)]
pub(super) struct Pushes {
    slots: Slots,
    /// Of slots that were looked into, the keys that have not been sent.
    found: Found,
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
        !self.slots.is_empty() || self.found.is_waiting()
    }

    /// Whether everything has arrived.
    pub(super) fn are_done(&self) -> bool {
        !self.is_due() && self.batches_in_flight == 0
    }

    /// What comes next, about `limit_bytes` of it.
    pub(super) fn next<S: Store>(
        &mut self,
        (units, store): (&Units, &S),
        limit_bytes: usize,
    ) -> Option<Piece> {
        let Self { slots, found, .. } = self;
        let mut built = Built::default();
        found.collect((units, store), limit_bytes, &mut built, &mut |_, visit| {
            let Some((slots, names, epoch)) = next_slots(slots) else {
                return false;
            };
            lists::list(store, &slots, epoch, &mut |listed| {
                if names[listed.at].contains(&listed.name) {
                    visit(listed.bytes);
                }
            });
            true
        });
        if !self.is_due() {
            // The next comparison may name them again.
            self.found.renew();
        }
        if built.items.is_empty() {
            return None;
        }
        self.batches_in_flight += 1;
        Some(Piece {
            part: Part::Push,
            built,
        })
    }

    /// A batch has arrived.
    pub(super) fn acknowledge(&mut self) {
        self.batches_in_flight -= 1;
    }
}

/// Slots, the names of their entries that the peer lacks, and of which epoch these names are.
type Slots = VecDeque<(usize, Vec<u32>, u64)>;

/// The next slots that are walked over together, the names in each, and their epoch.
fn next_slots(waiting: &mut Slots) -> Option<(Vec<usize>, Vec<Vec<u32>>, u64)> {
    let (slot, first, epoch) = waiting.pop_front()?;
    let (mut slots, mut names) = (vec![slot], vec![first]);
    let is_next = |next: &mut (usize, Vec<u32>, u64), last: usize| {
        next.2 == epoch && next.0 > last && are_together(next.0, last)
    };
    while let Some((slot, more, _)) =
        waiting.pop_front_if(|next| is_next(next, slots[slots.len() - 1]))
    {
        slots.push(slot);
        names.push(more);
    }
    Some((slots, names, epoch))
}
