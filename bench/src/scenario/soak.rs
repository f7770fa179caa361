//! `soak`: mixed load in all regions for long, with whatever a timetable does to them. What clients saw second by second,
//! how memory grew, and whether all regions hold the same in the end.

use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::{
    Stage,
    drive::{Direction, Drive, Driven, RegionLoad, RegionSamples},
    equal::{Patience, Readers},
    faults::{self, Fault, Mark},
    place::Place,
    problem,
};
use crate::{
    as_duration,
    lag::probe::NEVER_AFTER,
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
pub struct Soak {
    /// What is asked.
    pub mix: Mix,
    /// Of which keys.
    pub data: Dataset,
    /// Connections of each region's load.
    pub connections: usize,
    /// Requests a second, of all regions that take writes together.
    pub rate: f64,
    /// Of the load, warm-up included.
    #[serde(with = "as_duration")]
    pub length: Duration,
    /// Not recorded.
    #[serde(with = "as_duration")]
    pub warm_up: Duration,
    /// How long nobody waits for regions to become equal; those that differ then do not become so.
    #[serde(with = "as_duration")]
    pub settle_limit: Duration,
    /// The links between regions.
    #[serde(default)]
    pub network: Network,
    /// What happens meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

/// What was found.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct SoakReport {
    /// Per server.
    pub runs: Vec<SoakRun>,
}

/// What one server showed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SoakRun {
    /// Which server.
    pub server: String,
    /// What clients saw.
    pub loads: Vec<RegionLoad>,
    /// Lag from each region that takes writes to each other.
    pub directions: Vec<Direction>,
    /// What servers used.
    pub regions: Vec<RegionSamples>,
    /// Faults, when they happened.
    pub marks: Vec<Mark>,
    /// Keys that differ between regions in the end.
    pub differing: usize,
    /// From the end of the load until all keys were the same everywhere, in milliseconds; `None` when some never were.
    pub equal_after_ms: Option<f64>,
    /// How well the emulation did, when it can tell.
    pub forwarder: Option<ForwarderReport>,
    /// Why the figures say more of the emulation than of the server, if so.
    pub bottleneck: Option<String>,
}

/// Regions that have not moved for so long will not.
const QUIET: Duration = Duration::from_secs(20);

/// Lag is drawn over time to see what faults do to it; an emulation that is late by this is no matter.
const LATE_MAX: Duration = Duration::from_millis(10);

impl Soak {
    /// Why this cannot be measured between these regions, if so.
    pub(super) fn problem(&self, regions: &[String]) -> Option<String> {
        if self.connections == 0 {
            return Some("connections must be at least one".to_owned());
        }
        if self.warm_up >= self.length {
            return Some("warm_up must be shorter than length".to_owned());
        }
        // A region alone can be loaded, stopped and killed, but it has no links.
        if regions.len() < 2 && self.network != Network::default() {
            return Some("network: there are no links, as there is only one region".to_owned());
        }
        let data = self.data.problem();
        data.or_else(|| problem::zero(&[("settle_limit", self.settle_limit)]))
            .or_else(|| schedule::rate_problem(self.rate))
            .or_else(|| self.network.problem(regions))
            .or_else(|| faults::problem(&self.faults, regions, self.length))
    }

    /// Measures each of the stage's servers in turn, and adds what it finds to `report`.
    pub(super) fn run(&self, stage: &Stage<'_>, report: &mut SoakReport) -> anyhow::Result<()> {
        stage.each(|server| {
            report.runs.push(self.server(stage, server)?);
            Ok(())
        })
    }

    fn server(&self, stage: &Stage<'_>, server: &dyn Adapter) -> anyhow::Result<SoakRun> {
        let mut place = Place::open(stage, server, server.name(), &self.network, &self.faults)?;
        let keys: Vec<String> = (0..self.data.keys).map(|key| key_name('k', key)).collect();
        let patience = Patience::of(&self.network, &stage.regions, QUIET, self.settle_limit);
        (stage.tell)(format!("{}: filling", server.name()));
        drop(place.fill(&self.data, &keys, &self.network, patience, stage.seed)?);
        let length = humantime::format_duration(self.length);
        (stage.tell)(format!("{}: {length} of load", server.name()));
        let drive = Drive {
            mix: self.mix,
            data: self.data,
            writers: &[],
            connections: self.connections,
            pipeline: 1,
            rate: self.rate,
            length: self.length,
            warm_up: self.warm_up,
            probed_for: Some(NEVER_AFTER),
            network: &self.network,
            faults: &self.faults,
            seed: stage.seed,
        };
        let driven = drive.run(&mut place)?;
        let Driven {
            loads,
            directions,
            marks,
            regions,
            forwarder,
        } = driven;
        (stage.tell)(format!("{}: comparing regions", server.name()));
        let settled = Readers::connect(&place.clients())
            .and_then(|mut readers| readers.settle(&keys, patience))
            .with_context(|| format!("comparing the regions of {}", server.name()))?;
        Ok(SoakRun {
            server: server.name().to_owned(),
            loads,
            directions,
            regions,
            marks,
            differing: settled.differing.len(),
            equal_after_ms: settled.after.map(|after| after.as_secs_f64() * 1e3),
            bottleneck: bottleneck(forwarder.as_ref()),
            forwarder,
        })
    }
}

fn bottleneck(forwarder: Option<&ForwarderReport>) -> Option<String> {
    forwarder?.bottleneck(LATE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulation_that_is_late_by_ten_milliseconds_is_refused() {
        let late = |error_us_p99| ForwarderReport {
            error_us_p99,
            ..ForwarderReport::default()
        };
        assert_eq!(bottleneck(Some(&late(10_000.0))), None);
        assert!(bottleneck(Some(&late(10_001.0))).is_some());
    }
}
