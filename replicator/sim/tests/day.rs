//! A region is dead for a day while the others are written to as fast as ever: what they remember for it stays as much as
//! an hour brings, which is their horizon, and without one it grows on.

use std::collections::VecDeque;

use greenwich_proto::{
    members::Members,
    peer::{Input, Output},
    time::Time,
};
use greenwich_sim::{
    Direct, Swarm,
    clock::WallClock,
    region::{Region, Regions},
    workload::{Expiry, Key, Operation},
};

const REGIONS: usize = 3;
const DEAD: usize = 2;
const LIVING: [usize; 2] = [0, 1];
const STEP_US: u64 = 60_000_000;
const ROUNDS: u64 = 4;
const STEPS_PER_HOUR: u64 = 3_600_000_000 / STEP_US;
/// What each region writes in a step: sessions that end by themselves, and keys that are deleted.
const WRITES: u64 = 60;
const TTL_MS: u64 = 2_000;

/// Regions whose links take no time.
struct Cluster {
    regions: Vec<Region<Direct>>,
    now: Time,
    /// What is on its way: to whom, from whom.
    sent: VecDeque<(usize, usize, Output)>,
    written: u64,
}

impl Cluster {
    fn new(horizon_ms: u64) -> Self {
        let mut swarm = Swarm::draw(0);
        (swarm.regions, swarm.horizon_ms) = (REGIONS, horizon_ms);
        (swarm.log_bytes, swarm.key_padding) = (1 << 20, 0);
        let clock = WallClock::default();
        let now = Time(0);
        let start = clock.read(now).0;
        let region = |at| {
            let others = Regions {
                configured: (0..REGIONS).filter(|other| *other != at).collect(),
                members: Members::default(),
            };
            Region::new((at, others), start, clock, &swarm, &Direct, now)
        };
        let mut cluster = Self {
            regions: (0..REGIONS).map(region).collect(),
            now,
            sent: VecDeque::new(),
            written: 0,
        };
        for (at, other) in pairs(REGIONS) {
            cluster.tell(at, other, Input::Connected);
        }
        cluster.deliver();
        cluster
    }

    fn tell(&mut self, at: usize, other: usize, input: Input<'_>) {
        let (out, _) = self.regions[at].handle(self.now, other, input, None);
        let sent = out.into_iter().map(|output| (other, at, output));
        self.sent.extend(sent);
    }

    fn deliver(&mut self) {
        while let Some((to, from, output)) = self.sent.pop_front() {
            match output {
                Output::Control(bytes) => self.tell(to, from, Input::Control(&bytes)),
                Output::Batch(bytes) => self.tell(to, from, Input::Batch(&bytes)),
                Output::Established => {}
                Output::Close(why) => panic!("{to} and {from} part: {}", why.reason),
            }
        }
    }

    fn write(&mut self, at: usize) {
        for _ in 0..WRITES {
            let keys = [2 * self.written, 2 * self.written + 1].map(Key::Plain);
            self.written += 1;
            let value = || "value".to_owned();
            let session = Operation::Set(keys[0], value(), Expiry::After(TTL_MS));
            let deleted = Operation::Set(keys[1], value(), Expiry::None);
            for operation in [session, deleted, Operation::Delete(keys[1])] {
                self.regions[at].perform(self.now, &operation, &[]);
            }
        }
    }

    /// Time passes for regions that live, which write all the time.
    fn step(&mut self, living: &[usize]) {
        for &at in living {
            self.write(at);
        }
        // Words wait for each other's answers.
        for _ in 0..ROUNDS {
            for &at in living {
                for other in living.iter().filter(|other| **other != at) {
                    self.tell(at, *other, Input::Tick);
                }
            }
            self.deliver();
            self.now = Time(self.now.0 + STEP_US / ROUNDS);
        }
        for &at in living {
            self.regions[at].tend(self.now);
        }
    }

    fn husk_bytes(&self, at: usize) -> usize {
        self.regions[at].keyspace.usage().husk_bytes
    }

    /// What each of some hours brings at most in memory of the dead, in bytes, after a region has died.
    fn hours(&mut self, hours: usize) -> Vec<usize> {
        for _ in 0..6 {
            self.step(&[0, 1, 2]);
        }
        for at in LIVING {
            self.tell(at, DEAD, Input::Disconnected);
        }
        let hour = |_| {
            let mut most = 0;
            for _ in 0..STEPS_PER_HOUR {
                self.step(&LIVING);
                let bytes = LIVING.map(|at| self.husk_bytes(at)).into_iter();
                most = bytes.fold(most, usize::max);
            }
            most
        };
        (0..hours).map(hour).collect()
    }
}

fn pairs(regions: usize) -> impl Iterator<Item = (usize, usize)> {
    let all = move |at| (0..regions).map(move |other| (at, other));
    (0..regions).flat_map(all).filter(|(at, other)| at != other)
}

#[test]
fn what_is_remembered_for_a_region_that_is_dead_for_a_day_is_what_an_hour_brings() {
    let hours = Cluster::new(3_600_000).hours(24);
    println!("bytes at most in each hour, with a horizon of one: {hours:?}");
    let first = hours[0];
    assert!(first > 100_000, "something was remembered: {hours:?}");
    assert!(
        hours[2..].iter().all(|bytes| *bytes < first / 4),
        "{hours:?}"
    );

    let without = Cluster::new(0).hours(4);
    println!("without: {without:?}");
    assert!(without[3] > 3 * without[0], "{without:?}");
}
