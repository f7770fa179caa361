//! `lag`: from a write in one region to its visibility in another, under a steady rate of updates, behind emulated
//! links that every server shares; and the rate up to which it stays low.

use std::{fmt, ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    drive::{Direction, Drive, Driven, RegionLoad, RegionSamples},
    faults::{self, Fault, Mark},
    place::Place,
    problem::{self, Problem},
};
use crate::{
    as_duration,
    lag::probe::{NEVER_AFTER, NEVER_AFTER_MAX, PROBE_INTERVAL},
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
    /// Connections of each region's load.
    pub connections: usize,
    /// Updates that are sent together on a connection.
    #[serde(default = "one_at_a_time")]
    pub pipeline: usize,
    /// Length of a case, warm-up included.
    #[serde(with = "as_duration")]
    pub length: Duration,
    /// Probes that are written before this do not count.
    #[serde(with = "as_duration")]
    pub warm_up: Duration,
    /// A probe that is not found within this counts as never seen.
    #[serde(default = "never_after", with = "as_duration")]
    pub never_after: Duration,
    /// Links and rates.
    pub cases: Vec<LagCase>,
}

const fn never_after() -> Duration {
    NEVER_AFTER
}

const fn one_at_a_time() -> usize {
    1
}

/// A rate over links.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LagCase {
    /// Updates a second, of all writers together.
    pub rate: f64,
    /// Regions whose clients write; all that take writes without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writers: Vec<String>,
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
    #[serde(with = "as_duration")]
    pub p99_over: Duration,
    /// Each step's rate is the last one's by this, above 1.
    pub factor: f64,
    /// No step's rate is above this.
    pub rate_max: f64,
}

/// From less than the first to more than the second, steps show nothing.
const FACTOR: RangeInclusive<f64> = 1.01..=100.0;

impl Knee {
    /// Why rates cannot rise from `rate` until then, if so.
    fn problem(self, rate: f64) -> Option<String> {
        let Self {
            p99_over,
            factor,
            rate_max,
        } = self;
        if !FACTOR.contains(&factor) {
            let (least, most) = FACTOR.into_inner();
            return Some(format!(
                "until: factor must be {least} to {most}, and is {factor}"
            ));
        }
        if let Some(problem) = problem::zero(&[("p99_over", p99_over)]) {
            return Some(format!("until: {problem}"));
        }
        // No comparison holds for what is no number.
        let is_above = rate_max >= rate && rate_max.is_finite();
        let problem =
            || format!("until: rate_max must be at least rate, {rate}, and is {rate_max}");
        (!is_above).then(problem)
    }
}

impl LagCase {
    fn problem(&self, regions: &[String], length: Duration) -> Option<String> {
        if let Some(name) = self.writers.iter().find(|name| !regions.contains(name)) {
            return Some(format!("writers: there is no region {name:?}"));
        }
        let knee = || self.until.and_then(|knee| knee.problem(self.rate));
        problem::twice("writers", &self.writers)
            .or_else(|| schedule::rate_problem(self.rate))
            .or_else(knee)
            .or_else(|| self.network.problem(regions))
            .or_else(|| faults::problem(&self.faults, regions, length))
    }

    /// All of it but the rate.
    #[must_use]
    pub fn conditions(&self) -> String {
        let mut parts = vec![self.network.to_string()];
        if !self.writers.is_empty() {
            parts.insert(0, format!("from {}", self.writers.join(", ")));
        }
        if !self.faults.is_empty() {
            parts.push("with faults".to_owned());
        }
        parts.join(", ")
    }
}

impl fmt::Display for LagCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} updates/s, {}", self.rate, self.conditions())?;
        match self.until {
            Some(_) => f.write_str(", rising"),
            None => Ok(()),
        }
    }
}

/// A lag that the forwarder may have made longer by this, at p99, says nothing.
const LATE_MAX: Duration = Duration::from_millis(2);

/// A lag in which so much waits that servers are started anew for the next case.
const BEHIND_MS: f64 = 1_000.0;

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

    /// Whether so much was waiting to cross that some of it may still be.
    fn is_behind(&self) -> bool {
        let mut lags = self.directions.iter().map(|way| &way.lag);
        lags.any(|lag| lag.never > 0 || lag.max_ms > BEHIND_MS)
    }

    /// Why the lag is no longer low, or is not known.
    #[must_use]
    pub fn beyond(&self, knee: Knee) -> Option<String> {
        if let Some(reason) = &self.bottleneck {
            return Some(format!("not known: {reason}"));
        }
        if self.missed() > 0 {
            return Some(format!("{} updates were never sent", self.missed()));
        }
        let never: u64 = self.directions.iter().map(|way| way.lag.never).sum();
        if never > 0 {
            return Some(format!("{never} probes were never seen"));
        }
        let over = self.directions.iter();
        let over = over.map(|way| way.lag.p99_ms - way.one_way_ms);
        let worst_ms = over.fold(0.0, f64::max);
        (worst_ms > knee.p99_over.as_secs_f64() * 1e3).then(|| format!("p99 {worst_ms:+.1} ms"))
    }
}

impl Lag {
    /// Why this cannot be measured between these regions, if so.
    pub(super) fn problem(&self, regions: &[String]) -> Option<Problem> {
        let problem = self.common_problem().map(Problem::from);
        let of_case = |case: &LagCase| case.problem(regions, self.length);
        problem.or_else(|| Problem::of_cases(&self.cases, of_case))
    }

