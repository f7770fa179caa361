//! What regions forget changes nothing that a client sees: whoever has dropped a key that had ended, and whoever has not,
//! they come to the same as if all remembered everything.
//!
//! Everybody has heard what was written up to [`SETTLED`], and each region knows that up to a time of its own. Up to there it has
//! dropped what is dead, and folded what lives that are over have counted. Then each goes on writing by itself, and they
//! tell each other in any order.

mod common;

use common::{KEY, Owned};
use greenwich_proto::{
    decimal::Decimal,
    entry::{
        Body, Deadline, EntryRef,
        join::{Forgotten, Joined, ended_up_to, join},
        layout,
        totals::{Actor, Total, Totals},
    },
    hlc::{Origin, Stamp, Version},
    settled::Settled,
    time::Wall,
};
use proptest::prelude::*;

const REGIONS: usize = 3;
/// Milliseconds: the settled past ends here, what follows ends there.
const SETTLED: u64 = 100;
const PRESENT: u64 = 200;

/// Up to when a region knows that everybody has heard everything; before, between and after the deeds of the past.
const KNOWN: [u64; 4] = [0, 25, 60, SETTLED];

/// What each region knows, in every way.
fn known_by_each() -> impl Iterator<Item = [u64; REGIONS]> {
    let ways = KNOWN.len().pow(REGIONS as u32);
    (0..ways).map(|way| {
        [1, KNOWN.len(), KNOWN.len().pow(2)].map(|place| KNOWN[way / place % KNOWN.len()])
    })
}

/// What a client does.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// Of everything. Only in the past, so that everybody has it.
    Flush,
    Set(Option<u64>),
    Delete,
    Count(i64),
    Expire(Option<u64>),
}

/// Deadlines that pass before anything is forgotten, while regions write by themselves, and never.
fn deadline() -> impl Strategy<Value = Option<u64>> {
    prop::option::of(prop::sample::select(vec![40, 70, 140, 170, 10_000]))
}

fn past_deeds(up_to: usize) -> impl Strategy<Value = Vec<(usize, Deed)>> {
    let deed = prop_oneof![1 => Just(Deed::Flush), 12 => deed()];
    prop::collection::vec((0..REGIONS, deed), 0..up_to)
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        2 => deadline().prop_map(Deed::Set),
        2 => Just(Deed::Delete),
        3 => (-2i64..3).prop_map(Deed::Count),
        2 => deadline().prop_map(Deed::Expire),
    ]
}

/// Who does what, in the order of time.
fn deeds(up_to: usize) -> impl Strategy<Value = Vec<(usize, Deed)>> {
    prop::collection::vec((0..REGIONS, deed()), 0..up_to)
}

fn version(region: usize, ms: u64) -> Version {
    Version {
        stamp: Stamp::at(Wall(ms)),
        origin: Origin(u8::try_from(region + 1).expect("few regions")),
    }
}

/// Each region has lived twice in the settled past, and lives since.
fn life(ms: u64) -> u64 {
    match ms {
        0..30 => 1,
        30..=SETTLED => 2,
        _ => 3,
    }
}

/// The entry with what lives that are over have counted in one.
fn folded(entry: &Owned) -> Owned {
    let entry = entry.view();
    let totals = entry.totals.fold(|total| total.actor.incarnation < 3);
    let totals = totals.as_deref().map(Totals::from_bytes);
    let totals = totals.map_or(entry.totals, |totals| totals.expect("in order"));
    Owned {
        bytes: layout::to_box(&EntryRef { totals, ..entry }),
    }
}

/// What a region holds after a client's command, as the keyspace has it.
fn after(
    held: Option<&Owned>,
    (region, ms): (usize, u64),
    deed: Deed,
    flushed: Version,
) -> Option<Owned> {
    let now = Wall(ms);
    let version = version(region, ms);
    let none = EntryRef::absent(KEY, flushed);
    let held_ref = held.map_or(none, Owned::view);
    let is_live = held_ref.is_live(now);
    let value = |body, at: Option<u64>| EntryRef {
        body,
        deadline: Deadline {
            version,
            at: at.map(Wall),
        },
        ..EntryRef::absent(KEY, version)
    };
    let mut totals = Vec::new();
    let entry = match deed {
        Deed::Flush => return None,
        Deed::Set(at) => value(Body::Bytes(b"7"), at),
        Deed::Delete if is_live => value(Body::Dead, None),
        Deed::Expire(at) if is_live => EntryRef {
            deadline: Deadline {
                version,
                at: at.map(Wall),
            },
            ..held_ref
        },
        Deed::Delete | Deed::Expire(_) => return held.cloned(),
        Deed::Count(amount) => {
            let base = match held_ref.has_expired(now) {
                true => EntryRef::absent(KEY, held_ref.expiry_base()),
                false => held_ref,
            };
            let actor = Actor {
                origin: version.origin,
                incarnation: life(ms),
            };
            let sum = base.totals.of(actor).checked_add(Decimal::from(amount));
            let total = Total {
                actor,
                stamp: version.stamp,
                sum: sum.expect("small numbers"),
                folded: None,
            };
            base.totals.encode_with(&total, &mut totals);
            let totals = Totals::from_bytes(&totals).expect("totals stay in order");
            EntryRef { totals, ..base }
        }
    };
    let bytes = layout::to_box(&entry);
    Some(Owned { bytes })
}

/// What has been heard of by all, as one region after the other wrote it.
#[derive(Debug)]
struct Past {
    held: Option<Owned>,
    flushed: Version,
}

