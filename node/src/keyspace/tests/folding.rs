//! Counters that many lives of a region have counted on.

use greenwich_proto::{entry::totals::Totals, lives::Ended};

use super::*;

const LIVES: u64 = 20;

fn life(origin: u8, incarnation: u64) -> Keyspace {
    let log = Log::new(Clock::new(Duration::from_secs(5)), 1, 1 << 20);
    let actor = Actor {
        origin: Origin(origin),
        incarnation,
    };
    Keyspace::new(Arc::new(log), actor, 7)
}

/// A region that was there all the time, and the last of the lives of another one: each counted once on each key.
fn counted(keys: &[&str]) -> (Keyspace, Keyspace) {
    let witness = keyspace(2);
    let mut last = life(1, 1);
    for incarnation in 1..=LIVES {
        last = life(1, incarnation);
        send(&witness, &last, NOW);
        for key in keys {
            add(&last, NOW, key, 1);
        }
        send(&last, &witness, NOW);
    }
    (witness, last)
}

/// Everybody has heard everything, and the lives of region 1 before this one are over.
fn settle(space: &Keyspace, present: u64) {
    let present = [(1, present), (2, 1)].map(|(origin, incarnation)| Actor {
        origin: Origin(origin),
        incarnation,
    });
    let as_of = Stamp::at(LATER);
    let ended = Ended::before(present.into_iter().collect(), as_of);
    space.settle(Settled::up_to(as_of).with_ended(ended));
    space.tend(LATER, 0, SHARDS);
}

#[test]
fn a_counter_of_twenty_lives_takes_the_bytes_of_two_totals() {
    let (witness, last) = counted(&["n"]);
    let before = witness.usage().entry_bytes;
    settle(&witness, LIVES);
    let freed = usize::try_from(LIVES - 2).unwrap() * Totals::ENTRY_BYTES;
    assert_eq!(witness.usage().entry_bytes, before - freed);
    assert_eq!(last.usage().entry_bytes, before, "it knows of nothing");
    assert!(witness.has_folded() && !last.has_folded());
    assert_eq!(witness.miscounted(), None);
    assert_both(&witness, &last, LATER, "n", "20");
    let after = Wall(LATER.0 + 1);
    add(&last, after, "n", 1);
    add(&witness, after, "n", 10);
    exchange(&witness, &last, after);
    assert_both(&witness, &last, after, "n", "31");
    assert!(last.has_folded(), "it was told so");
}

#[test]
fn folding_is_no_write() {
    let (witness, _) = counted(&["n"]);
    let fingerprint = || {
        at(&witness, LATER, |access| {
            access.peek(b"n", |view| view.map(|view| view.fingerprint()))
        })
    };
    let heads = || (0..LANES).map(|lane| witness.log().head(lane));
    let before = (fingerprint(), heads().collect::<Vec<_>>());
    settle(&witness, LIVES);
    assert_eq!((fingerprint(), heads().collect()), before);
}

#[test]
fn a_life_that_is_not_over_is_not_folded() {
    let (witness, _) = counted(&["n"]);
    let before = witness.usage().entry_bytes;
    settle(&witness, 2);
    assert_eq!(witness.usage().entry_bytes, before, "one is over");
    settle(&witness, 3);
    assert_eq!(witness.usage().entry_bytes, before, "not looked at again");
    assert_eq!(get(&witness, LATER, "n").as_deref(), Some("20"));
}

#[test]
fn many_counters_of_one_shard_are_folded_a_part_at_a_time() {
    let space = life(1, 1);
    let shard = space.place(b"n0").shard();
    let keys = (0..).map(|at| format!("n{at}"));
    let keys: Vec<String> = keys
        .filter(|key| space.place(key.as_bytes()).shard() == shard)
        .take(300)
        .collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let (witness, _) = counted(&keys);
    settle(&witness, LIVES);
    assert_eq!(witness.folded(), 256);
    witness.tend(LATER, 0, SHARDS);
    witness.tend(LATER, 0, SHARDS);
    assert_eq!(witness.folded(), 300);
}
