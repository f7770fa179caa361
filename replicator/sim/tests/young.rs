//! A key is written again right after the end of an epoch, and beneath it lies what a region that has died told only one other.
//!
//! Keys that were written after the end were left out of the lists of a comparison, and a repair that changes nothing counts as
//! equal: two regions were called equal while one held what the other lacked. What was written since, and has not arrived, is no
//! difference.

#[path = "common/wired.rs"]
mod wired;

use std::time::Duration;

use greenwich_proto::{
    entry::{Body, EntryRef, layout},
    fingerprint::{end_of, epoch_at},
    hlc::{Origin, Stamp, Version},
    settled::Settled,
    slots::KeyHash,
    store::Store,
};
use greenwich_sim::{
    Swarm,
    workload::{Key, Operation},
};
use wired::{Wired, between};

const DEAD: usize = 2;
const KEY: Key = Key::Plain(0);
const STEP: Duration = Duration::from_millis(10);
/// Ten seconds: an epoch is one.
const STEPS_MAX: usize = 1_000;

/// Two regions that are linked, and one that nobody reaches.
fn cluster() -> Wired {
    let mut swarm = Swarm::draw(0);
    (swarm.regions, swarm.horizon_ms, swarm.loading_patience_ms) = (3, 0, 0);
    (swarm.log_bytes, swarm.key_padding) = (1 << 20, 0);
    let mut cluster = Wired::new(&swarm);
    cluster.link(&between(&[0, 1]));
    cluster
}

fn pass_until(cluster: &mut Wired, mut is_so: impl FnMut(&Wired) -> bool) {
    for _ in 0..STEPS_MAX {
        if is_so(cluster) {
            return;
        }
        cluster.pass(STEP, &between(&[0, 1]));
    }
    panic!("in vain");
}

fn equal_as_of(cluster: &Wired) -> Option<Stamp> {
    let of = |at: usize| {
        let report = cluster.regions[at].report(1 - at, cluster.now)?;
        report.compares.equal_as_of
    };
    of(0).max(of(1))
}

/// The epoch after some time.
fn epoch_in(cluster: &Wired, time: Duration) -> u64 {
    epoch_at(cluster.regions[0].clock.read(cluster.now + time))
}

/// How many regions have counted on the key, as far as one has heard.
fn counted(cluster: &Wired, at: usize) -> usize {
    cluster.regions[at].with_entry(KEY, |entry| {
        entry.map_or(0, |entry| entry.totals.iter().count())
    })
}

#[test]
fn what_lies_beneath_a_key_that_was_written_again_is_found() {
    let mut cluster = cluster();
    pass_until(&mut cluster, |cluster| equal_as_of(cluster).is_some());
    let before = epoch_in(&cluster, Duration::ZERO) + 1;
    pass_until(&mut cluster, |cluster| {
        epoch_in(cluster, Duration::ZERO) == before
    });

    let count = Operation::Increment(KEY, 1);
    cluster.regions[DEAD].perform(cluster.now, &count, &[]);
    let told = cluster.regions[DEAD].with_entry(KEY, |entry| entry.map(layout::to_box));
    let told = told.expect("it was counted");
    let wall = cluster.regions[0].clock.read(cluster.now);
    let heard = layout::view(&told);
    cluster.regions[0]
        .keyspace
        .join(&[heard], Settled::NOTHING, wall);

    let slot = KeyHash::of(heard.key).slot();

    // Right after the end, and before any session looks: nothing was compared yet.
    pass_until(&mut cluster, |cluster| epoch_in(cluster, STEP) > before);
    cluster.now = cluster.now + STEP;
    cluster.regions[1].perform(cluster.now, &count, &[]);
    put_on_its_way(&cluster, slot);
    let has_ended = |cluster: &Wired| equal_as_of(cluster) >= Some(end_of(before));
    assert!(!has_ended(&cluster), "it was compared too early");
    assert_eq!(counted(&cluster, 1), 1);
    pass_until(&mut cluster, has_ended);
    let both = [0, 1].map(|at| counted(&cluster, at));
    assert_eq!(both, [2, 2], "both count what two regions have counted");
    let report = cluster.regions[0].report(1, cluster.now).expect("linked");
    assert_eq!(report.compares.repaired, 1, "the other key was on its way");
}

/// Region 0 holds a key of a slot that was written at this moment, and region 1 does not.
fn put_on_its_way(cluster: &Wired, slot: usize) {
    let mut names = (0..).map(|number: u64| number.to_le_bytes());
    let name = names.find(|name| KeyHash::of(name).slot() == slot);
    let wall = cluster.regions[0].clock.read(cluster.now);
    let version = Version {
        stamp: Stamp::at(wall),
        origin: Origin(3),
    };
    let name = name.expect("every slot has keys");
    let entry = EntryRef {
        body: Body::Bytes(b"value"),
        ..EntryRef::absent(&name, version)
    };
    cluster.regions[0]
        .keyspace
        .join(&[entry], Settled::NOTHING, wall);
}
