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
    pub(super) fn add_with_lost(&mut self, slot: usize, names: Vec<u32>, lost: usize, epoch: u64) {
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
fn visit_lost<S: Store>(lacked: &Lacked, lost: usize, store: &S, visit: &mut dyn FnMut(&[u8])) {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        entry::{Body, EntryRef, layout},
        fingerprint::EPOCH_MS,
        hlc::{Clock, Stamp, Version},
        log::Log,
        settled::Settled,
        slots::KeyHash,
        store::stub::Stub,
        time::Wall,
        wire::batch::{Batch, Item, put_header},
    };

    const EPOCH: u64 = 7;

    /// A keyspace whose keys, with the epochs in which they were written, are all in one slot.
    fn one_slot(keys: &[(&[u8], u64)]) -> impl Store {
        let entry = |(key, epoch): &(&[u8], u64)| {
            let stamp = Stamp::at(Wall(epoch * EPOCH_MS));
            let version = Version {
                stamp,
                ..Version::ZERO
            };
            layout::to_box(&EntryRef {
                body: Body::Bytes(b"value"),
                ..EntryRef::absent(key, version)
            })
        };
        let entries: Vec<Box<[u8]>> = keys.iter().map(entry).collect();
        let hash = |entry: &[u8]| KeyHash(u64::from(layout::view(entry).key[0]));
        Stub {
            export: |_: &[&[u8]], _: &mut dyn FnMut(&[u8])| {},
            sweep: |_, _: &mut dyn FnMut(&[u8])| None,
            list: move |_, visit: &mut dyn FnMut(KeyHash, &[u8])| {
                entries.iter().for_each(|entry| visit(hash(entry), entry));
            },
        }
    }

    /// The keys that go when those of `names` are to go, with `lost` more, from what is held by then.
    fn pushed(names: Vec<u32>, lost: usize, held: &impl Store) -> Vec<Vec<u8>> {
        let log = Log::new(Clock::new(Duration::ZERO), 0, 0);
        let mut pushes = Pushes::default();
        pushes.add_with_lost(KeyHash(0).slot(), names, lost, EPOCH);
        let Some(piece) = pushes.next((log.units(), held), 10_000) else {
            return Vec::new();
        };
        let mut bytes = Vec::new();
        put_header(1, Settled::NOTHING, &[], &mut bytes);
        bytes.extend_from_slice(&piece.built.items);
        let batch = Batch::decode(&bytes).unwrap();
        let keys = batch.items().map(|item| match item {
            Item::Entry(entry) => entry.key.to_vec(),
            other @ (Item::Unit(_) | Item::Flush(_)) => panic!("{other:?}"),
        });
        keys.collect()
    }

    fn names(held: &impl Store) -> Vec<u32> {
        lists::names(held, &[KeyHash(0).slot()], EPOCH).remove(0)
    }

    #[test]
    fn what_is_written_before_it_is_sent_goes_all_the_same() {
        let told = one_slot(&[(b"a", 5), (b"b", 5), (b"c", 5)]);
        let wanted = names(&told)[..2].to_vec();
        assert_eq!(pushed(wanted.clone(), 0, &told), [b"a", b"b"]);
        let written = one_slot(&[(b"a", 5), (b"b", EPOCH + 1), (b"c", 5), (b"d", EPOCH + 1)]);
        assert_eq!(pushed(wanted.clone(), 0, &written), [b"a", b"b", b"d"]);
        assert_eq!(pushed(vec![wanted[0]], 1, &written), [b"a", b"b", b"d"]);
        assert_eq!(pushed(Vec::new(), 0, &written), Vec::<Vec<u8>>::new());
        // Another repair has brought an older state of it: nothing says which it is.
        let repaired = one_slot(&[(b"a", 5), (b"b", 6), (b"c", 5)]);
        assert_eq!(pushed(wanted, 0, &repaired), [b"a", b"b", b"c"]);
    }
}
