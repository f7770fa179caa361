//! Regions, links and faults, moved by one queue of events in virtual time.

mod clients;
mod faults;
mod membership;
mod quiet;
mod traffic;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    sync::Arc,
    time::Duration,
};

use greenwich::keyspace::Keyspace;
use greenwich_proto::{hlc::Stamp, peer::Input, rng::Rng, store::Store, time::Time};

use self::membership::Cluster;
use crate::{
    Plant,
    clock::WallClock,
    folds::Folds,
    invariants::{
        Broken, delivery::Delivery, readiness::Readiness, stamps::Stamps, units::Units,
        verify::Verify,
    },
    network::{Message, Network, Route},
    oracle::Oracle,
    region::Region,
    survival::Survival,
    swarm::Swarm,
    trace::Trace,
    workload::{Key, Workload},
};

/// How often a node tends its keys, and what is checked all the time is checked.
const TEND_US: u64 = 50_000;
/// What happens next, and to whom.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Operation(usize),
    Tend(usize),
    Wake(Route),
    Connect(Route),
    Drop(Route, u64),
    Idle(Route, u64, u64),
    Heal(Route, u64),
    Resend(Route, u64, Parcel),
    Arrive(Route, u64, Parcel),
    Cut,
    Isolate,
    Restart,
    ClockStep,
    Members,
    Follow(usize),
    Admit,
    Stop(usize),
}

/// A message in the queue. Events at one time come in the order in which they were put in, never by what they carry.
#[derive(Debug)]
struct Parcel(Message);

impl PartialEq for Parcel {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for Parcel {}
impl PartialOrd for Parcel {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Parcel {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

/// What a run amounted to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Client commands.
    pub operations: u64,
    /// Of them, those that ran while a session worked.
    pub meanwhile: u64,
    /// Batches that arrived.
    pub batches: u64,
    /// Connections that were agreed upon.
    pub connections: u64,
    /// Links that were refused.
    pub refusals: u64,
    /// Sweeps over a whole keyspace.
    pub sweeps: u64,
    /// Whether it ended with parts of units excused.
    pub is_excused: bool,
    /// Whether regions forgot without one that was away, and keys that this one had written.
    pub contested: u64,
    /// Nodes that died and started again.
    pub restarts: u64,
    /// Counters that nodes which lived to the end held with totals of several lives in one.
    pub folded: u64,
    /// Writes that died with them, because nobody else had them.
    pub lost: u64,
    /// Regions that were added and whose nodes were started.
    pub added: u64,
    /// Of them, those that had been removed before.
    pub added_again: u64,
    /// Regions that were removed.
    pub removed: u64,
    /// Virtual milliseconds.
    pub elapsed_ms: u64,
}

/// A run.
pub struct World<'a, S> {
    swarm: Swarm,
    wrap: &'a dyn Fn(Arc<Keyspace>) -> S,
    plant: Plant,
    trace: &'a mut Trace,
    now: Time,
    queue: BinaryHeap<Reverse<(Time, u64, Event)>>,
    next_event: u64,
    regions: Vec<Region<S>>,
    /// Whether regions may show parts of units from here on: a node died while it was sweeping to an empty one, and what
    /// it left there may be all that there is; or units were forgotten at the limit.
    is_torn_for_good: bool,
    /// Up to here some node may have forgotten what has ended, one that has died since included: whoever starts anew is not
    /// told of it.
    settled: Stamp,
    /// Sweeps that nodes had started which died since.
    sweeps_before: u64,
    network: Network,
    workload: Workload,
    rng: Rng,
    /// For what comes between the steps of a session.
    meanwhile: Rng,
    keys: Vec<Key>,
    names: BTreeMap<Vec<u8>, Key>,
    oracle: Oracle,
    stamps: Stamps,
    delivery: Delivery,
    units: Units,
    readiness: Readiness,
    verify: Verify,
    folds: Folds,
    survival: Survival,
    /// Which region has received everything from which other, since it started.
    inherited: BTreeSet<(usize, usize)>,
    /// Until when the node of each region does not run.
    down_until: Vec<Time>,
    cluster: Cluster,
    is_quiet: bool,
    summary: Summary,
}

impl<S> std::fmt::Debug for World<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("swarm", &self.swarm)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

impl<'a, S: Store> World<'a, S> {
    /// A world at its start.
    pub fn new(
        swarm: Swarm,
        wrap: &'a dyn Fn(Arc<Keyspace>) -> S,
        plant: Plant,
        trace: &'a mut Trace,
    ) -> Self {
        let mut rng = Rng::new(swarm.seed);
        let keys = Key::all(swarm.mix.keys);
        let names = keys
            .iter()
            .map(|&key| (key.bytes(swarm.key_padding), key))
            .collect();
        let mut world = Self {
            wrap,
            plant,
            trace,
            now: Time(0),
            queue: BinaryHeap::new(),
            next_event: 0,
            regions: Vec::new(),
            is_torn_for_good: false,
            sweeps_before: 0,
            network: Network::new(swarm.regions, &swarm.links, &mut rng.fork()),
            workload: Workload::new(rng.fork()),
            rng,
            meanwhile: Rng::new(swarm.seed ^ 0x4d45_414e),
            keys,
            names,
            oracle: Oracle::new(swarm.regions, Duration::from_millis(swarm.clock_error_ms())),
            stamps: Stamps::new(swarm.regions, swarm.max_skew_ms),
            delivery: Delivery::default(),
            units: Units::default(),
            settled: Stamp::ZERO,
            readiness: Readiness::default(),
            verify: Verify::default(),
            folds: Folds::default(),
            survival: Survival::default(),
            inherited: BTreeSet::new(),
            down_until: vec![Time(0); swarm.regions],
            cluster: Cluster::new(&swarm),
            is_quiet: false,
            summary: Summary::default(),
            swarm,
        };
        world.start();
        world
    }

