//! `lag`: from a write in one region to its visibility in another, under a steady rate of updates, behind emulated
//! links that every server shares; and the rate up to which it stays low.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    drive::{Direction, Drive, Driven, RegionLoad, RegionSamples},
    faults::{self, Fault, Mark},
    place::Place,
};
use crate::{
    lag::probe::PROBE_INTERVAL,
    load::{dataset::Dataset, mix::Mix, schedule},
    scenario::Stage,
    server::Adapter,
    wan::{emulation::Emulation, forwarder::account::ForwarderReport, plan::Network},
};

/// What to measure.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Lag {
    /// What is updated.
    pub data: Dataset,
    /// Regions whose clients write; all that take writes without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writers: Vec<String>,
    /// Connections of each region's load.
    pub connections: usize,
    /// Length of a case, warm-up included.
    #[serde(with = "humantime_serde")]
    pub length: Duration,
    /// Probes that are written before this do not count.
    #[serde(with = "humantime_serde")]
    pub warm_up: Duration,
    /// Links and rates.
    pub cases: Vec<LagCase>,
}

/// A rate over links.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LagCase {
    /// Updates a second, of all regions that take writes together.
    pub rate: f64,
    /// The links between regions.
    #[serde(default)]
    pub network: Network,
    /// What happens meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// Raises the rate step by step, as long as the lag stays low.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Knee>,
}

/// Where lag counts as low no more.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Knee {
    /// The p99 of a direction lies this much over the one-way delay.
    #[serde(with = "humantime_serde")]
    pub p99_over: Duration,
    /// Each step's rate is the last one's by this, above 1.
    pub factor: f64,
    /// No step's rate is above this.
    pub rate_max: f64,
}

impl LagCase {
    fn problem(&self, regions: &[String], length: Duration) -> Option<String> {
        if let Some(factor) = self
            .until
            .map(|knee| knee.factor)
            .filter(|&factor| factor <= 1.0)
        {
            return Some(format!("the factor must be above 1, and is {factor}"));
        }
        schedule::rate_problem(self.rate)
            .or_else(|| self.network.problem(regions))
            .or_else(|| faults::problem(&self.faults, regions, length))
    }
}

/// What was found.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct LagReport {
    /// Per server and case, and per step of a case with a knee.
    pub runs: Vec<LagRun>,
}

/// A case on a server.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LagRun {
    /// Which server.
    pub server: String,
    /// Which case, with the rate of this run.
    pub case: LagCase,
    /// From each region that takes writes to each other.
    pub directions: Vec<Direction>,
    /// What clients saw.
    pub loads: Vec<RegionLoad>,
    /// What servers used.
    pub regions: Vec<RegionSamples>,
    /// Faults, when they happened.
    pub marks: Vec<Mark>,
    /// Updates that were answered, a second.
    pub updates_per_second: f64,
    /// Bytes on all links, headers and acknowledgements included, for each update and each region that it goes to.
    /// `None` when nothing stands between the regions that could count them.
    pub bytes_per_update: Option<f64>,
    /// How well the emulation did, when it can tell.
    pub forwarder: Option<ForwarderReport>,
    /// Why the figures say more of the emulation than of the server, if so.
    pub bottleneck: Option<String>,
}

impl LagRun {
    /// Updates of the schedule that were never sent.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.loads.iter().map(|load| load.missed).sum()
    }

    /// Whether the lag is no longer low.
    fn is_beyond(&self, knee: Knee) -> bool {
        let over_ms = knee.p99_over.as_secs_f64() * 1e3;
        let is_late = |direction: &Direction| direction.lag.p99_ms - direction.one_way_ms > over_ms;
        self.missed() > 0 || self.directions.iter().any(is_late)
    }
}

