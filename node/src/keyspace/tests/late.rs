//! What arrives late: increments, deadlines and deletions of another region, after this one went on without them.

use greenwich_proto::wire::control::Over;

use super::*;

#[test]
fn counting_goes_on_while_only_one_side_has_forgotten_a_deletion() {
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
}

#[test]
fn counting_goes_on_while_only_one_side_has_forgotten_an_expiry() {
    let (a, b) = (keyspace(1), keyspace(2));
    // A counter that nobody ever set: its base is that of a key that never was.
    add(&a, NOW, "n", 7);
    exchange(&a, &b, NOW);
    let deadline = Wall(NOW.0 + 1);
    at(&b, NOW, |access| {
        access.update(b"n", |slot| slot.set_deadline(Some(deadline)))
    });
    exchange(&a, &b, NOW);
    a.settle(Settled::up_to(Stamp::at(LATER + Duration::from_secs(60))));
    let after = LATER + Duration::from_secs(60);
    a.tend(after, 0, SHARDS);
    assert_eq!(a.usage().husks + a.usage().keys, 0, "it is forgotten");
    add(&a, after, "n", 1);
    send(&a, &b, after);
    assert_eq!(get(&b, after, "n").as_deref(), Some("1"));
    add(&b, after, "n", 10);
    exchange(&a, &b, after);
    assert_both(&a, &b, after, "n", "11");
}

#[test]
fn a_write_that_arrives_late_changes_the_fingerprint_although_it_is_not_the_newest() {
    let fingerprint = |space: &Keyspace, now| {
        at(space, now, |access| {
            access.peek(b"n", |view| view.map(|view| view.fingerprint()))
        })
    };
    let (a, b) = (keyspace(1), keyspace(2));
    set(&a, NOW, "n", "10", None);
    exchange(&a, &b, NOW);
    let (before, after) = (Wall(NOW.0 + 10), Wall(NOW.0 + 20));
    add(&b, before, "n", 1);
    add(&a, after, "n", 1);
    let was = fingerprint(&a, after);
    send(&b, &a, after);
    assert_eq!(get(&a, after, "n").as_deref(), Some("12"));
    let counted = fingerprint(&a, after);
    assert_ne!(counted, was, "a total of another region");
    at(&b, before, |access| {
        access.update(b"n", |slot| slot.set_deadline(Some(LATER)))
    });
    add(&a, after, "n", 1);
    let was = fingerprint(&a, after);
    send(&b, &a, after);
    assert_ne!(fingerprint(&a, after), was, "a deadline");
    let unchanged = fingerprint(&a, after);
    send(&b, &a, after);
    assert_eq!(fingerprint(&a, after), unchanged, "what is known already");
}

#[test]
fn a_count_on_what_has_expired_elsewhere_is_no_count_on_what_came_after() {
    let (a, b) = (keyspace(1), keyspace(2));
    add(&a, NOW, "n", 5);
    let deadline = Wall(NOW.0 + 100);
    at(&a, NOW, |access| {
        access.update(b"n", |slot| slot.set_deadline(Some(deadline)))
    });
    exchange(&a, &b, NOW);
    // Stamps run ahead of the clock of b, where the deadline is still to come.
    b.settle(Settled::up_to(Stamp::at(deadline)));
    add(&b, NOW, "n", 7);
    let after = Wall(deadline.0 + 1);
    add(&a, after, "n", 3);
    send(&b, &a, after);
    send(&a, &b, after);
    assert_both(&a, &b, after, "n", "3");
}

#[test]
fn what_was_buried_in_one_region_does_not_come_back_from_another_that_held_it_too() {
    let (a, b) = (keyspace(1), keyspace(2));
    set(&a, NOW, "k", "7", None);
    add(&a, NOW, "k", 1);
    exchange(&a, &b, NOW);
    let newest = a.log().clock().newest();
    let over = |newest| Over {
        key: b"k".into(),
        newest,
        ended: newest,
    };
    assert!(!a.bury(&over(Stamp(newest.0 - 1)), NOW), "it is newer");
    assert!(a.bury(&over(newest), NOW));
    assert_eq!(get(&a, NOW, "k"), None);
    send(&b, &a, NOW);
    assert_eq!(get(&a, NOW, "k"), None);
    add(&a, LATER, "k", 5);
    send(&a, &b, LATER);
    assert_both(&a, &b, LATER, "k", "5");
}
