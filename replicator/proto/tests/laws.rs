//! The laws of the join, and of the layout that it works on.

mod common;
#[path = "../fuzz/src/frame_check.rs"]
mod frame_check;

use std::time::Duration;

use common::{Owned, entry};
use greenwich_proto::{
    decimal::Decimal,
    entry::{
        Body, EntryRef,
        join::{Forgotten, Joined, join},
        layout,
        totals::{Actor, Total, Totals},
    },
    hlc::{Origin, Stamp, Version},
    time::Wall,
};
use proptest::prelude::*;

/// The join of two entries where nothing was forgotten.
fn joined(local: &Owned, incoming: &Owned) -> Owned {
    let bytes = match join(Some(&local.view()), &incoming.view(), Forgotten::default())
        .expect("something is held")
    {
        Joined::Local => local.bytes.clone(),
        Joined::Incoming => incoming.bytes.clone(),
        Joined::Mixed(bytes) => bytes,
    };
    Owned { bytes }
}

/// Whether `upper` is at or above `lower` in every part.
fn covers(upper: &EntryRef<'_>, lower: &EntryRef<'_>) -> bool {
    let is_at_or_above = |up: &Total, low: &Total| {
        let is_same = (up.actor, up.folded.is_some()) == (low.actor, low.folded.is_some());
        let is_of_it = up.actor.origin == low.actor.origin
            && up.actor.incarnation >= low.actor.incarnation
            && up.stamp >= low.stamp;
        is_same && (up.stamp, up.sum) >= (low.stamp, low.sum) || up.folded.is_some() && is_of_it
    };
    let totals = upper.version > lower.version
        || lower
            .totals
            .iter()
            .all(|low| upper.totals.iter().any(|up| is_at_or_above(&up, &low)));
    (upper.version, upper.body) >= (lower.version, lower.body)
        && upper.deadline >= lower.deadline
        && totals
}

/// As many totals as one entry holds, of the incarnations from `first` on, counted in their order.
fn full(first: u64) -> Vec<u8> {
    let count = Totals::COUNT_MAX as u64;
    (first..first + count)
        .flat_map(|incarnation| {
            let actor = Actor {
                origin: Origin(1),
                incarnation,
            };
            let total = Total {
                actor,
                stamp: Stamp(incarnation),
                sum: Decimal::from(1),
                folded: None,
            };
            let mut bytes = Vec::new();
            Totals::EMPTY.encode_with(&total, &mut bytes);
            bytes
        })
        .collect()
}