    /// Virtual milliseconds since the start.
    #[must_use]
    pub fn elapsed_ms(&self) -> u64 {
        self.now.0 / 1_000
    }

    fn start(&mut self) {
        for index in 0..self.swarm.regions {
            let clock = WallClock {
                offset_ms: self.draw_offset(),
                drift_ppm: self.draw_drift(),
            };
            let incarnation = clock.read(self.now).0;
            let life = (index, self.cluster.configuration(index));
            let region = Region::new(life, incarnation, clock, &self.swarm, &self.wrap, self.now);
            self.regions.push(region);
            self.after(self.rng.clone().below(TEND_US), Event::Tend(index));
            let first_us = self.swarm.warm_up_ms * 1_000;
            self.after(first_us, Event::Operation(index));
            for other in 0..index {
                let in_us = self.rng.below(50_000);
                self.after(
                    in_us,
                    Event::Connect(Route {
                        from: index,
                        to: other,
                    }),
                );
            }
        }
        let faults = self.swarm.faults;
        self.after_about(faults.cut_every_ms, Event::Cut);
        self.after_about(faults.away_every_ms, Event::Isolate);
        self.after_about(faults.restart_every_ms, Event::Restart);
        self.after_about(faults.clock_step_every_ms, Event::ClockStep);
        self.after_about(faults.members_every_ms, Event::Members);
    }

    fn run_until(&mut self, until_ms: u64) -> Result<(), Broken> {
        let until = Time(until_ms * 1_000);
        while self
            .queue
            .peek()
            .is_some_and(|Reverse((at, ..))| *at <= until)
        {
            if let Some(Reverse((at, _, event))) = self.queue.pop() {
                self.now = at;
                self.process(event)?;
            }
        }
        self.now = until;
        Ok(())
    }

    fn process(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Operation(region) => self.operate(region),
            Event::Tend(region) => self.tend(region),
            Event::Wake(route) => {
                if self.regions[route.from].wakes[route.to] == Some(self.now) {
                    self.regions[route.from].wakes[route.to] = None;
                    return self.tell(route, Input::Tick);
                }
                Ok(())
            }
            Event::Connect(route) => self.connect(route),
            Event::Drop(route, epoch) => self.drop_end(route, epoch),
            Event::Idle(route, cut, epoch) => {
                if self.network.is_cut(route) && self.network.cuts(route) == cut {
                    self.close(route.back(), epoch);
                }
                Ok(())
            }
            Event::Heal(route, cut) => {
                self.network.heal(route, cut);
                Ok(())
            }
            Event::Resend(route, epoch, Parcel(message)) => {
                self.send(route, epoch, message);
                Ok(())
            }
            Event::Arrive(route, epoch, Parcel(message)) => self.arrive(route, epoch, message),
            Event::Cut => {
                self.cut();
                Ok(())
            }
            Event::Isolate => {
                self.isolate();
                Ok(())
            }
            Event::Restart => {
                self.restart();
                Ok(())
            }
            Event::ClockStep => {
                self.step_clock();
                Ok(())
            }
            Event::Members => {
                self.change_members();
                Ok(())
            }
            Event::Follow(region) => self.follow_roster(region),
            Event::Admit => {
                self.admit();
                Ok(())
            }
            Event::Stop(region) => {
                self.stop(region);
                Ok(())
            }
        }
    }

    /// The regions with which a node has a session.
    fn others(&self, index: usize) -> Vec<usize> {
        let region = &self.regions[index];
        let has_session = |other: &usize| region.session(*other).is_some();
        (0..self.swarm.regions).filter(has_session).collect()
    }

    fn after_operation(&mut self, index: usize) {
        let in_us = self
            .rng
            .below(2_000_000 / self.swarm.operations_per_s.max(1));
        self.after(in_us, Event::Operation(index));
    }

    fn after_about(&mut self, every_ms: u64, event: Event) {
        if every_ms > 0 {
            let in_us = self.rng.below(2_000 * every_ms);
            self.after(in_us, event);
        }
    }

    fn after(&mut self, in_us: u64, event: Event) {
        self.at(self.now + Duration::from_micros(in_us), event);
    }

    fn at(&mut self, at: Time, event: Event) {
        self.queue.push(Reverse((at, self.next_event, event)));
        self.next_event += 1;
    }
}
