//! Fingerprints against what they stand for: histories of writes and deadlines, applied in one order or another, and the
//! same counted anew from all writes of an epoch.

use greenwich_proto::{
    decimal::Decimal,
    entry::{
        Body, Deadline, EntryRef,
        join::{Forgotten, Joined, join},
        layout,
        totals::{Actor, Total, Totals},
    },
    fingerprint::{CUTS, EPOCH_MS, Presence, SlotPrints, epoch_at, epoch_of, fingerprint},
    hlc::{Origin, Stamp, Version},
    slots::KeyHash,
    time::Wall,
};
use proptest::prelude::*;

const KEYS: [&[u8]; 3] = [b"a", b"b", b"c"];
const EPOCHS: u64 = 12;

/// One write: the whole entry, as it travels.
#[derive(Clone, Debug)]
struct Write {
    key: usize,
    entry: Box<[u8]>,
}

impl Write {
    fn view(&self) -> EntryRef<'_> {
        layout::view(&self.entry)
    }

    fn epoch(&self) -> u64 {
        epoch_of(self.view().newest())
    }
}

/// What a write does.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Set(Option<u64>),
    Delete,
    /// A deadline, or none, for one of the bases before it.
    Expire(Option<u64>, usize),
    /// An increment of one of the bases before it.
    Count(usize),
}

fn deed() -> impl Strategy<Value = Deed> {
    let deadline = || prop::option::of(0..(EPOCHS + 3) * EPOCH_MS);
    prop_oneof![
        4 => deadline().prop_map(Deed::Set),
        1 => Just(Deed::Delete),
        2 => (deadline(), 0..4_usize).prop_map(|(at, base)| Deed::Expire(at, base)),
        2 => (0..4_usize).prop_map(Deed::Count),
    ]
}

/// A history in the order of stamps.
fn history() -> impl Strategy<Value = Vec<Write>> {
    let write = (0..KEYS.len(), 0..EPOCHS * EPOCH_MS, 1..4_u8, deed());
    prop::collection::vec(write, 0..24).prop_map(|mut drawn| {
        drawn.sort_by_key(|(_, wall, ..)| *wall);
        let mut writes: Vec<Write> = Vec::new();
        for (counter, (key, wall, origin, deed)) in (0..).zip(drawn) {
            let version = Version {
                stamp: Stamp(Stamp::at(Wall(wall)).0 + counter),
                origin: Origin(origin),
            };
            let entry = written(KEYS[key], version, deed, &writes);
            writes.push(Write { key, entry });
        }
        writes
    })
}

fn written(key: &[u8], version: Version, deed: Deed, before: &[Write]) -> Box<[u8]> {
    let text = version.stamp.0.to_string();
    let absent = EntryRef::absent(key, Version::ZERO);
    let base = |steps_back: usize| {
        let of_key = before
            .iter()
            .rev()
            .map(Write::view)
            .filter(|held| held.key == key);
        // A base as it was written, without what was written on it since.
        let mut bases =
            of_key.filter(|held| held.deadline.version == held.version && held.totals.is_empty());
        bases.nth(steps_back).unwrap_or(absent)
    };
    let set = |body, at| EntryRef {
        version,
        body,
        deadline: Deadline {
            version,
            at: Option::map(at, Wall),
        },
        ..absent
    };
    match deed {
        Deed::Set(at) => layout::to_box(&set(Body::Bytes(text.as_bytes()), at)),
        Deed::Delete => layout::to_box(&set(Body::Dead, None)),
        Deed::Expire(at, steps_back) => layout::to_box(&EntryRef {
            deadline: Deadline {
                version,
                at: at.map(Wall),
            },
            ..base(steps_back)
        }),
        Deed::Count(steps_back) => {
            let actor = Actor {
                origin: version.origin,
                incarnation: 1,
            };
            let total = Total {
                actor,
                stamp: version.stamp,
                sum: Decimal::from(1),
                folded: None,
            };
            layout::to_box(&EntryRef {
                totals: in_order(&alone(&total)),
                ..base(steps_back)
            })
        }
    }
}

/// One total, encoded.
fn alone(total: &Total) -> Vec<u8> {
    let mut totals = Vec::new();
    Totals::EMPTY.encode_with(total, &mut totals);
    totals
}

fn in_order(totals: &[u8]) -> Totals<'_> {
    Totals::from_bytes(totals).expect("totals stay in order")
}

