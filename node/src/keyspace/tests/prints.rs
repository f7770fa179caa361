//! Fingerprints: always those of the entries, equal in regions that heard the same, and of what was written by the end of
//! an epoch, however much has been written since.

use greenwich_proto::{
    fingerprint::{CUTS, EPOCH_MS, epoch_at},
    slots::{KeyHash, SLOTS},
};
use proptest::prelude::*;

use super::*;

const NOWHERE: [usize; 0] = [];
const EPOCH: Duration = Duration::from_millis(EPOCH_MS);

/// The fingerprints at the end of an epoch.
fn prints(space: &Keyspace, epoch: u64) -> Vec<Option<u64>> {
    let mut prints = Vec::new();
    space.prints(epoch, &mut |slot, print| {
        assert_eq!(slot, prints.len());
        prints.push(print);
    });
    prints
}

/// The slots in which two keyspaces differed at the end of the epoch of `now`.
fn differing(a: &Keyspace, b: &Keyspace, now: Wall) -> Vec<usize> {
    let (a, b) = (prints(a, epoch_at(now)), prints(b, epoch_at(now)));
    let pairs = a.iter().zip(&b).enumerate();
    pairs
        .filter(|(_, (a, b))| a != b)
        .map(|(slot, _)| slot)
        .collect()
}

fn slot_of(key: &str) -> usize {
    KeyHash::of(key.as_bytes()).slot()
}

fn expire(space: &Keyspace, now: Wall, key: &str, deadline: Option<Wall>) {
    at(space, now, |access| {
        access.update(key.as_bytes(), |slot| slot.set_deadline(deadline))
    });
}

/// Exchanges everything, flushes too, until nothing is news.
fn exchange_all(a: &Keyspace, b: &Keyspace, now: Wall) {
    for _ in 0..2 {
        exchange(a, b, now);
        b.flush(a.flushed());
        a.flush(b.flushed());
    }
}

#[test]
fn regions_are_equal_as_of_an_epoch_although_one_of_them_goes_on() {
    let (a, b) = (keyspace(1), keyspace(2));
    for n in 0..100 {
        set(&a, NOW, &format!("key:{n}"), "v", None);
    }
    exchange(&a, &b, NOW);
    let next = NOW + EPOCH;
    for n in 90..110 {
        set(&a, next, &format!("key:{n}"), "w", None);
    }
    delete(&a, next, "key:1");
    assert_eq!(differing(&a, &b, NOW), NOWHERE);
    let changed = (90..110).chain([1]).map(|n| slot_of(&format!("key:{n}")));
    let mut changed: Vec<usize> = changed.collect();
    changed.sort_unstable();
    changed.dedup();
    assert_eq!(differing(&a, &b, next), changed);
    exchange(&a, &b, next);
    assert_eq!(differing(&a, &b, next), NOWHERE);
    assert_eq!(
        differing(&a, &b, NOW),
        NOWHERE,
        "what came late was not written by then"
    );
}

#[test]
fn a_deadline_or_a_count_that_only_one_region_heard_of_is_a_difference() {
    let (a, b) = (keyspace(1), keyspace(2));
    let far = Some(NOW + Duration::from_hours(1));
    for key in ["deadline", "count", "deleted"] {
        set(&a, NOW, key, "1", None);
    }
    exchange(&a, &b, NOW);
    assert_eq!(differing(&a, &b, NOW), NOWHERE);
    expire(&a, NOW, "deadline", far);
    assert_eq!(differing(&a, &b, NOW), [slot_of("deadline")]);
    exchange(&a, &b, NOW);
    add(&b, NOW, "count", 1);
    assert_eq!(differing(&a, &b, NOW), [slot_of("count")]);
    exchange(&a, &b, NOW);
    delete(&b, NOW, "deleted");
    assert_eq!(differing(&a, &b, NOW), [slot_of("deleted")]);
    exchange(&a, &b, NOW);
    assert_eq!(differing(&a, &b, NOW), NOWHERE);
}

#[test]
fn what_has_ended_is_no_difference_whoever_still_remembers_it() {
    let (a, b, empty) = (keyspace(1), keyspace(2), keyspace(3));
    set(&a, NOW, "mortal", "v", Some(LATER));
    set(&a, NOW, "deleted", "v", None);
    exchange(&a, &b, NOW);
    delete(&a, NOW, "deleted");
    send(&a, &b, NOW);
    assert_eq!(differing(&a, &empty, NOW), [slot_of("mortal")]);
    let after = LATER + Duration::from_secs(60);
    a.settle(Settled::up_to(Stamp::at(after)));
    a.tend(after, 0, SHARDS);
    assert_eq!((a.usage().husks, b.usage().husks), (0, 1));
    assert_eq!(differing(&a, &empty, after), NOWHERE);
    assert_eq!(differing(&b, &empty, after), NOWHERE);
}