impl Lag {
    /// Why this cannot be measured between these regions, if so.
    pub(super) fn problem(&self, regions: &[String]) -> Option<String> {
        if self.cases.is_empty() || self.connections == 0 {
            return Some("cases and connections must be at least one".to_owned());
        }
        if self.warm_up >= self.length {
            return Some("warm_up must be shorter than length".to_owned());
        }
        if let Some(name) = self.writers.iter().find(|name| !regions.contains(name)) {
            return Some(format!("writers: there is no region {name:?}"));
        }
        let mut cases = self.cases.iter();
        let data = self.data.problem();
        data.or_else(|| cases.find_map(|case| case.problem(regions, self.length)))
    }

    /// Leaves out cases that the emulation cannot do, and says which and why.
    pub(super) fn leave_out(&mut self, emulation: Emulation, regions: &[String]) -> Vec<String> {
        let mut left_out = Vec::new();
        self.cases.retain(|case| {
            let network = &case.network;
            let problem = faults::beyond_links(network, &case.faults, emulation, regions);
            let rate = case.rate;
            left_out.extend(
                problem.iter().map(|problem| {
                    format!("not measured, {rate:.0} updates/s, {network}: {problem}")
                }),
            );
            problem.is_none()
        });
        left_out
    }

    /// Measures each of the stage's servers in turn, and adds what it finds to `report`.
    pub(super) fn run(&self, stage: &Stage<'_>, report: &mut LagReport) -> anyhow::Result<()> {
        for server in &stage.servers {
            let mut opened: Option<Place> = None;
            let cases = self.cases.iter();
            let faults: Vec<Fault> = cases.flat_map(|case| case.faults.clone()).collect();
            for (index, case) in self.cases.iter().enumerate() {
                let (number, count) = (index + 1, self.cases.len());
                // What runs is ended before it is started again.
                let mut place = match opened.take().filter(Place::can_change) {
                    Some(place) => place,
                    None => {
                        let name = format!("{}-{number}", server.name());
                        Place::open(stage, *server, &name, &case.network, &faults)?
                    }
                };
                if place.can_change() {
                    place.set_network(&case.network)?;
                }
                let mut case = case.clone();
                loop {
                    let (name, rate) = (server.name(), case.rate);
                    (stage.tell)(format!(
                        "{name}: case {number} of {count}, {rate:.0} updates/s"
                    ));
                    let run = self.case(*server, &mut place, &case, stage.seed)?;
                    let next = case.until.filter(|&knee| {
                        !run.is_beyond(knee) && rate * knee.factor <= knee.rate_max
                    });
                    report.runs.push(run);
                    match next {
                        Some(knee) => case.rate *= knee.factor,
                        None => break,
                    }
                }
                opened = Some(place);
            }
        }
        Ok(())
    }

    fn case(
        &self,
        server: &dyn Adapter,
        place: &mut Place,
        case: &LagCase,
        seed: u64,
    ) -> anyhow::Result<LagRun> {
        let drive = Drive {
            mix: Mix::Set,
            data: self.data,
            writers: &self.writers,
            connections: self.connections,
            rate: case.rate,
            length: self.length,
            warm_up: self.warm_up,
            is_probed: true,
            network: &case.network,
            faults: &case.faults,
            seed,
        };
        let Driven {
            loads,
            directions,
            marks,
            regions,
            forwarder,
        } = drive.run(place)?;
        let measured = (self.length - self.warm_up).as_secs_f64();
        let answered: u64 = loads.iter().map(|load| load.answered).sum();
        let updates_per_second = answered as f64 / measured;
        // Probes have crossed too.
        let probes = loads.len() as f64 * measured / PROBE_INTERVAL.as_secs_f64();
        let updates = answered as f64 + probes;
        let crossings = updates * (place.regions.len() - 1).max(1) as f64;
        let bytes_per_update =
            |report: &ForwarderReport| report.total().taken_bytes as f64 / crossings.max(1.0);
        Ok(LagRun {
            server: server.name().to_owned(),
            case: case.clone(),
            directions,
            loads,
            regions,
            marks,
            updates_per_second,
            bytes_per_update: forwarder.as_ref().map(bytes_per_update),
            bottleneck: forwarder.as_ref().and_then(ForwarderReport::bottleneck),
            forwarder,
        })
    }
}