/// A history in the order of stamps, and another order of it.
fn shuffled() -> impl Strategy<Value = (Vec<Write>, Vec<Write>)> {
    history().prop_flat_map(|writes| (Just(writes.clone()), Just(writes).prop_shuffle()))
}

/// The order of another region's arrivals, in which each key's writes keep theirs.
fn keeping_keys(writes: &[Write], order: &[Write]) -> Vec<Write> {
    let mut by_key = KEYS.map(|key| writes.iter().filter(move |write| write.view().key == key));
    let in_turn = |write: &Write| by_key[write.key].next().cloned();
    order.iter().filter_map(in_turn).collect()
}

fn joined(held: Option<&[u8]>, write: &Write) -> Box<[u8]> {
    let local = held.map(layout::view);
    match join(local.as_ref(), &write.view(), Forgotten::default()) {
        Some(Joined::Mixed(bytes)) => bytes,
        Some(Joined::Incoming) => write.entry.clone(),
        Some(Joined::Local) => held.expect("it covers the write").into(),
        None => layout::to_box(&EntryRef::absent(write.view().key, Version::ZERO)),
    }
}

fn presence(entry: &[u8]) -> Presence {
    let entry = layout::view(entry);
    Presence::of(KeyHash::of(entry.key), &entry)
}

const SLOTS: usize = 2;

/// The keys of one replica, in two slots.
#[derive(Clone, Debug, Default)]
struct Replica {
    held: [Option<Box<[u8]>>; KEYS.len()],
    slots: SlotPrints<SLOTS>,
}

impl Replica {
    fn after(writes: &[Write]) -> Self {
        let mut replica = Self::default();
        writes.iter().for_each(|write| replica.apply(write));
        replica
    }

    fn apply(&mut self, write: &Write) {
        let held = self.held[write.key].take();
        let entry = joined(held.as_deref(), write);
        let old = held.as_deref().map_or(Presence::ABSENT, presence);
        self.slots.change(write.key % SLOTS, old, presence(&entry));
        self.held[write.key] = Some(entry);
    }

    /// What is held, with its slots.
    fn presences(&self) -> impl Iterator<Item = (usize, Presence)> {
        let held = self.held.iter().enumerate();
        held.filter_map(|(key, entry)| Some((key % SLOTS, presence(entry.as_deref()?))))
    }

    fn account(&mut self, up_to: u64) {
        let held: Vec<_> = self.presences().collect();
        self.slots.account(up_to, held.into_iter());
    }

    fn as_of(&mut self, epoch: u64) -> Option<u64> {
        self.account(epoch);
        self.remembered(epoch)
    }

    /// Both slots at the end of an epoch, up to which deadlines are accounted for.
    fn remembered(&self, epoch: u64) -> Option<u64> {
        (0..SLOTS).try_fold(0, |sum, slot| Some(sum ^ self.slots.as_of(slot, epoch)?))
    }

    fn now(&self) -> u64 {
        self.slots
            .now()
            .into_iter()
            .fold(0, |sum, print| sum ^ print)
    }

    fn recounted(&self) -> [u64; SLOTS] {
        let mut slots = [0; SLOTS];
        for (slot, held) in self.presences() {
            slots[slot] ^= self.slots.share_of(held);
        }
        slots
    }
}

/// What all writes up to the end of an epoch leave of the keys.
fn reckoned(writes: &[Write], epoch: u64) -> u64 {
    let mut held: [Option<Box<[u8]>>; KEYS.len()] = Default::default();
    for write in writes.iter().filter(|write| write.epoch() <= epoch) {
        held[write.key] = Some(joined(held[write.key].as_deref(), write));
    }
    let mut sum = 0;
    for entry in held.iter().flatten().map(|entry| layout::view(entry)) {
        let has_ended = entry.deadline.at.is_some_and(|at| epoch_at(at) <= epoch);
        if entry.has_value() && !has_ended {
            sum ^= fingerprint(KeyHash::of(entry.key), &entry);
        }
    }
    sum
}

/// Whether a key was written across the end of an epoch before all of its writes up to there had come.
fn is_crossed(order: &[Write], epoch: u64) -> bool {
    let mut beyond = [false; KEYS.len()];
    order.iter().any(|write| {
        let is_late = write.epoch() <= epoch && beyond[write.key];
        beyond[write.key] |= write.epoch() > epoch;
        is_late
    })
}

