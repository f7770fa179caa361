//! Two peers fall off the log at one place, while a third keeps up.
//!
//! A batch is built once for all peers at one place. What was collected for a peer before one lane turned out to be cut short was
//! sent to the next peer at that place once, which was taken for as far as the third then: it lacked for good what was dropped.

#[path = "common/wired.rs"]
mod wired;

use std::time::Duration;

use greenwich_proto::{
    log::LANES,
    peer::{Limits, WindowLimits},
    time::Time,
};
use greenwich_sim::{
    Direct, Swarm,
    region::Region,
    workload::{Expiry, Key, Operation},
};
use wired::{Ends, Wired, region};

const REGIONS: usize = 4;
const SLOW: [usize; 2] = [1, 2];
const FAST: usize = 3;
/// The log drops some of what stands in this lane, and nothing of the others.
const CUT_SHORT: usize = 9;
/// So many keys of one lane fill more than a segment of it.
const DROPPED: usize = 40;
const PADDING: usize = 3_000;
const ROUNDS: usize = 20;
const ROUND: Duration = Duration::from_millis(10);

fn swarm() -> Swarm {
    let mut swarm = Swarm::draw(0);
    (swarm.regions, swarm.horizon_ms) = (REGIONS, 0);
    (swarm.log_bytes, swarm.key_padding) = (0, PADDING);
    // A piece of a sweep fills the window, so that a peer that fell asks for no other batch before the next one looks.
    swarm.limits = Limits {
        window: WindowLimits {
            min_bytes: 1_000,
            max_bytes: 1_000,
        },
        ..Limits::default()
    };
    swarm
}

fn write(to: &Region<Direct>, key: Key, now: Time) -> usize {
    let operation = Operation::Set(key, "value".to_owned(), Expiry::None);
    let marks = to.perform(now, &operation, &[]).marks;
    let mut lanes = 0..LANES;
    let lane = lanes.find(|lane| marks.in_lane(*lane) > 0);
    lane.expect("a write stands in a lane")
}

/// A key of every lane, but of the one that is cut short more than it holds.
fn keys() -> Vec<Key> {
    let elsewhere = &region(0, &swarm());
    let of_lane = |lane| {
        let is_there = move |key: &Key| write(elsewhere, *key, Time(0)) == lane;
        let count = if lane == CUT_SHORT { DROPPED } else { 1 };
        (0..).map(Key::Plain).filter(is_there).take(count)
    };
    (0..LANES).flat_map(of_lane).collect()
}

/// Lets time pass until nothing is sent any more.
fn pass(cluster: &mut Wired, ends: &[Ends]) {
    (0..ROUNDS).for_each(|_| cluster.pass(ROUND, ends));
}

#[test]
fn nobody_is_sent_what_was_collected_for_a_peer_that_fell() {
    let mut cluster = Wired::new(&swarm());
    let links = [(0, SLOW[0]), (0, SLOW[1]), (0, FAST)];
    let both = [links, links.map(|(at, other)| (other, at))].concat();
    cluster.link(&both);
    pass(&mut cluster, &both);
    let sweeps = |cluster: &Wired| {
        links.map(|(_, peer)| {
            let session = cluster.regions[0].session(peer).expect("configured");
            session.sent().sweeps
        })
    };
    let [slow, slower, fast] = sweeps(&cluster);

    let keys = keys();
    for key in &keys {
        write(&cluster.regions[0], *key, cluster.now);
        cluster.pass(ROUND, &[(0, FAST), (FAST, 0)]);
    }
    pass(&mut cluster, &both);

    assert_eq!(sweeps(&cluster), [slow + 1, slower + 1, fast], "who fell");
    for region in &cluster.regions {
        let lacks = |key: &&Key| region.with_entry(**key, |entry| entry.is_none());
        let lacking = keys.iter().find(lacks);
        assert_eq!(lacking, None, "in region {}", region.index);
    }
}
