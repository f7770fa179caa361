//! Entries that a comparison showed to be missing at the peer, on their way there.
//!
//! Only their names are kept; their state is looked up when there is room to send it, and what goes with them goes along
//! ([`Found`]), so that the peer shows it whole. An entry that was written meanwhile has lost its name. Then all of its slot
//! goes that is as young, and what was missing is among it.

use std::collections::VecDeque;

use super::{
    build::{Built, Found},
    lists::{self, Listed, are_together},
    send::Part,
    sweep::Piece,
};
use crate::{fingerprint::epoch_of, log::Units, store::Store};

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
        self.add_with_lost(slot, names, 0, epoch);
    }

    /// The peer lacks these entries of a slot, and some whose names are lost.
    pub(super) fn add_with_lost(
        &mut self,
        slot: usize,
        names: Vec<u32>,
        lost: usize,
        epoch: u64,
    ) {
        if names.len() + lost > 0 {
            self.slots.push_back(Lacked {
                slot,
                names,
                lost,
                epoch,
            });
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
            let Some(lacked) = next_slots(slots) else {
                return false;
            };
            visit_lacked(&lacked, store, visit);
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

/// Entries of a slot that the peer lacks.
#[derive(Debug)]
struct Lacked {
    slot: usize,
    /// Their names during the comparison of `epoch`.
    names: Vec<u32>,
    /// How many more there are, which were written since they were told.
    lost: usize,
    epoch: u64,
}

/// Slots in the order in which they are sent.
type Slots = VecDeque<Lacked>;

/// The next slots that are walked over together, of one epoch.
fn next_slots(waiting: &mut Slots) -> Option<Vec<Lacked>> {
    let mut together = vec![waiting.pop_front()?];
    while let Some(next) = waiting.pop_front_if(|next| {
        let last = &together[together.len() - 1];
        next.epoch == last.epoch && next.slot > last.slot && are_together(next.slot, last.slot)
    }) {
        together.push(next);
    }
    Some(together)
}

fn visit_lacked<S: Store>(lacked: &[Lacked], store: &S, visit: &mut dyn FnMut(&[u8])) {
    let Some(Lacked { epoch, .. }) = lacked.first() else {
        return;
    };
    let slots: Vec<usize> = lacked.iter().map(|lacked| lacked.slot).collect();
    let mut unseen: Vec<usize> = lacked.iter().map(|it| it.names.len() + it.lost).collect();
    lists::list(store, &slots, *epoch, &mut |listed| {
        if lacked[listed.at].names.contains(&listed.name) {
            unseen[listed.at] = unseen[listed.at].saturating_sub(1);
            visit(listed.bytes);
        }
    });
    let lost = lacked.iter().zip(unseen).filter(|(_, unseen)| *unseen > 0);
    lost.for_each(|(lacked, unseen)| visit_lost(lacked, unseen, store, visit));
}

/// Calls `visit` with what was written to a slot since the end of the epoch; with all of it where that is less than was lost:
/// then a repair with another peer has changed the rest.
fn visit_lost<S: Store>(
    lacked: &Lacked,
    lost: usize,
    store: &S,
    visit: &mut dyn FnMut(&[u8]),
) {
    let Lacked { slot, epoch, .. } = lacked;
    let is_young = |listed: &Listed<'_>| epoch_of(listed.entry.newest()) > *epoch;
    let mut young = 0;
    lists::list(store, &[*slot], *epoch, &mut |listed| {
        young += usize::from(is_young(&listed));
    });
    lists::list(store, &[*slot], *epoch, &mut |listed| {
        if !lacked.names.contains(&listed.name) && (young < lost || is_young(&listed)) {
            visit(listed.bytes);
        }
    });
}
