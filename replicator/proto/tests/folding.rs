//! Folding changes nothing that anybody can tell: whoever has folded what lives that are over have counted, as far as it
//! likes, and whoever has not, they come to what all would have come to without.

mod common;

use common::{KEY, Owned};
use greenwich_proto::{
    decimal::Decimal,
    entry::{
        Body, EntryRef,
        join::{Forgotten, Joined, join},
        layout,
        totals::{Actor, Total, Totals},
    },
    fingerprint::{fingerprint, identity},
    hlc::{Origin, Stamp, Version},
    slots::KeyHash,
};
use proptest::prelude::*;

const REGIONS: usize = 3;
/// The present life of each origin: those before are over, and all regions have heard of them.
const PRESENT: u64 = 6;
const BASE: Version = Version {
    stamp: Stamp(5),
    origin: Origin(9),
};

/// What lives that are over have counted, by origin and incarnation.
fn past() -> impl Strategy<Value = Vec<Total>> {
    let total = (1u8..4, 1..PRESENT, 0u64..3, -3i64..4);
    prop::collection::vec(total, 0..9).prop_map(|totals| {
        let of = |(origin, incarnation, later, sum)| {
            counted(origin, incarnation, incarnation * 10 + later, sum)
        };
        let mut totals: Vec<Total> = totals.into_iter().map(of).collect();
        totals.sort_by_key(|total| total.actor);
        totals.dedup_by_key(|total| total.actor);
        totals
    })
}

/// How often the present life of each origin has counted as far as each region has heard, and up to which life each
/// region has folded the past.
fn views() -> impl Strategy<Value = [([u64; REGIONS], u64); REGIONS]> {
    let view = || (prop::array::uniform3(0u64..4), 0..PRESENT);
    [view(), view(), view()]
}

fn counted(origin: u8, incarnation: u64, stamp: u64, sum: i64) -> Total {
    Total {
        actor: Actor {
            origin: Origin(origin),
            incarnation,
        },
        stamp: Stamp(stamp),
        sum: Decimal::from(sum),
        folded: None,
    }
}

fn owned(totals: &[u8]) -> Owned {
    let entry = EntryRef {
        body: Body::Bytes(b"100"),
        totals: Totals::from_bytes(totals).expect("totals stay in order"),
        ..EntryRef::absent(KEY, BASE)
    };
    Owned {
        bytes: layout::to_box(&entry),
    }
}

/// What a region holds that has heard so often of each present life, and has not folded anything.
fn unfolded(past: &[Total], heard: [u64; REGIONS]) -> Owned {
    let present = (1u8..).zip(heard).filter(|(_, times)| *times > 0);
    let present = present.map(|(origin, times)| {
        counted(
            origin,
            PRESENT,
            100 + times,
            i64::try_from(times).expect("few"),
        )
    });
    let mut totals = Vec::new();
    for total in past.iter().copied().chain(present) {
        let mut next = Vec::new();
        Totals::from_bytes(&totals)
            .expect("totals stay in order")
            .encode_with(&total, &mut next);
        totals = next;
    }
    owned(&totals)
}

fn folded(entry: &Owned, up_to: u64) -> Owned {
    let is_over = |total: &Total| total.actor.incarnation <= up_to;
    let folded = entry.view().totals.fold(is_over);
    folded.map_or_else(|| entry.clone(), |totals| owned(&totals))
}

fn joined(local: &Owned, incoming: &Owned) -> Owned {
    match join(Some(&local.view()), &incoming.view(), Forgotten::default()).expect("held") {
        Joined::Local => local.clone(),
        Joined::Incoming => incoming.clone(),
        Joined::Mixed(bytes) => Owned { bytes },
    }
}

/// What can be told of an entry from outside.
fn seen(entry: &Owned) -> (Option<Decimal>, Stamp, [u64; 2]) {
    let key = KeyHash::of(KEY);
    let entry = entry.view();
    let prints = [fingerprint(key, &entry), identity(key, &entry)];
    (entry.number(), entry.newest(), prints)
}

const ORDERS: [[usize; REGIONS]; 6] = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_folded_entry_is_the_same_as_before(past in past(), heard in prop::array::uniform3(0u64..4), up_to in 0..=PRESENT) {
        let entry = unfolded(&past, heard);
        let folded = folded(&entry, up_to);
        prop_assert_eq!(seen(&folded), seen(&entry));
        prop_assert!(entry.view().totals.iter().all(|total| folded.view().totals.counts(&total)));
        prop_assert!(folded.view().totals.iter().all(|total| entry.view().totals.counts(&total)));
        prop_assert_eq!(joined(&entry, &folded), folded.clone());
        prop_assert_eq!(joined(&folded, &entry), folded);
    }

    #[test]
    fn whoever_has_folded_how_much_all_come_to_the_same(past in past(), views in views()) {
        let plain = views.map(|(heard, _)| unfolded(&past, heard));
        let expected = seen(&joined(&joined(&plain[0], &plain[1]), &plain[2]));
        let regions = views.map(|(heard, up_to)| folded(&unfolded(&past, heard), up_to));
        for [a, b, c] in ORDERS {
            let held = joined(&joined(&regions[a], &regions[b]), &regions[c]);
            prop_assert_eq!(seen(&held), expected, "{:?}", regions);
            // It is folded as far as any of them was.
            let up_to = views.map(|(_, up_to)| up_to).into_iter().max().unwrap();
            prop_assert_eq!(folded(&held, up_to), held);
        }
    }

    #[test]
    fn folding_later_is_folding_at_once(past in past(), heard in prop::array::uniform3(0u64..4), first in 0..PRESENT, last in 0..PRESENT) {
        let entry = unfolded(&past, heard);
        let last = first.max(last);
        prop_assert_eq!(folded(&folded(&entry, first), last), folded(&entry, last));
    }
}

#[test]
fn a_counter_of_more_lives_than_an_entry_holds_loses_nothing_when_they_are_folded() {
    let lives = Totals::COUNT_MAX as u64 + 100;
    let mut totals = Vec::new();
    for life in 1..=lives {
        let mut next = Vec::new();
        let held = Totals::from_bytes(&totals).unwrap();
        held.encode_with(&counted(1, life, life, 1), &mut next);
        totals = Totals::from_bytes(&next)
            .unwrap()
            .fold(|total| total.actor.incarnation < life)
            .unwrap_or(next);
    }
    let held = Totals::from_bytes(&totals).unwrap();
    assert_eq!(held.iter().count(), 2);
    let sum = held
        .iter()
        .fold(Decimal::ZERO, |sum, total| sum.saturating_add(total.sum));
    assert_eq!(sum, Decimal::from(i64::try_from(lives).unwrap()));
}
