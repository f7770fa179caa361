//! Joins of entries where one side has forgotten, or one was away.

use super::*;
use crate::{
    decimal::Decimal,
    entry::totals::Actor,
    hlc::{Origin, Stamp},
    time::Wall,
};

const KEY: &[u8] = b"key";
const AWAY: Origin = Origin(3);

/// Everything up to 100 is settled, but of region 3 only what it wrote up to 40.
fn settled() -> Settled {
    Settled::up_to(Stamp(100)).but_for(AWAY, (Stamp(40), Stamp(u64::MAX)))
}

fn by(origin: u8, stamp: u64) -> Version {
    Version {
        stamp: Stamp(stamp),
        origin: Origin(origin),
    }
}

fn value(version: Version) -> EntryRef<'static> {
    EntryRef {
        body: Body::Bytes(b"v"),
        ..EntryRef::absent(KEY, version)
    }
}

fn totals(of: &[(u8, u64)]) -> Vec<u8> {
    of.iter().fold(Vec::new(), |totals, &(origin, stamp)| {
        let total = Total {
            actor: Actor {
                origin: Origin(origin),
                incarnation: 1,
            },
            stamp: Stamp(stamp),
            sum: Decimal::from(1),
            folded: None,
        };
        let mut next = Vec::new();
        Totals::trusted(&totals).encode_with(&total, &mut next);
        next
    })
}

fn counter(totals: &[u8]) -> EntryRef<'_> {
    EntryRef {
        totals: Totals::trusted(totals),
        ..EntryRef::absent(KEY, Version::ZERO)
    }
}

/// Whether something of an entry is taken over, and whether it is over.
fn comes(local: Option<&EntryRef<'_>>, incoming: &EntryRef<'_>) -> (bool, bool) {
    let settled = settled();
    let forgotten = Forgotten {
        local: &settled,
        ..Forgotten::default()
    };
    let is_new = !matches!(join(local, incoming, forgotten), None | Some(Joined::Local));
    (is_new, ended_up_to(local, incoming, forgotten).is_some())
}

#[test]
fn what_everybody_has_heard_of_and_nobody_holds_is_over() {
    assert_eq!(comes(None, &value(by(1, 90))), (false, true));
    assert_eq!(comes(None, &value(by(1, 101))), (true, false));
    let newer = value(by(1, 95));
    assert_eq!(comes(Some(&newer), &value(by(1, 90))), (false, false));
}

#[test]
fn what_a_region_wrote_while_it_was_away_is_news() {
    assert_eq!(comes(None, &value(by(3, 41))), (true, false));
    assert_eq!(comes(None, &value(by(3, 40))), (false, true));
    let older = value(by(1, 30));
    let deleted = EntryRef::absent(KEY, by(3, 50));
    assert_eq!(comes(Some(&older), &deleted), (true, false));
}

#[test]
fn what_counts_on_nothing_outlives_what_was_brought_late_and_has_ended() {
    let counted = totals(&[(1, 90)]);
    let incoming = counter(&counted);
    let mut held = value(by(3, 60));
    held.deadline.at = Some(Wall(0));
    let settled = Settled::up_to(Stamp(100));
    let forgotten = Forgotten {
        local: &settled,
        sender: &settled,
        ..Forgotten::default()
    };
    let on_its_end = EntryRef {
        totals: incoming.totals,
        ..EntryRef::absent(KEY, held.expiry_base())
    };
    let expected = Joined::Mixed(layout::to_box(&on_its_end));
    assert_eq!(join(Some(&held), &incoming, forgotten), Some(expected));
    held.deadline.at = None;
    let still_there = join(Some(&held), &incoming, forgotten);
    assert_eq!(still_there, Some(Joined::Local));
}

#[test]
fn a_deadline_set_far_away_brings_back_nothing() {
    for stamp in [60, 120] {
        let mut prolonged = value(by(1, 30));
        prolonged.deadline = Deadline {
            version: by(3, stamp),
            at: None,
        };
        assert_eq!(comes(None, &prolonged), (false, true), "{stamp}");
        let held = value(by(1, 30));
        assert_eq!(comes(Some(&held), &prolonged), (true, false), "{stamp}");
    }
}

#[test]
fn what_was_counted_far_away_counts_only_where_its_base_has_not_ended() {
    let (fresh, stale) = (totals(&[(3, 60)]), totals(&[(1, 20), (3, 60)]));
    assert_eq!(comes(None, &counter(&fresh)), (true, false));
    assert_eq!(comes(None, &counter(&stale)), (false, true));
    let held = totals(&[(1, 20)]);
    let held = counter(&held);
    assert_eq!(comes(Some(&held), &counter(&stale)), (true, false));
    let again = totals(&[(2, 80)]);
    let again = counter(&again);
    assert_eq!(comes(Some(&again), &counter(&stale)), (false, true));
}

#[test]
fn what_has_ended_ended_before_what_is_held_began() {
    let settled = settled();
    let forgotten = Forgotten {
        local: &settled,
        ..Forgotten::default()
    };
    let ended = |local: Option<&EntryRef<'_>>, incoming: &EntryRef<'_>| {
        ended_up_to(local, incoming, forgotten).map(|at| at.0)
    };
    assert_eq!(ended(None, &value(by(1, 90))), Some(90));
    let (stale, again) = (totals(&[(1, 20), (2, 80), (3, 60)]), totals(&[(2, 80)]));
    let again = counter(&again);
    assert_eq!(
        ended(Some(&again), &counter(&stale)),
        Some(20),
        "80 is held"
    );
    let mut prolonged = value(by(1, 30));
    prolonged.deadline.version = by(3, 120);
    assert_eq!(ended(None, &prolonged), Some(30), "of 120 nobody heard");
}

#[test]
fn a_deletion_that_is_remembered_elsewhere_ends_what_was_brought_from_before_it_and_no_more() {
    let settled = settled();
    let forgotten = Forgotten {
        local: &settled,
        sender: &settled,
        ..Forgotten::default()
    };
    let (here, there) = (totals(&[(1, 70), (2, 90), (3, 41)]), totals(&[(2, 90)]));
    let here = counter(&here);
    let deleted = EntryRef {
        totals: Totals::trusted(&there),
        ..EntryRef::absent(KEY, by(0, 60))
    };
    let kept = totals(&[(1, 70), (2, 90)]);
    let both = EntryRef {
        totals: Totals::trusted(&kept),
        ..deleted
    };
    let expected = Joined::Mixed(layout::to_box(&both));
    assert_eq!(join(Some(&here), &deleted, forgotten), Some(expected));
    assert_eq!(join(Some(&deleted), &here, forgotten), Some(Joined::Local));
}

#[test]
fn what_counts_on_a_deletion_is_not_over_where_that_is_forgotten() {
    let counted = totals(&[(1, 90)]);
    let here = counter(&counted);
    let there = EntryRef {
        totals: Totals::trusted(&counted),
        ..EntryRef::absent(KEY, by(1, 80))
    };
    assert_eq!(comes(Some(&here), &there), (false, false));
}
