//! `lag`: from a write in one region to its visibility in another, under a steady rate of updates, behind emulated
//! links that every server shares.

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::{
    lag::{Lag as MeasuredLag, LagFigures, probe::Probing},
    load::{
        Load,
        generator::Progress,
        keys::KeySpread,
        mix::Mix,
        record::Record,
        values::{ValueContent, ValueSize},
    },
    report::distribution::Distribution,
    scenario::Stage,
    server::{Adapter, Running},
    wan::{
        LinkPlan,
        forwarder::{Forwarder, ForwarderReport},
        namespaces::Namespaces,
    },
};

/// What to measure.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Lag {
    /// Keys that are updated.
    pub keys: u64,
    /// How often keys are updated, beside each other.
    pub spread: KeySpread,
    /// How long values are.
    pub value_size: ValueSize,
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
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LagCase {
    /// Updates a second, of all regions that take writes together.
    pub rate: f64,
    /// The links between all regions.
    pub link: LinkPlan,
}

/// What was found.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct LagReport {
    /// Per server and case.
    pub runs: Vec<LagRun>,
}

/// A case on a server.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LagRun {
    /// Which server.
    pub server: String,
    /// Which case.
    pub case: LagCase,
    /// From each region that takes writes to each other.
    pub directions: Vec<Direction>,
    /// Updates that were answered, a second.
    pub updates_per_second: f64,
    /// Updates of the schedule that were never sent.
    pub missed: u64,
    /// How well the emulation did.
    pub forwarder: ForwarderReport,
    /// Why the figures say more of the emulation than of the server, if so.
    pub bottleneck: Option<String>,
}

/// Lag from one region to another.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Direction {
    /// Where it was written.
    pub from: String,
    /// Where it was looked for.
    pub to: String,
    /// Percentiles.
    pub lag: LagFigures,
    /// More of them, for plots.
    pub distribution: Distribution,
    /// When probes were written, since the start, and how long they took, both in milliseconds.
    pub series_ms: Vec<(f64, f64)>,
}

/// Looks begin this share of the one-way delay after a probe's write, so that they do not load the server in vain.
const LOOK_AFTER: f64 = 0.9;

impl Lag {
    /// Why this cannot be measured, if so.
    pub(super) fn problem(&self) -> Option<String> {
        if self.cases.is_empty() || self.keys == 0 || self.connections == 0 {
            return Some("cases, keys and connections must be at least one".to_owned());
        }
        if self.warm_up >= self.length {
            return Some("warm_up must be shorter than length".to_owned());
        }
        let of_case = |case: &LagCase| match case.rate > 0.0 && case.rate.is_finite() {
            true => case.link.problem(),
            false => Some(format!("rate must be above 0, and is {}", case.rate)),
        };
        self.cases.iter().find_map(of_case)
    }

    /// Measures each of the stage's servers in turn, and adds what it finds to `report`.
    pub(super) fn run(&self, stage: &Stage<'_>, report: &mut LagReport) -> anyhow::Result<()> {
        for server in &stage.servers {
            let (namespaces, devices) = Namespaces::make(&stage.regions)?;
            let first = self
                .cases
                .first()
                .context("the scenario has no case")?
                .link
                .profile();
            let forwarder =
                Forwarder::start(devices, stage.seed, |_, _| first).context("the forwarder")?;
            (stage.tell)(format!("{}: starting", server.name()));
            let home = stage.directory.join(server.name());
            let regions = server
                .start(&namespaces.sites, &home)
                .with_context(|| format!("cannot start {}", server.name()))?;
            for (index, case) in self.cases.iter().enumerate() {
                (stage.tell)(format!(
                    "{}: case {} of {}",
                    server.name(),
                    index + 1,
                    self.cases.len()
                ));
                report
                    .runs
                    .push(self.case(*server, &regions, &forwarder, *case, stage.seed)?);
            }
        }
        Ok(())
    }

    fn case(
        &self,
        server: &dyn Adapter,
        regions: &[Running],
        forwarder: &Forwarder,
        case: LagCase,
        seed: u64,
    ) -> anyhow::Result<LagRun> {
        forwarder.set_profile(case.link.profile());
        let _before = forwarder.take_report();
        let sources: Vec<usize> = (0..regions.len())
            .filter(|&index| regions[index].is_writable)
            .collect();
        let rate = case.rate / sources.len() as f64;
        let start = Instant::now();
        let progress = Progress::default();
        let mut records = Vec::new();
        let mut lags = Vec::new();
        thread::scope(|scope| {
            let loads: Vec<_> = sources
                .iter()
                .map(|&index| {
                    let load = self.load(&regions[index], rate, seed.wrapping_add(index as u64));
                    let progress = &progress;
                    scope.spawn(move || load.run(progress))
                })
                .collect();
            let probings: Vec<_> = sources
                .iter()
                .map(|&index| {
                    let probing = self.probing(index, regions, case, start);
                    scope.spawn(move || (index, probing.run()))
                })
                .collect();
            loads
                .into_iter()
                .for_each(|load| records.push(load.join().expect("a load does not panic")));
            probings
                .into_iter()
                .for_each(|probing| lags.push(probing.join().expect("probing does not panic")));
        });
        let mut all = Record::default();
        for record in records {
            all.add(&record.with_context(|| format!("the load on {}", server.name()))?);
        }
        let mut directions = Vec::new();
        for (from, lags) in lags {
            let lags = lags.with_context(|| format!("probing {}", server.name()))?;
            directions.extend(directions_of(regions, from, &lags));
        }
        let forwarder = forwarder.take_report();
        Ok(LagRun {
            server: server.name().to_owned(),
            case,
            directions,
            updates_per_second: all.answered as f64 / (self.length - self.warm_up).as_secs_f64(),
            missed: all.missed,
            forwarder,
            bottleneck: forwarder.bottleneck(),
        })
    }

    fn load(&self, region: &Running, rate: f64, seed: u64) -> Load {
        Load {
            address: region.site.client,
            mix: Mix::Set,
            keys: self.keys,
            spread: self.spread,
            value_size: self.value_size,
            value_content: ValueContent::Random,
            rate: Some(rate),
            length: self.length,
            warm_up: self.warm_up,
            connections: self.connections,
            pipeline: 1,
            threads: 1,
            resp3: false,
            seed,
        }
    }

    fn probing(
        &self,
        source: usize,
        regions: &[Running],
        case: LagCase,
        start: Instant,
    ) -> Probing {
        let sooner = (case.link.rtt / 2).mul_f64(LOOK_AFTER);
        let others = regions
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != source);
        Probing {
            source: regions[source].site.client,
            label: format!("{}:{source}", unix_millis()),
            targets: others
                .map(|(_, region)| (region.site.client, sooner))
                .collect(),
            start,
            warm_up: self.warm_up,
            length: self.length,
        }
    }
}

fn unix_millis() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis()
}

fn directions_of(regions: &[Running], from: usize, lags: &[MeasuredLag]) -> Vec<Direction> {
    let others = regions
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != from);
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    others
        .zip(lags)
        .map(|((_, to), lag)| Direction {
            from: regions[from].site.region.clone(),
            to: to.site.region.clone(),
            lag: lag.figures(),
            distribution: Distribution::of(&lag.seen_after),
            series_ms: lag
                .series
                .iter()
                .map(|&(at, took)| (millis(at), millis(took)))
                .collect(),
        })
        .collect()
}
