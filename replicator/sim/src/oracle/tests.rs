//! Tests of what the oracle makes of commands.

use super::*;

use greenwich_proto::entry::Deadline;

const KEY: Key = Key::Plain(1);

fn at(stamp: u64, origin: u8) -> Version {
    Version {
        stamp: Stamp(stamp),
        origin: Origin(origin),
    }
}

fn set(stamp: u64, value: &str) -> Effect {
    Effect::Base {
        version: at(stamp, 1),
        body: Some(value.into()),
        deadline: None,
    }
}

fn count(base: Version, amount: i64) -> Effect {
    Effect::Count {
        base,
        amount,
        actor: Actor {
            origin: Origin(1),
            incarnation: 1,
        },
        stamp: Stamp(100),
    }
}

#[test]
fn executes_in_the_order_of_stamps_whatever_the_order_of_arrival() {
    let mut oracle = Oracle::new(2, Duration::ZERO);
    oracle.accept(0, KEY, set(9, "9"), Wall(0));
    oracle.accept(1, KEY, set(5, "5"), Wall(0));
    oracle.accept(1, KEY, count(at(5, 1), 3), Wall(0));
    oracle.accept(1, KEY, count(at(9, 1), 2), Wall(0));
    oracle.accept(
        1,
        KEY,
        Effect::Deadline {
            version: at(10, 2),
            at: Some(Wall(70)),
        },
        Wall(0),
    );
    assert_eq!(
        oracle.outcomes(KEY, Wall(60)),
        [Some(("11".to_owned(), Some(Wall(70))))]
    );
    assert_eq!(oracle.outcomes(KEY, Wall(70)), [None]);
}

#[test]
fn an_increment_belongs_to_a_deletion_that_its_region_forgot() {
    let mut oracle = Oracle::new(1, Duration::ZERO);
    let dead = Effect::Base {
        version: at(7, 1),
        body: None,
        deadline: None,
    };
    oracle.accept(0, KEY, dead, Wall(0));
    oracle.observe(
        0,
        KEY,
        Some(&EntryRef::absent(b"key1", at(7, 1))),
        Version::ZERO,
    );
    oracle.accept(0, KEY, count(Version::ZERO, 4), Wall(0));
    assert_eq!(
        oracle.outcomes(KEY, Wall(0)),
        [Some(("4".to_owned(), None))]
    );
}

#[test]
fn increments_on_a_forgotten_expiry_add_up_whatever_deadline_came_between() {
    const DEADLINE: Wall = Wall(10);
    let mut oracle = Oracle::new(2, Duration::ZERO);
    let mut held = EntryRef::absent(b"key1", at(7, 1));
    held.deadline.at = Some(DEADLINE);
    let written = Effect::Base {
        version: at(7, 1),
        body: Some("5".into()),
        deadline: Some(DEADLINE),
    };
    oracle.accept(0, KEY, written, Wall(0));
    for region in 0..2 {
        oracle.observe(region, KEY, Some(&held), Version::ZERO);
        oracle.forget(region, KEY);
    }
    // Both report the base of a key that never was.
    oracle.accept(0, KEY, count(Version::ZERO, -1), Wall(20));
    let prolonged = Deadline {
        version: at(20 << 16, 1),
        at: Some(Wall(90)),
    };
    let effect = Effect::Deadline {
        version: prolonged.version,
        at: prolonged.at,
    };
    oracle.accept(0, KEY, effect, Wall(20));
    let arrived = EntryRef {
        deadline: prolonged,
        ..EntryRef::absent(b"key1", Version::ZERO)
    };
    oracle.observe(1, KEY, Some(&arrived), Version::ZERO);
    oracle.accept(1, KEY, count(Version::ZERO, 6), Wall(22));
    assert_eq!(
        oracle.outcomes(KEY, Wall(30)),
        [Some(("5".to_owned(), Some(Wall(90))))]
    );
}

/// Seed 600295: a node that had reached nobody in time served without knowing of a deletion, which all have forgotten.
#[test]
fn what_a_life_counted_that_knew_of_no_deletion_may_count() {
    let five = Some(("5".to_owned(), None));
    // The life began at 1.
    for (deleted_ms, may_be) in [(7, vec![None]), (0, vec![None, five])] {
        let mut oracle = Oracle::new(2, Duration::ZERO);
        let dead = Effect::Base {
            version: Version {
                stamp: Stamp::at(Wall(deleted_ms)),
                origin: Origin(1),
            },
            body: None,
            deadline: None,
        };
        oracle.accept(0, KEY, dead, Wall(0));
        oracle.accept(1, KEY, count(Version::ZERO, 5), Wall(0));
        assert_eq!(oracle.outcomes(KEY, Wall(9)), may_be);
    }
}