    fn common_problem(&self) -> Option<String> {
        if [self.cases.len(), self.connections, self.pipeline].contains(&0) {
            return Some("cases, connections and pipeline must be at least one".to_owned());
        }
        if self.warm_up >= self.length {
            return Some("warm_up must be shorter than length".to_owned());
        }
        if self.never_after.is_zero() || self.never_after > NEVER_AFTER_MAX {
            let most = humantime::format_duration(NEVER_AFTER_MAX);
            return Some(format!("never_after must be above 0 and at most {most}"));
        }
        self.data.problem()
    }

    /// Leaves out cases that the emulation cannot do, and says which and why.
    pub(super) fn leave_out(&mut self, emulation: Emulation, regions: &[String]) -> Vec<String> {
        let mut left_out = Vec::new();
        self.cases.retain(|case| {
            let network = &case.network;
            let problem = faults::beyond_links(network, &case.faults, emulation, regions);
            let problems = problem.iter();
            left_out.extend(problems.map(|problem| format!("not measured, {case}: {problem}")));
            problem.is_none()
        });
        left_out
    }

    /// Measures each of the stage's servers in turn, and adds what it finds to `report`.
    pub(super) fn run(&self, stage: &Stage<'_>, report: &mut LagReport) -> anyhow::Result<()> {
        stage.each(|server| self.server(stage, server, report))
    }

    fn server(
        &self,
        stage: &Stage<'_>,
        server: &dyn Adapter,
        report: &mut LagReport,
    ) -> anyhow::Result<()> {
        let (name, count) = (server.name(), self.cases.len());
        let mut opened: Option<Place> = None;
        for (index, case) in self.cases.iter().enumerate() {
            let number = index + 1;
            // What runs is ended before it is started again.
            let mut place = match opened.take().filter(Place::can_change) {
                Some(place) => place,
                None => {
                    let home = format!("{name}-{number}");
                    Place::open(stage, server, &home, &case.network, &case.faults)?
                }
            };
            if place.can_change() {
                place.set_network(&case.network)?;
            }
            let mut case = case.clone();
            loop {
                (stage.tell)(format!("{name}: case {number} of {count}, {case}"));
                let run = self.case(server, &mut place, &case, stage.seed)?;
                let rate = case.rate;
                let next = case.until.filter(|&knee| {
                    run.beyond(knee).is_none() && rate * knee.factor <= knee.rate_max
                });
                report.runs.push(run);
                match next {
                    Some(knee) => case.rate *= knee.factor,
                    None => break,
                }
            }
            let is_behind = report.runs.last().is_some_and(LagRun::is_behind);
            // What faults leave behind is not the next case's, nor what is still under way.
            opened = Some(place).filter(|_| case.faults.is_empty() && !is_behind);
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
            writers: &case.writers,
            connections: self.connections,
            pipeline: self.pipeline,
            rate: case.rate,
            length: self.length,
            warm_up: self.warm_up,
            probed_for: Some(self.never_after),
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
        let answered = loads.iter().map(|load| load.answered).sum();
        let updates_per_second = loads.iter().map(|load| load.per_second).sum();
        let crossings = self.crossings(answered, loads.len(), place.regions.len());
        let bytes_per_update =
            |report: &ForwarderReport| report.total().taken_bytes as f64 / crossings;
        Ok(LagRun {
            server: server.name().to_owned(),
            case: case.clone(),
            directions,
            loads,
            regions,
            marks,
            updates_per_second,
            bytes_per_update: forwarder.as_ref().map(bytes_per_update),
            bottleneck: bottleneck(forwarder.as_ref()),
            forwarder,
        })
    }

    /// Updates that cross links: those of `writers` loads that were answered, each to all other regions. Probes cross too.
    fn crossings(&self, answered: u64, writers: usize, regions: usize) -> f64 {
        let measured = (self.length - self.warm_up).as_secs_f64();
        let probes = writers as f64 * measured / PROBE_INTERVAL.as_secs_f64();
        let updates = answered as f64 + probes;
        (updates * (regions - 1).max(1) as f64).max(1.0)
    }
}

fn bottleneck(forwarder: Option<&ForwarderReport>) -> Option<String> {
    forwarder?.bottleneck(LATE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Load;

    #[test]
    fn updates_and_probes_cross_to_every_other_region() {
        let lag = Lag {
            data: Load::pings(([127, 0, 0, 1], 1).into()).data,
            connections: 1,
            pipeline: 1,
            length: Duration::from_secs(3),
            warm_up: Duration::from_secs(1),
            never_after: NEVER_AFTER,
            cases: Vec::new(),
        };
        let probes = 2.0 * Duration::from_secs(2).div_duration_f64(PROBE_INTERVAL);
        assert_eq!(lag.crossings(1_000, 2, 4), (1_000.0 + probes) * 3.0);
        assert_eq!(lag.crossings(1_000, 2, 1), 1_000.0 + probes);
        assert_eq!(lag.crossings(0, 0, 2), 1.0);
    }

    #[test]
    fn an_emulation_that_is_late_by_two_milliseconds_is_refused() {
        let late = |error_us_p99| ForwarderReport {
            error_us_p99,
            ..ForwarderReport::default()
        };
        assert_eq!(bottleneck(None), None);
        assert_eq!(bottleneck(Some(&late(2_000.0))), None);
        assert!(bottleneck(Some(&late(2_001.0))).is_some());
    }
}
