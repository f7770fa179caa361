//! Two peers fall off the log at one place, while a third keeps up.
//!
//! A batch is built once for all peers at one place. What was collected for a peer before one lane turned out to be cut short was
//! sent to the next peer at that place once, which was taken for as far as the third then: it lacked for good what was dropped.

use std::collections::VecDeque;

use greenwich_proto::{
    log::LANES,
    members::Members,
    peer::{Input, Limits, Output, WindowLimits},
    time::Time,
};
use greenwich_sim::{
    Direct, Swarm,
    clock::WallClock,
    region::{Region, Regions},
    workload::{Expiry, Key, Operation},
};

const REGIONS: usize = 4;
const SLOW: [usize; 2] = [1, 2];
const FAST: usize = 3;
/// The log drops some of what stands in this lane, and nothing of the others.
const CUT_SHORT: usize = 9;
/// So many keys of one lane fill more than a segment of it.
const DROPPED: usize = 40;
const PADDING: usize = 3_000;
const ROUNDS: usize = 20;
const ROUND_US: u64 = 10_000;

fn region(at: usize) -> Region<Direct> {
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
    let clock = WallClock::default();
    let others = Regions {
        configured: (0..REGIONS).filter(|other| *other != at).collect(),
        members: Members::default(),
    };
    let start = clock.read(Time(0)).0;
    Region::new((at, others), start, clock, &swarm, &Direct, Time(0))
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
    let elsewhere = &region(0);
    let of_lane = |lane| {
        let is_there = move |key: &Key| write(elsewhere, *key, Time(0)) == lane;
        let count = if lane == CUT_SHORT { DROPPED } else { 1 };
        (0..).map(Key::Plain).filter(is_there).take(count)
    };
    (0..LANES).flat_map(of_lane).collect()
}

/// Delivers all that is under way between region 0 and its peers, and what follows from it.
fn deliver(regions: &mut [Region<Direct>], now: Time, first: Vec<(usize, usize, Output)>) {
    let mut sent = VecDeque::from(first);
    while let Some((to, from, output)) = sent.pop_front() {
        let (out, _) = match &output {
            Output::Control(bytes) => regions[to].handle(now, from, Input::Control(bytes), None),
            Output::Batch(bytes) => regions[to].handle(now, from, Input::Batch(bytes), None),
            Output::Established => continue,
            Output::Close(why) => panic!("{to} and {from} part: {}", why.reason),
        };
        sent.extend(out.into_iter().map(|output| (from, to, output)));
    }
}

fn tell(
    regions: &mut [Region<Direct>],
    now: Time,
    ends: &[(usize, usize)],
    input: Input<'_>,
) -> Vec<(usize, usize, Output)> {
    let mut sent = Vec::new();
    for &(at, other) in ends {
        let (out, _) = regions[at].handle(now, other, input, None);
        sent.extend(out.into_iter().map(|output| (other, at, output)));
    }
    sent
}

/// Lets time pass, with all that is sent meanwhile, until nothing is.
fn pass(regions: &mut [Region<Direct>], from: Time, ends: &[(usize, usize)]) -> Time {
    let mut now = from;
    for _ in 0..ROUNDS {
        now = Time(now.0 + ROUND_US);
        let sent = tell(regions, now, ends, Input::Tick);
        deliver(regions, now, sent);
    }
    now
}

#[test]
fn nobody_is_sent_what_was_collected_for_a_peer_that_fell() {
    let mut regions: Vec<_> = (0..REGIONS).map(region).collect();
    let links = [(0, SLOW[0]), (0, SLOW[1]), (0, FAST)];
    let both = [links, links.map(|(at, other)| (other, at))].concat();
    let sent = tell(&mut regions, Time(0), &both, Input::Connected);
    deliver(&mut regions, Time(0), sent);
    let mut now = pass(&mut regions, Time(0), &both);
    let sweeps = |regions: &[Region<Direct>]| {
        links.map(|(_, peer)| {
            let session = regions[0].session(peer).expect("configured");
            session.sent().sweeps
        })
    };
    let [slow, slower, fast] = sweeps(&regions);

    let keys = keys();
    for key in &keys {
        write(&regions[0], *key, now);
        now = Time(now.0 + ROUND_US);
        let sent = tell(&mut regions, now, &[(0, FAST), (FAST, 0)], Input::Tick);
        deliver(&mut regions, now, sent);
    }
    pass(&mut regions, now, &both);

    assert_eq!(sweeps(&regions), [slow + 1, slower + 1, fast], "who fell");
    for (key, region) in keys
        .iter()
        .flat_map(|key| regions.iter().map(move |region| (key, region)))
    {
        let is_held = region.with_entry(*key, |entry| entry.is_some());
        assert!(is_held, "region {} lacks {key}", region.index);
    }
}