#[test]
fn a_join_of_more_totals_than_an_entry_holds_keeps_the_newest() {
    let (older, newer) = (full(1), full(4));
    let entry = |totals| EntryRef {
        totals: Totals::from_bytes(totals).unwrap(),
        ..EntryRef::absent(common::KEY, Version::ZERO)
    };
    let (older, newer) = (entry(&older), entry(&newer));
    let result = join(Some(&older), &newer, Forgotten::default());
    assert_eq!(
        result,
        Some(Joined::Incoming),
        "the oldest three are dropped"
    );
    let mut counted_again = Vec::new();
    let latest = Total {
        stamp: Stamp(1_000_000),
        ..older.totals.iter().next().unwrap()
    };
    newer.totals.encode_with(&latest, &mut counted_again);
    let counted_again = Totals::from_bytes(&counted_again).expect("no more than an entry holds");
    assert_eq!(counted_again.of(latest.actor), latest.sum);
    let dropped = newer.totals.iter().next().unwrap().actor;
    assert_eq!(
        counted_again.of(dropped),
        Decimal::ZERO,
        "the oldest one went for it"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn join_is_commutative(a in entry(), b in entry()) {
        prop_assert_eq!(joined(&a, &b), joined(&b, &a));
    }

    #[test]
    fn join_is_associative(a in entry(), b in entry(), c in entry()) {
        prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
    }

    #[test]
    fn join_is_idempotent(a in entry(), b in entry()) {
        let both = joined(&a, &b);
        prop_assert_eq!(&joined(&a, &a), &a);
        prop_assert_eq!(&joined(&both, &a), &both);
        prop_assert_eq!(&joined(&both, &b), &both);
    }

    #[test]
    fn join_never_goes_below_either_side(a in entry(), b in entry()) {
        let both = joined(&a, &b);
        prop_assert!(covers(&both.view(), &a.view()), "{:?}", both.view());
        prop_assert!(covers(&both.view(), &b.view()), "{:?}", both.view());
    }

    #[test]
    fn join_invents_nothing(a in entry(), b in entry()) {
        let both = joined(&a, &b);
        let (both, a, b) = (both.view(), a.view(), b.view());
        prop_assert!([a.version, b.version].contains(&both.version));
        prop_assert!([a.deadline, b.deadline].contains(&both.deadline));
        let known = |total| a.totals.iter().chain(b.totals.iter()).any(|known| known == total);
        prop_assert!(both.totals.iter().all(known));
    }

    #[test]
    fn joining_into_nothing_keeps_the_entry(a in entry()) {
        let kept = join(None, &a.view(), Forgotten::default());
        prop_assert!(matches!(kept, None | Some(Joined::Incoming)));
        let worth_keeping = a.view().newest() > Stamp::ZERO;
        prop_assert_eq!(kept.is_some(), worth_keeping);
    }

    #[test]
    fn an_expiry_starts_one_base_everywhere(a in entry(), b in entry()) {
        let (left, right) = (joined(&a, &b), joined(&b, &a));
        prop_assert_eq!(left.view().expiry_base(), right.view().expiry_base());
        let base = left.view().expiry_base();
        prop_assert!(base > left.view().version && base > left.view().deadline.version);
        prop_assert!(left.view().deadline.at.is_none_or(|at| base.stamp >= Stamp::at(at)));
    }

    #[test]
    fn only_what_no_client_will_see_may_be_forgotten(a in entry(), now in 0u64..5, margin_ms in 0u64..5) {
        let entry = a.view();
        let after = entry.forgettable_after(Wall(now), Duration::from_millis(margin_ms));
        if let Some(after) = after {
            prop_assert!(!entry.is_live(Wall(now)));
            prop_assert!(after >= entry.newest());
            let unseen = entry.deadline.at.map(|at| Stamp::at(Wall(at.0 + margin_ms)));
            prop_assert!(unseen.is_none_or(|unseen| after >= unseen));
        } else {
            let will_be_seen = entry.deadline.at.is_some_and(|at| at > Wall(now));
            prop_assert!(entry.is_live(Wall(now)) || will_be_seen);
        }
    }

    #[test]
    fn layout_round_trips(a in entry()) {
        let decoded = layout::decode(&a.bytes).unwrap();
        prop_assert_eq!(decoded, a.view());
        prop_assert_eq!(&*layout::to_box(&decoded), &*a.bytes);
        prop_assert_eq!(layout::encoded_len(&decoded), a.bytes.len());
        prop_assert_eq!(layout::key_of(&a.bytes), common::KEY);
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_canonical(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        frame_check::check_entry(&bytes);
    }

    #[test]
    fn mutated_entries_are_refused_or_canonical(
        a in entry(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = a.bytes.to_vec();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        frame_check::check_entry(&bytes);
    }

    #[test]
    fn every_truncation_without_a_body_is_refused(a in entry()) {
        // A body runs to the end of the bytes: what frames the entry says where that is.
        let whole = layout::decode(&a.bytes).unwrap();
        let body_len = if let Body::Bytes(body) = whole.body { body.len() } else { 0 };
        for len in 0..a.bytes.len() - body_len {
            prop_assert!(layout::decode(&a.bytes[..len]).is_err(), "{len} of {}", a.bytes.len());
        }
    }
}
