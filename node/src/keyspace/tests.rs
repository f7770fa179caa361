//! The keyspace on its own, and two keyspaces that exchange what they hold.

mod flush;
mod folding;
mod late;
mod prints;
mod walk;

use std::{sync::Arc, time::Duration};

use greenwich_proto::{
    decimal::Decimal,
    entry::{layout, totals::Actor},
    hlc::{Clock, Origin, Stamp},
    log::{Change, Cursor, LANES, Log, Marks},
    settled::Settled,
    store::Store,
    time::Wall,
};

use super::*;

const NOW: Wall = Wall(1_800_000_000_000);
const LATER: Wall = Wall(NOW.0 + 10_000);

fn keyspace(origin: u8) -> Keyspace {
    let log = Log::new(Clock::new(Duration::from_secs(5)), 1, 1 << 20);
    Keyspace::new(
        Arc::new(log),
        Actor {
            origin: Origin(origin),
            incarnation: 1,
        },
        7,
    )
}

fn at<R>(space: &Keyspace, now: Wall, act: impl FnOnce(&mut Access<'_>) -> R) -> R {
    act(&mut Access::new(space, now, &mut Marks::default()))
}

fn set(space: &Keyspace, now: Wall, key: &str, value: &str, deadline: Option<Wall>) {
    at(space, now, |access| {
        access.update(key.as_bytes(), |slot| slot.set(value.as_bytes(), deadline))
    });
}

fn get(space: &Keyspace, now: Wall, key: &str) -> Option<String> {
    at(space, now, |access| {
        access.read(key.as_bytes(), |view| {
            view.map(|view| String::from_utf8(view.value().into_owned()).unwrap())
        })
    })
}

#[track_caller]
fn assert_both(a: &Keyspace, b: &Keyspace, now: Wall, key: &str, value: &str) {
    let held = (get(a, now, key), get(b, now, key));
    assert_eq!(held, (Some(value.into()), Some(value.into())));
}

fn add(space: &Keyspace, now: Wall, key: &str, amount: i64) -> i64 {
    let sum = at(space, now, |access| {
        access.update(key.as_bytes(), |slot| slot.add(Decimal::from(amount)))
    });
    sum.unwrap().to_i64().unwrap()
}

fn delete(space: &Keyspace, now: Wall, key: &str) -> bool {
    at(space, now, |access| {
        access.update(key.as_bytes(), |slot| slot.delete())
    })
}

/// Gives everything that `from` holds to `to`.
fn send(from: &Keyspace, to: &Keyspace, now: Wall) {
    let mut entries = Vec::new();
    assert_eq!(
        from.sweep(0, usize::MAX, &mut |entry| entries.push(entry.to_vec())),
        None
    );
    for entry in entries {
        let entry = layout::decode(&entry).unwrap();
        to.log().clock().observe(entry.newest(), now).unwrap();
        to.join(&[entry], &from.settled(), now);
    }
}

fn exchange(a: &Keyspace, b: &Keyspace, now: Wall) {
    send(a, b, now);
    send(b, a, now);
}

#[test]
fn a_value_is_there_until_its_deadline() {
    let space = keyspace(1);
    set(&space, NOW, "k", "v", Some(LATER));
    assert_eq!(get(&space, NOW, "k").as_deref(), Some("v"));
    assert_eq!(get(&space, Wall(LATER.0 - 1), "k").as_deref(), Some("v"));
    assert_eq!(get(&space, LATER, "k"), None);
    assert!(
        !delete(&space, LATER, "k"),
        "an expired key cannot be deleted"
    );
    assert_eq!(
        add(&space, LATER, "k", 3),
        3,
        "an expired key counts from zero"
    );
    assert_eq!(
        get(&space, Wall(LATER.0 + 10_000), "k").as_deref(),
        Some("3"),
        "and without a deadline"
    );
}

#[test]
fn concurrent_increments_add_up_and_a_later_set_wins_over_them() {
    let (a, b) = (keyspace(1), keyspace(2));
    set(&a, NOW, "k", "10", None);
    exchange(&a, &b, NOW);
    add(&a, NOW, "k", 5);
    add(&b, NOW, "k", -2);
    exchange(&a, &b, NOW);
    exchange(&a, &b, NOW);
    assert_both(&a, &b, NOW, "k", "13");
    set(&b, NOW, "k", "100", None);
    add(&a, NOW, "k", 1);
    exchange(&a, &b, NOW);
    assert_both(&a, &b, NOW, "k", "100");
}

#[test]
fn increments_after_an_expiry_add_up_whichever_region_saw_it_first() {
    let (a, b) = (keyspace(1), keyspace(2));
    set(&a, NOW, "k", "10", Some(LATER));
    exchange(&a, &b, NOW);
    add(&a, LATER, "k", 1);
    add(&b, Wall(LATER.0 + 5), "k", 2);
    exchange(&a, &b, Wall(LATER.0 + 5));
    assert_both(&a, &b, LATER, "k", "3");
}

#[test]
fn an_extension_that_arrives_after_the_deadline_brings_the_value_back() {
    let (a, b) = (keyspace(1), keyspace(2));
    set(&a, NOW, "k", "v", Some(LATER));
    exchange(&a, &b, NOW);
    let far = Wall(LATER.0 + 60_000);
    at(&b, NOW, |access| {
        access.update(b"k", |slot| slot.set_deadline(Some(far)))
    });
    a.tend(LATER, 0, SHARDS);
    assert_eq!(get(&a, LATER, "k"), None);
    send(&b, &a, LATER);
    assert_eq!(get(&a, LATER, "k").as_deref(), Some("v"));
}

#[test]
fn a_deadline_set_in_ignorance_of_an_expired_value_applies_to_it_everywhere() {
    let (a, b) = (keyspace(1), keyspace(2));
    set(&a, NOW, "k", "old", None);
    exchange(&a, &b, NOW);
    set(&a, Wall(NOW.0 + 1), "k", "new", Some(LATER));
    let far = Wall(LATER.0 + 60_000);
    at(&b, Wall(NOW.0 + 2), |access| {
        access.update(b"k", |slot| slot.set_deadline(Some(far)))
    });
    a.tend(LATER, 0, SHARDS);
    exchange(&a, &b, LATER);
    assert_both(&a, &b, LATER, "k", "new");
}

#[test]
fn the_dead_are_forgotten_once_settled_and_do_not_come_back() {
    let (a, b) = (keyspace(1), keyspace(2));
    set(&a, NOW, "k", "v", None);
    add(&a, NOW, "n", 7);
    exchange(&a, &b, NOW);
    let mut replay = Vec::new();
    a.sweep(0, usize::MAX, &mut |entry| replay.push(entry.to_vec()));
    assert!(delete(&b, NOW, "k") && delete(&b, NOW, "n"));
    exchange(&a, &b, NOW);
    a.tend(LATER, 0, SHARDS);
    assert_eq!(a.usage().husks, 2, "kept until settled");
    a.settle(Settled::up_to(Stamp::at(LATER)));
    a.tend(LATER, 0, SHARDS);
    assert_eq!(a.usage(), Usage::default());
    for entry in &replay {
        a.join(&[layout::decode(entry).unwrap()], Settled::NOTHING, LATER);
    }
    assert_eq!((get(&a, LATER, "k"), get(&a, LATER, "n")), (None, None));
}

#[test]
fn an_expired_value_that_must_be_kept_is_no_key() {
    let space = keyspace(1);
    let deadline = Wall(NOW.0 + 5);
    set(&space, NOW, "a", "1", Some(deadline));
    set(&space, NOW, "b", "1", None);
    let counts = || {
        let usage = space.usage();
        (usage.keys, usage.mortal_keys, usage.husks)
    };
    let assert_husks = |keys: &[&[u8]]| {
        let mut bytes = 0;
        space.export(keys, &mut |entry| bytes += entry.len());
        assert_eq!(space.usage().husk_bytes, bytes);
    };
    assert_eq!(counts(), (2, 1, 0));
    for _ in 0..2 {
        space.tend(deadline, 0, SHARDS);
        assert_eq!(counts(), (1, 0, 1));
        assert_husks(&[b"a"]);
    }
    // It lives again, and ends again.
    set(&space, deadline, "a", "2", Some(LATER));
    assert_eq!(counts(), (2, 1, 0));
    assert_husks(&[]);
    space.tend(LATER, 0, SHARDS);
    assert_eq!(counts(), (1, 0, 1));
    delete(&space, LATER, "b");
    assert_eq!(counts(), (0, 0, 2));
    assert_husks(&[b"a", b"b"]);
    space.settle(Settled::up_to(Stamp::at(LATER + Duration::from_secs(60))));
    space.tend(LATER + Duration::from_secs(60), 0, SHARDS);
    assert_eq!((counts(), space.usage().entry_bytes), ((0, 0, 0), 0));
}

#[test]
fn what_is_written_together_has_one_stamp_and_one_record() {
    let space = keyspace(1);
    let keys: [&[u8]; 3] = [b"a", b"b", b"c"];
    at(&space, NOW, |access| {
        access.together(&keys, &keys[..2], |access| {
            access.update(b"a", |slot| slot.set(b"1", None));
            access.update(b"b", |slot| slot.set(b"2", None));
        });
    });
    let mut records = Vec::new();
    for lane in 0..LANES {
        let read = space.log().read(lane, &mut Cursor::default(), |record| {
            let Change::Keys(keys) = record.change else {
                panic!("a unit is looked up");
            };
            records.push(keys.iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
            true
        });
        assert_eq!(read, Ok(()));
    }
    assert_eq!(records, [[b"a".to_vec(), b"b".to_vec()]]);
    let mut stamps = Vec::new();
    space.export(&keys, &mut |entry| stamps.push(layout::view(entry).version));
    assert_eq!(stamps.len(), 2);
    assert_eq!(stamps[0], stamps[1]);
}

#[test]
fn counters_follow_the_keys() {
    let space = keyspace(1);
    set(&space, NOW, "a", "v", None);
    set(&space, NOW, "b", "v", Some(LATER));
    add(&space, NOW, "c", 1);
    delete(&space, NOW, "a");
    let usage = space.usage();
    assert_eq!((usage.keys, usage.mortal_keys, usage.husks), (2, 1, 1));
    let mut bytes = 0;
    space.sweep(0, usize::MAX, &mut |entry| bytes += entry.len());
    assert_eq!(usage.entry_bytes, bytes);
}

#[test]
fn each_expiry_is_counted_once_whoever_overwrites_it_and_however_often_the_shard_is_tended() {
    let (a, b) = (keyspace(1), keyspace(2));
    let after = Wall(LATER.0 + 1);
    let count = |space: &Keyspace, now: Wall| {
        space.tend(now, 0, SHARDS);
        space.expired()
    };
    for key in ["stays", "set", "counted", "flushed"] {
        set(&a, NOW, key, "1", Some(LATER));
    }
    set(&a, NOW, "overwritten alive", "1", Some(LATER));
    set(&a, NOW, "overwritten alive", "1", None);
    assert_eq!(count(&a, Wall(LATER.0 - 1)), 0);

    set(&a, LATER, "set", "2", None);
    add(&a, LATER, "counted", 1);
    assert_eq!(count(&a, LATER), 4);
    assert_eq!(count(&a, after), 4, "they are still held");
    set(&a, after, "stays", "2", Some(Wall(after.0 + 5)));
    assert_eq!(count(&a, after), 4, "overwriting it is no second end");
    assert_eq!(count(&a, Wall(after.0 + 5)), 5, "its next deadline is");

    // What arrives dead never lived here, whether it is met by the count, a write or a flush.
    set(&b, NOW, "stays", "1", Some(LATER));
    for key in ["x", "y", "z"] {
        set(
            &a,
            Wall(NOW.0 + 20_000),
            key,
            "1",
            Some(Wall(NOW.0 + 20_100)),
        );
    }
    let late = Wall(NOW.0 + 30_000);
    assert_eq!(count(&b, LATER), 1);
    send(&a, &b, late);
    add(&b, late, "x", 1);
    assert_eq!(count(&b, late), 1);
    send(&a, &b, late);
    let c = keyspace(3);
    send(&a, &c, late);
    at(&c, late, |access| access.flush());
    assert_eq!(count(&c, late), 0);
    set(&c, late, "x", "1", Some(Wall(late.0 + 1)));
    assert_eq!(count(&c, Wall(late.0 + 1)), 1, "nothing is owed after it");
}

#[test]
fn only_lookups_count_as_hits_and_misses() {
    let space = keyspace(1);
    set(&space, NOW, "k", "v", Some(LATER));
    let counted = |now, key: &str| {
        at(&space, now, |access| {
            access.together(&[key.as_bytes()], &[], |access| {
                access.read(key.as_bytes(), |_| ());
                access.peek(key.as_bytes(), |_| ());
                access.update(key.as_bytes(), |slot| {
                    let (seen, read) = (slot.view().is_some(), slot.read().is_some());
                    assert_eq!(seen, read);
                });
            });
            access.lookups()
        })
    };
    let (hits, misses) = (2, 2);
    assert_eq!(counted(NOW, "k"), Lookups { hits, misses: 0 });
    assert_eq!(counted(NOW, "none"), Lookups { hits: 0, misses });
    assert_eq!(counted(LATER, "k"), Lookups { hits: 0, misses });
}
