//! A region is dead for a day while the others are written to as fast as ever: what they remember for it stays as much as
//! an hour brings, which is their horizon, and without one it grows on.

#[path = "common/wired.rs"]
mod wired;

use std::time::Duration;

use greenwich_proto::peer::Input;
use greenwich_sim::{
    Swarm,
    workload::{Expiry, Key, Operation},
};
use wired::{Wired, between};

const REGIONS: usize = 3;
const DEAD: usize = 2;
const LIVING: [usize; 2] = [0, 1];
const STEP: Duration = Duration::from_mins(1);
const ROUNDS: u32 = 4;
const STEPS_PER_HOUR: u64 = 60;
/// What each region writes in a step: sessions that end by themselves, and keys that are deleted.
const WRITES: u64 = 60;
const TTL_MS: u64 = 2_000;

/// Regions, and how much was written in them.
struct Cluster {
    wired: Wired,
    written: u64,
}

impl Cluster {
    fn new(horizon_ms: u64) -> Self {
        let mut swarm = Swarm::draw(0);
        (swarm.regions, swarm.horizon_ms) = (REGIONS, horizon_ms);
        (swarm.log_bytes, swarm.key_padding) = (1 << 20, 0);
        let mut wired = Wired::new(&swarm);
        wired.link(&between(&[0, 1, 2]));
        Self { wired, written: 0 }
    }

    fn write(&mut self, at: usize) {
        for _ in 0..WRITES {
            let keys = [2 * self.written, 2 * self.written + 1].map(Key::Plain);
            self.written += 1;
            let value = || "value".to_owned();
            let session = Operation::Set(keys[0], value(), Expiry::After(TTL_MS));
            let deleted = Operation::Set(keys[1], value(), Expiry::None);
            for operation in [session, deleted, Operation::Delete(keys[1])] {
                self.wired.regions[at].perform(self.wired.now, &operation, &[]);
            }
        }
    }

    /// Time passes for regions that live, which write all the time.
    fn step(&mut self, living: &[usize]) {
        for &at in living {
            self.write(at);
        }
        // Words wait for each other's answers.
        let ends = between(living);
        for _ in 0..ROUNDS {
            self.wired.tick(&ends);
            self.wired.now = self.wired.now + STEP / ROUNDS;
        }
        for &at in living {
            self.wired.regions[at].tend(self.wired.now);
        }
    }

    fn husk_bytes(&self, at: usize) -> usize {
        self.wired.regions[at].keyspace.usage().husk_bytes
    }

    /// What each of some hours brings at most in memory of the dead, in bytes, after a region has died.
    fn hours(&mut self, hours: usize) -> Vec<usize> {
        for _ in 0..6 {
            self.step(&[0, 1, 2]);
        }
        for at in LIVING {
            self.wired.tell(at, DEAD, Input::Disconnected);
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