#[test]
fn a_key_ends_with_the_epoch_of_its_deadline_whenever_that_is_seen() {
    let (early, late) = (keyspace(1), keyspace(2));
    // In the middle of an epoch.
    let deadline = Wall((epoch_at(NOW) + 2) * EPOCH_MS + EPOCH_MS / 2);
    set(&early, NOW, "k", "v", Some(deadline));
    send(&early, &late, NOW);
    early.tend(deadline, 0, SHARDS);
    set(&early, deadline + EPOCH, "k", "w", None);
    send(&early, &late, deadline + EPOCH);
    let is_there = |space: &Keyspace, epochs_later| {
        let print = prints(space, epoch_at(NOW) + epochs_later)[slot_of("k")];
        print.expect("it is remembered") != 0
    };
    for space in [&early, &late] {
        assert_eq!(
            [0, 1, 2, 3].map(|later| is_there(space, later)),
            [true, true, false, true]
        );
    }
    assert_eq!(prints(&early, epoch_at(NOW)), prints(&late, epoch_at(NOW)));
}

#[test]
fn a_count_on_what_only_one_side_has_forgotten_is_no_difference() {
    let (a, b) = (keyspace(1), keyspace(2));
    add(&a, NOW, "n", 7);
    exchange(&a, &b, NOW);
    delete(&b, NOW, "n");
    exchange(&a, &b, NOW);
    a.settle(Settled::up_to(Stamp::at(LATER)));
    a.tend(LATER, 0, SHARDS);
    let after = Wall(LATER.0 + 1);
    add(&a, after, "n", 1);
    add(&b, after, "n", 10);
    exchange(&a, &b, after);
    assert_both(&a, &b, after, "n", "11");
    assert_eq!(differing(&a, &b, after), NOWHERE);
}

#[test]
fn a_flush_leaves_the_ends_of_earlier_epochs_as_they_were_or_unknown() {
    // One of the keys ends in the epoch before the flush; somebody has looked since, or nobody has.
    for has_looked in [true, false] {
        let (a, b) = (keyspace(1), keyspace(2));
        for (key, deadline) in [("stays", None), ("ends", Some(NOW + EPOCH))] {
            set(&a, NOW, key, "v", deadline);
        }
        exchange(&a, &b, NOW);
        let ends = |space: &Keyspace| [0, 1, 2].map(|later| prints(space, epoch_at(NOW) + later));
        let flush = NOW + EPOCH + EPOCH;
        if has_looked {
            a.tend(NOW + EPOCH, 0, SHARDS);
        }
        at(&a, flush, |access| access.flush());
        b.flush(a.flushed());
        let is_there = |end: &[Option<u64>], key| end[slot_of(key)].is_none_or(|print| print != 0);
        for of_space in [ends(&a), ends(&b)] {
            let stays = of_space.each_ref().map(|end| is_there(end, "stays"));
            assert_eq!(stays, [true, true, false]);
        }
        let of_ends = |space| ends(space).map(|end| end[slot_of("ends")]);
        let (of_a, of_b) = (of_ends(&a), of_ends(&b));
        assert_eq!((of_a[0], of_a[2], of_b[1]), (of_b[0], Some(0), Some(0)));
        assert_eq!(of_a[1], has_looked.then_some(0));
        assert!(of_a[0].is_some_and(|print| print != 0));
    }
}

#[test]
fn an_end_that_is_too_long_ago_is_not_known() {
    let space = keyspace(1);
    set(&space, NOW, "k", "v", None);
    let slot = slot_of("k");
    assert!(prints(&space, epoch_at(NOW))[slot].is_some());
    let mut now = NOW;
    for _ in 0..=CUTS {
        now = now + EPOCH;
        set(&space, now, "k", "v", None);
    }
    assert_eq!(prints(&space, epoch_at(NOW))[slot], None);
    assert!(prints(&space, epoch_at(NOW) + 1)[slot].is_some());
}

