//! `partition`: a region is cut off while all regions are written to, and the link heals. How long and how many bytes it
//! takes until every key is the same everywhere, and what clients notice of the cut.

use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::{
    Stage,
    drive::{Drive, Driven, RegionLoad},
    equal::Patience,
    faults::{Action, Fault, Mark},
    place::Place,
    problem::{self, Problem},
};
use crate::{
    as_duration,
    load::{
        dataset::Dataset,
        mix::{Mix, key_name},
        schedule,
    },
    server::Adapter,
    wan::{forwarder::account::ForwarderReport, plan::Network},
};

/// What to measure.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// What is asked.
    pub mix: Mix,
    /// Of which keys.
    pub data: Dataset,
    /// Connections of each region's load.
    pub connections: usize,
    /// Of the load before the cut.
    #[serde(with = "as_duration")]
    pub before: Duration,
    /// How long nobody waits for regions to become equal; those that differ then do not become so.
    #[serde(with = "as_duration")]
    pub settle_limit: Duration,
    /// Links, rates and cuts.
    pub cases: Vec<PartitionCase>,
}

/// A cut of the last region from all others.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionCase {
    /// Requests a second, of all regions that take writes together.
    pub rate: f64,
    /// How long the cut lasts.
    #[serde(with = "as_duration")]
    pub cut: Duration,
    /// Whether only what the region sends is lost.
    #[serde(default)]
    pub is_one_way: bool,
    /// The links between regions.
    #[serde(default)]
    pub network: Network,
}

/// What was found.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct PartitionReport {
    /// Per server and case.
    pub runs: Vec<PartitionRun>,
}

/// A case on a server.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PartitionRun {
    /// Which server.
    pub server: String,
    /// Which case.
    pub case: PartitionCase,
    /// What clients saw, before and during the cut.
    pub loads: Vec<RegionLoad>,
    /// The cut.
    pub marks: Vec<Mark>,
    /// Requests that were answered, of all regions.
    pub answered: u64,
    /// From the heal until every key was the same everywhere, in milliseconds; `None` when some never were.
    pub equal_after_ms: Option<f64>,
    /// How long the last comparison took: the error of the figure above.
    pub look_ms: f64,
    /// Keys that differ at the end.
    pub differing: usize,
    /// Bytes on all links from the heal until then.
    pub heal_bytes: u64,
    /// How well the emulation did after the heal.
    pub forwarder: ForwarderReport,
    /// Why the figures say more of the emulation than of the server, if so.
    pub bottleneck: Option<String>,
}

/// Regions that have not moved for so long, or for twice the cut, will not: TCP doubles the time to its next attempt.
const QUIET_MIN: Duration = Duration::from_secs(10);

/// Equality is looked for from time to time, and takes round trips: an emulation that is late by this is no matter.
const LATE_MAX: Duration = Duration::from_millis(20);

impl Partition {
    /// Why this cannot be measured between these regions, if so.
    pub(super) fn problem(&self, regions: &[String]) -> Option<Problem> {
        let of_case = |case: &PartitionCase| {
            schedule::rate_problem(case.rate)
                .or_else(|| problem::zero(&[("cut", case.cut)]))
                .or_else(|| case.network.problem(regions))
        };
        let problem = self.common_problem().map(Problem::from);
        problem.or_else(|| Problem::of_cases(&self.cases, of_case))
    }

    fn common_problem(&self) -> Option<String> {
        if self.cases.is_empty() || self.connections == 0 {
            return Some("cases and connections must be at least one".to_owned());
        }
        let times = [("before", self.before), ("settle_limit", self.settle_limit)];
        problem::zero(&times).or_else(|| self.data.problem())
    }

    /// Measures each of the stage's servers in turn, and adds what it finds to `report`.
    pub(super) fn run(
        &self,
        stage: &Stage<'_>,
        report: &mut PartitionReport,
    ) -> anyhow::Result<()> {
        stage.each(|server| {
            for (index, case) in self.cases.iter().enumerate() {
                report.runs.push(self.case(stage, server, index, case)?);
            }
            Ok(())
        })
    }

    fn case(
        &self,
        stage: &Stage<'_>,
        server: &dyn Adapter,
        index: usize,
        case: &PartitionCase,
    ) -> anyhow::Result<PartitionRun> {
        let network = &case.network;
        let name = format!("{}-{}", server.name(), index + 1);
        let mut place = Place::open(stage, server, &name, network, &[])?;
        let (number, count) = (index + 1, self.cases.len());
        let keys: Vec<String> = (0..self.data.keys).map(|key| key_name('k', key)).collect();
        let quiet = QUIET_MIN.max(case.cut * 2);
        let patience = Patience::of(network, &stage.regions, quiet, self.settle_limit);
        (stage.tell)(format!(
            "{}: case {number} of {count}, filling",
            server.name()
        ));
        let mut readers = place.fill(&self.data, &keys, network, patience, stage.seed)?;
        (stage.tell)(format!("{}: case {number} of {count}, cut", server.name()));
        let faults = self.cut(case, &stage.regions);
        let drive = Drive {
            mix: self.mix,
            data: self.data,
            writers: &[],
            connections: self.connections,
            pipeline: 1,
            rate: case.rate,
            length: self.before + case.cut,
            warm_up: Duration::ZERO,
            probed_for: None,
            network,
            faults: &faults,
            seed: stage.seed,
        };
        let Driven { loads, marks, .. } = drive.run(&mut place)?;
        (stage.tell)(format!(
            "{}: case {number} of {count}, healing",
            server.name()
        ));
        let _before = place.take_report()?;
        place.heal()?;
        let settled = readers
            .settle(&keys, patience)
            .with_context(|| format!("comparing the regions of {}", server.name()))?;
        let forwarder = place.take_report()?.context("a cut needs a forwarder")?;
        Ok(PartitionRun {
            server: server.name().to_owned(),
            case: case.clone(),
            answered: loads.iter().map(|load| load.answered).sum(),
            loads,
            marks,
            equal_after_ms: settled.after.map(|after| after.as_secs_f64() * 1e3),
            look_ms: settled.look.as_secs_f64() * 1e3,
            differing: settled.differing.len(),
            heal_bytes: forwarder.total().taken_bytes,
            bottleneck: bottleneck(&forwarder),
            forwarder,
        })
    }

    /// The last region is cut off.
    fn cut(&self, case: &PartitionCase, regions: &[&str]) -> Vec<Fault> {
        let (last, others) = regions.split_last().expect("there are two regions");
        let cut = |other: &&str| {
            let pair = [(*last).to_owned(), (*other).to_owned()];
            let action = match case.is_one_way {
                true => Action::CutOneWay(pair),
                false => Action::Cut(pair),
            };
            let at = self.before;
            Fault { at, action }
        };
        others.iter().map(cut).collect()
    }
}

fn bottleneck(forwarder: &ForwarderReport) -> Option<String> {
    forwarder.bottleneck(LATE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulation_that_is_late_by_twenty_milliseconds_is_refused() {
        let late = |error_us_p99| ForwarderReport {
            error_us_p99,
            ..ForwarderReport::default()
        };
        assert_eq!(bottleneck(&late(20_000.0)), None);
        assert!(bottleneck(&late(20_001.0)).is_some());
    }
}