fn past(deeds: &[(usize, Deed)]) -> Past {
    let nothing = Past {
        held: None,
        flushed: Version::ZERO,
    };
    (1..)
        .zip(deeds)
        .fold(nothing, |before, (at, &(region, deed))| {
            let ms = at * 10;
            Past {
                held: after(before.held.as_ref(), (region, ms), deed, before.flushed),
                flushed: match deed {
                    Deed::Flush => version(region, ms),
                    Deed::Set(_) | Deed::Delete | Deed::Count(_) | Deed::Expire(_) => {
                        before.flushed
                    }
                },
            }
        })
}

/// Whether a region may drop it that knows up to when everybody has heard everything.
fn is_forgettable(entry: &Owned, known: u64) -> bool {
    let after = entry
        .view()
        .forgettable_after(Wall(SETTLED), std::time::Duration::ZERO);
    after.is_some_and(|after| after <= Stamp::at(Wall(known)))
}

/// What each region holds after it wrote for itself, when it had dropped and folded what it may by what it knows.
fn apart(past: &Past, deeds: &[(usize, Deed)], known: [u64; REGIONS]) -> [Option<Owned>; REGIONS] {
    let kept = |known: u64| {
        let held = past.held.as_ref()?;
        let is_kept = !is_forgettable(held, known);
        is_kept.then(|| {
            if known == SETTLED {
                folded(held)
            } else {
                held.clone()
            }
        })
    };
    let mut regions = known.map(kept);
    for (at, &(region, deed)) in (1..).zip(deeds) {
        let when = (region, SETTLED + at * 10);
        regions[region] = after(regions[region].as_ref(), when, deed, past.flushed);
    }
    regions
}

fn told(local: Option<&Owned>, incoming: &Owned, forgotten: Forgotten<'_>) -> Option<Owned> {
    let local_ref = local.map(Owned::view);
    let joined = join(local_ref.as_ref(), &incoming.view(), forgotten);
    match joined {
        None | Some(Joined::Local) => local.cloned(),
        Some(Joined::Incoming) => Some(incoming.clone()),
        Some(Joined::Mixed(bytes)) => Some(Owned { bytes }),
    }
}

/// What a region holds that is told what others hold, in this order, by what each knows.
fn together(
    regions: &[Option<Owned>; REGIONS],
    order: [usize; REGIONS],
    known: [u64; REGIONS],
    flushed: Version,
) -> Option<Owned> {
    let [first, others @ ..] = order;
    let known = known.map(|ms| Settled::up_to(Stamp::at(Wall(ms))));
    others.iter().fold(regions[first].clone(), |held, &other| {
        let forgotten = Forgotten {
            local: &known[first],
            sender: &known[other],
            flushed,
        };
        match &regions[other] {
            Some(incoming) => told(held.as_ref(), incoming, forgotten),
            None => held,
        }
    })
}

/// What clients see.
fn seen(held: Option<&Owned>) -> Option<(String, Option<Wall>)> {
    let held = held?.view();
    let is_live = held.is_live(Wall(PRESENT));
    is_live.then(|| (format!("{:?}", held.number()), held.deadline.at))
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
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_forgotten_changes_nothing_that_clients_see(before in past_deeds(6), present in deeds(7)) {
        let past = past(&before);
        let remembering = apart(&past, &present, [0; REGIONS]);
        let expected = together(&remembering, ORDERS[0], [0; REGIONS], past.flushed);
        for known in known_by_each() {
            let regions = apart(&past, &present, known);
            for order in ORDERS {
                let held = together(&regions, order, known, past.flushed);
                prop_assert_eq!(
                    seen(held.as_ref()), seen(expected.as_ref()),
                    "known up to {:?} of {:?}, told in the order {:?}: {:?}", known, past, order, regions
                );
            }
        }
    }

    #[test]
    fn what_was_told_once_changes_nothing_the_second_time(
        before in past_deeds(6),
        present in deeds(7),
        known in prop::array::uniform3(prop::sample::select(KNOWN.to_vec())),
    ) {
        let past = past(&before);
        let regions = apart(&past, &present, known);
        let settled = known.map(|ms| Settled::up_to(Stamp::at(Wall(ms))));
        for order in ORDERS {
            let held = together(&regions, order, known, past.flushed);
            for (other, incoming) in regions.iter().enumerate() {
                let forgotten = Forgotten {
                    local: &settled[order[0]],
                    sender: &settled[other],
                    flushed: past.flushed,
                };
                if let Some(incoming) = incoming {
                    prop_assert_eq!(&told(held.as_ref(), incoming, forgotten), &held);
                }
            }
        }
    }

    #[test]
    fn what_is_over_brings_nothing(before in past_deeds(9), held in deeds(9), stamp in 0..PRESENT) {
        let (incoming, held) = (past(&before).held, past(&held).held);
        let all = Settled::up_to(Stamp::at(Wall(stamp)));
        let forgotten = Forgotten { local: &all, ..Forgotten::default() };
        if let Some(incoming) = &incoming {
            let held_ref = held.as_ref().map(Owned::view);
            let is_over = ended_up_to(held_ref.as_ref(), &incoming.view(), forgotten).is_some();
            prop_assert!(!is_over || told(held.as_ref(), incoming, forgotten) == held);
            let is_news = incoming.view().versions().all(|version| !all.has(version));
            prop_assert!(!(is_over && is_news), "nobody has heard of it");
        }
    }
}