#[test]
fn slots_list_every_entry_once_and_the_dead_too() {
    let space = keyspace(1);
    for n in 0..500 {
        set(&space, NOW, &format!("key:{n}"), "v", None);
        if n % 3 == 0 {
            delete(&space, NOW, &format!("key:{n}"));
        }
    }
    let (mut listed, mut swept) = (Vec::new(), Vec::new());
    for first in (0..SLOTS).step_by(7) {
        let slots = first..SLOTS.min(first + 7);
        space.list_slots(slots.clone(), &mut |key, entry| {
            assert_eq!(KeyHash::of(layout::key_of(entry)), key);
            assert!(slots.contains(&key.slot()));
            listed.push(entry.to_vec());
        });
    }
    space.sweep(0, usize::MAX, &mut |entry| swept.push(entry.to_vec()));
    listed.sort();
    swept.sort();
    assert_eq!(listed, swept);
}

/// What happens to two keyspaces.
#[derive(Clone, Debug)]
enum Happening {
    Set(usize, Option<u64>),
    Delete(usize),
    Expire(usize, Option<u64>),
    Count(usize),
    Together(usize, usize),
    Flush,
    /// One of them hears of everything that the other holds, but of no flush.
    Hear,
    Exchange,
    Settle,
    Tend,
    Look(u64),
}

const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn happening() -> impl Strategy<Value = Happening> {
    let key = || 0..KEYS.len();
    let deadline = || prop::option::of(1..20_000_u64);
    prop_oneof![
        6 => (key(), deadline()).prop_map(|(key, at)| Happening::Set(key, at)),
        2 => key().prop_map(Happening::Delete),
        3 => (key(), deadline()).prop_map(|(key, at)| Happening::Expire(key, at)),
        4 => key().prop_map(Happening::Count),
        2 => (key(), key()).prop_map(|(one, other)| Happening::Together(one, other)),
        1 => Just(Happening::Flush),
        3 => Just(Happening::Hear),
        2 => Just(Happening::Exchange),
        1 => Just(Happening::Settle),
        3 => Just(Happening::Tend),
        2 => (0..4_u64).prop_map(Happening::Look),
    ]
}

fn happen(here: &Keyspace, there: &Keyspace, now: Wall, what: &Happening) {
    let after = |span: &Option<u64>| span.map(|span| Wall(now.0 + span));
    match what {
        Happening::Set(key, span) => set(here, now, KEYS[*key], "1", after(span)),
        Happening::Delete(key) => drop(delete(here, now, KEYS[*key])),
        Happening::Expire(key, span) => expire(here, now, KEYS[*key], after(span)),
        Happening::Count(key) => drop(add(here, now, KEYS[*key], 1)),
        Happening::Together(one, other) => {
            let keys = [KEYS[*one].as_bytes(), KEYS[*other].as_bytes()];
            at(here, now, |access| {
                access.together(&keys, &keys, |access| {
                    for key in keys {
                        access.update(key, |slot| slot.set(b"2", None));
                    }
                });
            });
        }
        Happening::Flush => at(here, now, |access| access.flush()),
        Happening::Hear => send(there, here, now),
        Happening::Exchange => exchange_all(here, there, now),
        Happening::Settle => {
            exchange_all(here, there, now);
            let heard = here.log().clock().stamp(now);
            there.log().clock().observe(heard, now).unwrap();
            here.settle(Settled::up_to(heard));
            there.settle(Settled::up_to(heard));
        }
        Happening::Tend => drop(here.tend(now, 0, SHARDS)),
        Happening::Look(epochs_ago) => drop(prints(here, epoch_at(now) - epochs_ago)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn fingerprints_are_those_of_the_entries_whatever_happens(
        happenings in prop::collection::vec((any::<bool>(), 0..3_000_u64, happening()), 1..40),
    ) {
        let spaces = [keyspace(1), keyspace(2)];
        let mut now = NOW;
        for (is_second, pause, what) in &happenings {
            now = Wall(now.0 + pause);
            let (here, there) = (usize::from(*is_second), usize::from(!*is_second));
            happen(&spaces[here], &spaces[there], now, what);
            for space in &spaces {
                prop_assert_eq!(space.miscounted(), None, "after {:?}", what);
            }
        }
        let [a, b] = &spaces;
        exchange_all(a, b, now);
        prop_assert_eq!(differing(a, b, now), NOWHERE);
        // And when all of it has ended and is forgotten.
        for space in [a, b] {
            space.settle(Settled::up_to(Stamp::at(now + Duration::from_mins(2))));
            space.tend(now + Duration::from_mins(2), 0, SHARDS);
            prop_assert_eq!(space.miscounted(), None);
        }
        prop_assert_eq!(differing(a, b, now + Duration::from_mins(2)), NOWHERE);
    }
}
