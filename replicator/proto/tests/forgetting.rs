//! What regions forget changes nothing that a client sees: whoever has dropped a key that had ended, and whoever has not,
//! they come to the same as if all remembered everything.
//!
//! Everybody has heard what was written up to [`SETTLED`]. Some regions have dropped what is dead of it and folded what lives
//! that are over have counted, then each goes on writing by itself, and they tell each other in any order.

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

/// What a client does.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Set(Option<u64>),
    Delete,
    Count(i64),
    Expire(Option<u64>),
}

/// Deadlines that pass before anything is forgotten, while regions write by themselves, and never.
fn deadline() -> impl Strategy<Value = Option<u64>> {
    prop::option::of(prop::sample::select(vec![40, 70, 140, 170, 10_000]))
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
fn after(held: Option<&Owned>, region: usize, ms: u64, deed: Deed) -> Option<Owned> {
    let now = Wall(ms);
    let version = version(region, ms);
    let none = EntryRef::absent(KEY, Version::ZERO);
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
fn settled(deeds: &[(usize, Deed)]) -> Option<Owned> {
    let steps = (1..).zip(deeds);
    steps.fold(None, |held, (at, &(region, deed))| {
        after(held.as_ref(), region, at * 10, deed)
    })
}

/// Whether a region may drop it, once everybody has heard what is settled.
fn is_forgettable(entry: &Owned) -> bool {
    let after = entry
        .view()
        .forgettable_after(Wall(SETTLED), std::time::Duration::ZERO);
    after.is_some_and(|after| after <= Stamp::at(Wall(SETTLED)))
}

/// What each region holds after it wrote for itself, where some have dropped what had ended, and folded.
fn apart(
    settled: Option<&Owned>,
    deeds: &[(usize, Deed)],
    forgets: [bool; REGIONS],
) -> [Option<Owned>; REGIONS] {
    let kept = |forgets: bool| match settled? {
        held if forgets => (!is_forgettable(held)).then(|| folded(held)),
        held => Some(held.clone()),
    };
    let mut regions = forgets.map(kept);
    for (at, &(region, deed)) in (1..).zip(deeds) {
        let next = after(regions[region].as_ref(), region, SETTLED + at * 10, deed);
        regions[region] = next;
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

/// What a region holds that is told what others hold, in this order.
fn together(
    regions: &[Option<Owned>; REGIONS],
    order: [usize; REGIONS],
    forgotten: Forgotten<'_>,
) -> Option<Owned> {
    let [first, others @ ..] = order;
    others.iter().fold(regions[first].clone(), |held, &other| {
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
    fn what_is_forgotten_changes_nothing_that_clients_see(past in deeds(6), present in deeds(7)) {
        let past = settled(&past);
        let remembering = apart(past.as_ref(), &present, [false; REGIONS]);
        let expected = together(&remembering, ORDERS[0], Forgotten::default());
        let all = Settled::up_to(Stamp::at(Wall(SETTLED)));
        let forgotten = Forgotten { local: &all, sender: &all, flushed: Version::ZERO };
        for forgets in 0..1 << REGIONS {
            let forgets = [1, 2, 4].map(|region| forgets & region != 0);
            let regions = apart(past.as_ref(), &present, forgets);
            for order in ORDERS {
                let held = together(&regions, order, forgotten);
                prop_assert_eq!(
                    seen(held.as_ref()), seen(expected.as_ref()),
                    "{:?} dropped {:?}, told in the order {:?}: {:?}", forgets, past, order, regions
                );
            }
        }
    }

    #[test]
    fn what_was_told_once_changes_nothing_the_second_time(past in deeds(6), present in deeds(7), forgets in any::<[bool; REGIONS]>()) {
        let past = settled(&past);
        let all = Settled::up_to(Stamp::at(Wall(SETTLED)));
        let forgotten = Forgotten { local: &all, sender: &all, flushed: Version::ZERO };
        let regions = apart(past.as_ref(), &present, forgets);
        for order in ORDERS {
            let held = together(&regions, order, forgotten);
            for incoming in regions.iter().flatten() {
                prop_assert_eq!(&told(held.as_ref(), incoming, forgotten), &held);
            }
        }
    }

    #[test]
    fn what_is_over_brings_nothing(past in deeds(9), held in deeds(9), stamp in 0..PRESENT) {
        let (incoming, held) = (settled(&past), settled(&held));
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
