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
    lag::random,
    place::Place,
};
use crate::{
    load::{
        keys::KeySpread,
        mix::{Mix, key_name},
        values::{ValueContent, ValueSize},
    },
    server::Adapter,
    wan::{
        forwarder::account::ForwarderReport,
        plan::{LinkPlan, Network, Pair},
    },
};

/// What to measure.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Soak {
    /// What is asked.
    pub mix: Mix,
    /// Keys that there are.
    pub keys: u64,
    /// How often keys are asked for, beside each other.
    pub spread: KeySpread,
    /// How long values are.
    pub value_size: ValueSize,
    /// What values consist of.
    #[serde(default = "random")]
    pub value_content: ValueContent,
    /// Connections of each region's load.
    pub connections: usize,
    /// Requests a second, of all regions that take writes together.
    pub rate: f64,
    /// Of the load, warm-up included.
    #[serde(with = "humantime_serde")]
    pub length: Duration,
    /// Not recorded.
    #[serde(with = "humantime_serde")]
    pub warm_up: Duration,
    /// How long nobody waits for regions to become equal; those that differ then do not become so.
    #[serde(with = "humantime_serde")]
    pub settle_limit: Duration,
    /// The links between all regions.
    #[serde(default)]
    pub link: LinkPlan,
    /// What is different between some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<Pair>,
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

impl Soak {
    /// Its links.
    #[must_use]
    pub fn network(&self) -> Network {
        Network {
            link: self.link,
            pairs: self.pairs.clone(),
        }
    }

    /// Why this cannot be measured between these regions, if so.
    pub(super) fn problem(&self, regions: &[String]) -> Option<String> {
        if self.keys == 0 || self.connections == 0 {
            return Some("keys and connections must be at least one".to_owned());
        }
        if !(self.rate > 0.0 && self.rate.is_finite()) {
            return Some(format!("rate must be above 0, and is {}", self.rate));
        }
        if self.warm_up >= self.length {
            return Some("warm_up must be shorter than length".to_owned());
        }
        let network = self.network().problem(regions);
        network.or_else(|| faults::problem(&self.faults, regions, self.length))
    }

    /// Measures each of the stage's servers in turn, and adds what it finds to `report`.
    pub(super) fn run(&self, stage: &Stage<'_>, report: &mut SoakReport) -> anyhow::Result<()> {
        for server in &stage.servers {
            report.runs.push(self.server(stage, *server)?);
        }
        Ok(())
    }

    fn server(&self, stage: &Stage<'_>, server: &dyn Adapter) -> anyhow::Result<SoakRun> {
        let network = self.network();
        let mut place = Place::open(stage, server, server.name(), &network, &self.faults)?;
        let length = humantime::format_duration(self.length);
        (stage.tell)(format!("{}: {length} of load", server.name()));
        let drive = Drive {
            mix: self.mix,
            keys: self.keys,
            spread: self.spread,
            value_size: self.value_size,
            value_content: self.value_content,
            writers: &[],
            connections: self.connections,
            rate: self.rate,
            length: self.length,
            warm_up: self.warm_up,
            is_probed: true,
            network: &network,
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
        let addresses: Vec<_> = place
            .regions
            .iter()
            .map(|region| region.site.client)
            .collect();
        let keys: Vec<String> = (0..self.keys).map(|key| key_name('k', key)).collect();
        let patience = Patience::of(&network, &stage.regions, QUIET, self.settle_limit);
        let settled = Readers::connect(&addresses)
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
            bottleneck: forwarder.as_ref().and_then(ForwarderReport::bottleneck),
            forwarder,
        })
    }
}
