//! FLUSHALL, here and from elsewhere.

use super::*;

#[test]
fn a_flush_deletes_what_was_written_before_it_and_nothing_else() {
    let (a, b) = (keyspace(1), keyspace(2));
    set(&b, NOW, "before", "v", None);
    at(&a, LATER, |access| access.flush());
    add(&a, LATER, "after", 4);
    exchange(&a, &b, LATER);
    b.flush(a.flushed());
    assert_eq!(
        (get(&a, LATER, "before"), get(&b, LATER, "before")),
        (None, None)
    );
    assert_both(&a, &b, LATER, "after", "4");
}

#[test]
fn whoever_reads_the_record_of_a_flush_finds_its_version() {
    let space = keyspace(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..200 {
                at(&space, NOW, |access| access.flush());
            }
        });
        let mut cursor = Cursor::default();
        while cursor.seq < 200 {
            let mut newest = Stamp::ZERO;
            let read = space.log().read(0, &mut cursor, |record| {
                newest = record.stamp;
                true
            });
            assert_eq!(read, Ok(()));
            assert!(space.flushed().stamp >= newest);
        }
    });
}

#[test]
fn what_is_flushed_is_freed_by_tending_and_waits_for_it_within_a_limit() {
    let space = keyspace(1);
    for _ in 0..3 {
        for n in 0..5_000 {
            set(&space, NOW, &n.to_string(), "v", None);
        }
        at(&space, NOW, |access| access.flush());
        assert_eq!(space.usage(), Usage::default());
        assert!((SHARDS / 2..=SHARDS).contains(&space.waiting()));
    }
    let step = 32;
    for first in (0..SHARDS).step_by(step) {
        let before = space.waiting();
        space.tend(NOW, first, step);
        assert_eq!(space.waiting(), before.saturating_sub(step));
    }
    assert_eq!(space.waiting(), 0);
}

#[test]
fn a_flush_inside_a_transaction_frees_nothing_before_its_end() {
    let space = keyspace(1);
    set(&space, NOW, "k", "v", None);
    at(&space, NOW, |access| {
        access.with_all(&[b"k"], |access| {
            access.flush();
            access.update(b"k", |slot| slot.set(b"after", None));
            assert_eq!(space.waiting(), 0);
        });
    });
    assert_eq!(space.waiting(), 1);
    assert_eq!(get(&space, NOW, "k").as_deref(), Some("after"));
}

#[test]
fn values_that_expired_before_a_flush_are_counted_once() {
    let space = keyspace(1);
    let after = Wall(LATER.0 + 1);
    let names: Vec<String> = (0..)
        .map(|n| n.to_string())
        .filter(|name| space.place(name.as_bytes()).shard() == 0)
        .take(4)
        .collect();
    set(&space, NOW, &names[0], "expires", Some(LATER));
    set(&space, NOW, &names[1], "is overwritten", Some(LATER));
    set(&space, NOW, &names[2], "is flushed alive", Some(after));
    set(&space, LATER, &names[1], "v", None);
    at(&space, LATER, |access| access.flush());
    assert_eq!(space.expired(), 0, "nobody has looked");
    set(
        &space,
        LATER,
        &names[3],
        "expires after the flush",
        Some(after),
    );
    space.tend(after, 0, SHARDS);
    assert_eq!(space.expired(), 3);
    at(&space, after, |access| access.flush());
    space.tend(after, 0, SHARDS);
    assert_eq!(space.expired(), 3, "what was counted is not counted again");
}

#[test]
fn a_flush_that_arrives_keeps_what_is_later_as_it_was() {
    let (space, other) = (keyspace(1), keyspace(2));
    let between = Wall(NOW.0 + 5_000);
    let keys: [&[u8]; 2] = [b"one", b"two"];
    set(&space, NOW, "old", "v", None);
    set(&space, NOW, "extended", "v", None);
    set(&space, LATER, "later", "v", None);
    at(&space, LATER, |access| {
        access.update(b"extended", |slot| {
            slot.set_deadline(Some(Wall(LATER.0 + 5)))
        });
        access.together(&keys, &keys, |access| {
            access.update(b"one", |slot| slot.set(b"1", None));
            access.update(b"two", |slot| slot.set(b"2", Some(Wall(LATER.0 + 5))));
        });
    });
    at(&other, between, |access| access.flush());
    space.flush(other.flushed());
    let held = ["old", "extended", "later", "one", "two"].map(|key| get(&space, LATER, key));
    let expected = [None, None, Some("v"), Some("1"), Some("2")];
    assert_eq!(held.each_ref().map(Option::as_deref), expected);
    let (mut bytes, mut of_units) = (0, 0);
    space.sweep(0, usize::MAX, &mut |entry| {
        bytes += entry.len();
        of_units += usize::from(layout::is_of_unit(entry));
    });
    let usage = space.usage();
    assert_eq!((usage.entry_bytes, of_units), (bytes, 2));
    assert_eq!((usage.keys, usage.mortal_keys, usage.husks), (3, 1, 1));
    add(&space, LATER, "extended", 1);
    space.tend(Wall(LATER.0 + 5), 0, SHARDS);
    assert_eq!(space.expired(), 2, "deadlines are still watched");
    assert_eq!(get(&space, Wall(LATER.0 + 5), "extended").as_deref(), None);
}