/// The newest epoch in which anything changed: a write, or an end that was accounted for.
fn newest(writes: &[Write], accounted: u64) -> u64 {
    let ends = writes
        .iter()
        .filter_map(|write| write.view().deadline.at)
        .map(epoch_at);
    let ends = ends.filter(|end| *end <= accounted);
    writes
        .iter()
        .map(Write::epoch)
        .chain(ends)
        .max()
        .unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_end_of_an_epoch_is_what_its_writes_left_whenever_they_came(
        (writes, order) in shuffled(),
        keeps_keys in any::<bool>(),
        looks in prop::collection::vec(0..EPOCHS + 5, 24),
    ) {
        let order = if keeps_keys { keeping_keys(&writes, &order) } else { order };
        let (mut replica, mut accounted) = (Replica::default(), 0);
        for (count, (write, look)) in (1..).zip(order.iter().zip(looks)) {
            replica.apply(write);
            let so_far = &order[..count];
            prop_assert_eq!(replica.slots.now(), replica.recounted());
            // Deadlines are accounted for up to any epoch, and any is asked for.
            let mut asked = replica.clone();
            for epoch in 0..=EPOCHS {
                let found = asked.as_of(epoch);
                if epoch + CUTS as u64 >= newest(so_far, accounted.max(epoch)) {
                    prop_assert!(found.is_some(), "epoch {epoch} after {count}");
                }
                if let Some(found) = found && !is_crossed(so_far, epoch) {
                    prop_assert_eq!(found, reckoned(so_far, epoch), "epoch {} after {}", epoch, count);
                }
            }
            if look % 3 == 0 {
                replica.account(look);
                accounted = accounted.max(look);
            }
        }
    }

    #[test]
    fn replicas_that_heard_the_same_in_any_order_are_equal((writes, order) in shuffled(), accounted in 0..EPOCHS + 5) {
        let (mut a, mut b) = (Replica::after(&writes), Replica::after(&order));
        a.account(accounted);
        b.account(accounted);
        prop_assert_eq!(a.slots.now(), b.slots.now());
        if accounted >= EPOCHS {
            prop_assert_eq!(a.now(), reckoned(&writes, accounted));
        }
    }

    #[test]
    fn it_is_of_no_consequence_when_deadlines_are_accounted_for(
        (writes, order) in shuffled(),
        looks in prop::collection::vec(0..EPOCHS + 5, 24),
        keeps_keys in any::<bool>(),
    ) {
        let order = if keeps_keys { keeping_keys(&writes, &order) } else { order };
        let (mut early, mut late) = (Replica::default(), Replica::default());
        for (write, look) in order.iter().zip(looks) {
            early.account(look);
            early.apply(write);
            late.apply(write);
        }
        early.account(EPOCHS + 5);
        late.account(EPOCHS + 5);
        prop_assert_eq!(early.slots.now(), late.slots.now());
        for epoch in 0..EPOCHS + 5 {
            if let (Some(early), Some(late)) = (early.remembered(epoch), late.remembered(epoch)) {
                prop_assert_eq!(early, late, "epoch {}", epoch);
            }
        }
    }

    #[test]
    fn every_write_that_changes_a_value_changes_its_fingerprint((_, order) in shuffled()) {
        let mut replica = Replica::default();
        for write in order {
            let before = replica.held[write.key].clone();
            replica.apply(&write);
            let after = replica.held[write.key].clone();
            let [Some(before), Some(after)] = [&before, &after].map(|entry| entry.as_deref().map(layout::view)) else {
                continue;
            };
            // Of a base that is no value, the version does not count.
            if before != after && after.has_value() && after.body != Body::Dead {
                let key = KeyHash::of(after.key);
                prop_assert_ne!(fingerprint(key, &before), fingerprint(key, &after), "{:?} {:?}", before, after);
            }
        }
    }

    #[test]
    fn a_flush_leaves_nothing_and_changes_no_end_before_it((writes, order) in shuffled()) {
        let mut replica = Replica::after(&keeping_keys(&writes, &order));
        let flush = Stamp::at(Wall(EPOCHS * EPOCH_MS));
        let before: Vec<_> = (0..EPOCHS).map(|epoch| replica.clone().as_of(epoch)).collect();
        let mut one_by_one = replica.clone();
        for (slot, held) in replica.presences() {
            one_by_one.slots.change(slot, held, Presence::flushed(flush));
        }
        one_by_one.held = Default::default();
        replica.account(EPOCHS - 1);
        replica.slots.flush(flush);
        for flushed in [&mut replica, &mut one_by_one] {
            prop_assert_eq!(flushed.slots.now(), [0; SLOTS]);
            prop_assert_eq!(flushed.remembered(EPOCHS), Some(0));
            let later = (EPOCHS - CUTS as u64..EPOCHS).zip(&before[before.len() - CUTS..]);
            for (epoch, before) in later {
                prop_assert_eq!(flushed.remembered(epoch), *before);
            }
        }
    }
}

/// The presence of a value.
fn value(key: &[u8], epoch: u64, deadline: Option<u64>, counted: Option<u64>) -> Presence {
    let start_of = |epoch| Wall(epoch * EPOCH_MS);
    let version = Version {
        stamp: Stamp::at(start_of(epoch)),
        origin: Origin(1),
    };
    let actor = Actor {
        origin: Origin(2),
        incarnation: 1,
    };
    let total = |epoch| Total {
        actor,
        stamp: Stamp::at(start_of(epoch)),
        sum: Decimal::from(1),
        folded: None,
    };
    let totals = counted.map_or_else(Vec::new, |epoch| alone(&total(epoch)));
    let entry = EntryRef {
        body: Body::Bytes(b"1"),
        deadline: Deadline {
            version,
            at: deadline.map(start_of),
        },
        totals: in_order(&totals),
        ..EntryRef::absent(key, version)
    };
    Presence::of(KeyHash::of(key), &entry)
}

#[test]
fn a_late_write_is_put_into_the_ends_that_it_belongs_to() {
    let first = value(b"first", 10, None, None);
    let late = value(b"late", 7, Some(9), None);
    let mut slot = SlotPrints::<1>::default();
    slot.account(12, std::iter::empty());
    slot.change(0, Presence::ABSENT, first);
    slot.change(0, Presence::ABSENT, late);
    let ends = [5, 6, 7, 8, 9, 10, 11].map(|epoch| slot.as_of(0, epoch));
    let [first, late] = [first, late].map(|presence| SlotPrints::<1>::default().share_of(presence));
    assert_eq!(
        ends,
        [
            None,
            Some(0),
            Some(late),
            Some(late),
            Some(0),
            Some(first),
            Some(first)
        ]
    );
}

#[test]
fn a_write_that_replaces_a_newer_one_leaves_the_ends_between_them_alone() {
    let set = value(b"k", 5, None, None);
    let counted = value(b"k", 5, None, Some(8));
    // A base that the increment had not seen.
    let replaced = value(b"k", 6, None, None);
    let mut slot = SlotPrints::<1>::default();
    slot.change(0, Presence::ABSENT, set);
    slot.change(0, set, counted);
    slot.change(0, counted, replaced);
    let ends = [5, 6, 7, 8].map(|epoch| slot.as_of(0, epoch));
    let [set, replaced] =
        [set, replaced].map(|presence| Some(SlotPrints::<1>::default().share_of(presence)));
    assert_eq!(ends, [set, set, set, replaced]);
}

#[test]
fn counts_on_what_was_deleted_are_the_same_whether_it_is_remembered_or_not() {
    let at = |ms| Version {
        stamp: Stamp::at(Wall(ms)),
        origin: Origin(1),
    };
    let actor = Actor {
        origin: Origin(2),
        incarnation: 1,
    };
    let total = Total {
        actor,
        stamp: at(3_000).stamp,
        sum: Decimal::from(1),
        folded: None,
    };
    let counted = alone(&total);
    let forgotten = EntryRef {
        totals: in_order(&counted),
        ..EntryRef::absent(b"k", Version::ZERO)
    };
    let print = |version, deadline| {
        let entry = EntryRef {
            version,
            deadline,
            ..forgotten
        };
        Presence::of(KeyHash::of(b"k"), &entry)
    };
    let none = |version| Deadline { version, at: None };
    let expected = Presence::of(KeyHash::of(b"k"), &forgotten);
    assert_eq!(print(at(1_000), none(at(1_000))), expected);
    assert_eq!(
        print(at(1_000), none(at(2_000))),
        expected,
        "a deadline was taken from it"
    );
    let at_nine = Deadline {
        version: at(2_000),
        at: Some(Wall(9_000)),
    };
    assert_ne!(print(at(1_000), at_nine), expected);
}
