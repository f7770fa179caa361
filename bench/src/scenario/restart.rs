//! `restart`: the last region's server is killed and starts empty beside the full ones, while clients of the others go on.
//! How long until it serves what it should hold, until every key is the same everywhere, and how many bytes that takes.
//!
//! It believes what a server says of itself (`INFO`) for when it serves, and clients alone for what it holds.

use std::{
    net::SocketAddr,
    sync::atomic::Ordering,
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::{
    Stage,
    drive::{Drive, RegionLoad},
    equal::{Patience, Readers},
    place::Place,
    problem::{self, Problem},
};
use crate::{
    as_duration, interrupt,
    load::{
        CONNECT_TIME, LoadError,
        client::Client,
        connection::ConnectionError,
        dataset::Dataset,
        generator::Progress,
        mix::{LOADED, Mix, key_name, put_command},
        record::Record,
        schedule,
    },
    server::{Adapter, Site},
    wan::{emulation::Emulation, forwarder::account::ForwarderReport, plan::Network},
};

/// What to measure.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// What is asked meanwhile.
    pub mix: Mix,
    /// What regions hold. Of it, the load asks for the first tenth of the keys.
    pub data: Dataset,
    /// Connections of each region's load.
    pub connections: usize,
    /// Of the load before the kill.
    #[serde(with = "as_duration")]
    pub before: Duration,
    /// From the kill to the start.
    #[serde(with = "as_duration")]
    pub down: Duration,
    /// How long nobody waits until the server serves, and then until regions are equal.
    #[serde(with = "as_duration")]
    pub settle_limit: Duration,
    /// Links and rates.
    pub cases: Vec<RestartCase>,
}

/// A rate and a network.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RestartCase {
    /// Requests a second, of all regions that are asked together.
    pub rate: f64,
    /// The links between regions.
    #[serde(default)]
    pub network: Network,
}

/// What was found.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct RestartReport {
    /// Per server and case.
    pub runs: Vec<RestartRun>,
}

/// A case on a server.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RestartRun {
    /// Which server.
    pub server: String,
    /// Which case.
    pub case: RestartCase,
    /// Keys that every region held.
    pub keys: u64,
    /// What clients of the other regions saw from before the kill until the end, which is sudden: requests that were due or
    /// under way then count as missed or unanswered.
    pub loads: Vec<RegionLoad>,
    /// From the start of the process until it serves clients what it should hold, in milliseconds; `None` when it did not
    /// within the limit.
    pub ready_after_ms: Option<f64>,
    /// From the start of the process until keys that nobody writes were the same everywhere, in milliseconds; `None` when
    /// it was never ready, or some never were.
    pub equal_after_ms: Option<f64>,
    /// How long the last comparison took: the error of the figure above.
    pub look_ms: f64,
    /// Of all keys, those that differ once nobody writes any more.
    pub differing: usize,
    /// Bytes on all links from the start of the process until they were found equal, those of the load included; `None` when
    /// nothing counts them.
    pub link_bytes: Option<u64>,
    /// How well the emulation did meanwhile, when it can tell.
    pub forwarder: Option<ForwarderReport>,
    /// Why the figures say more of the emulation than of the server, if so.
    pub bottleneck: Option<String>,
}

/// Regions that have not moved for so long will not.
const QUIET: Duration = Duration::from_secs(10);
/// Equality is looked for from time to time, and takes round trips: an emulation that is late by this is no matter.
const LATE_MAX: Duration = Duration::from_millis(20);
/// From one look at a server that starts to the next.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// One in so many keys is asked for by the load, and no other.
const WRITTEN: u64 = 10;
/// Keys that are compared under load; to compare all would be a load of its own. The end is looked at in full.
const SAMPLE: usize = 2_000;

impl Restart {
    /// Why this cannot be measured between these regions, if so.
    pub(super) fn problem(&self, regions: &[String]) -> Option<Problem> {
        let of_case = |case: &RestartCase| {
            schedule::rate_problem(case.rate).or_else(|| case.network.problem(regions))
        };
        let problem = self.common_problem().map(Problem::from);
        problem.or_else(|| Problem::of_cases(&self.cases, of_case))
    }

    /// All that an emulation of links cannot do of its cases, if anything.
    pub(super) fn beyond(&self, emulation: Emulation, regions: &[String]) -> Option<String> {
        let mut cases = self.cases.iter();
        cases.find_map(|case| emulation.problem(&case.network, regions))
    }

    fn common_problem(&self) -> Option<String> {
        if self.cases.is_empty() || self.connections == 0 {
            return Some("cases and connections must be at least one".to_owned());
        }
        let times = [
            ("before", self.before),
            ("down", self.down),
            ("settle_limit", self.settle_limit),
        ];
        problem::zero(&times).or_else(|| self.data.problem())
    }

    /// Measures each of the stage's servers in turn, and adds what it finds to `report`.
    pub(super) fn run(&self, stage: &Stage<'_>, report: &mut RestartReport) -> anyhow::Result<()> {
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
        case: &RestartCase,
    ) -> anyhow::Result<RestartRun> {
        let network = &case.network;
        let name = format!("{}-{}", server.name(), index + 1);
        let step = |step: &str| {
            let (name, number, count) = (server.name(), index + 1, self.cases.len());
            (stage.tell)(format!("{name}: case {number} of {count}, {step}"));
        };
        let mut place = Place::open(stage, server, &name, network, &[])?;
        let keys: Vec<String> = (0..self.data.keys)
            .map(|key| key_name(LOADED, key))
            .collect();
        let patience = Patience::of(network, &stage.regions, QUIET, self.settle_limit);
        step("filling");
        place.fill(&self.data, &keys, network, patience, stage.seed)?;
        step("restarting");
        let back = self.under_load(stage, case, &mut place, &keys, patience)?;
        step("comparing");
        let differing = differing(&place.clients(), &keys, patience);
        let differing =
            differing.with_context(|| format!("comparing the regions of {}", server.name()))?;
        let forwarder = back.forwarder;
        Ok(RestartRun {
            server: server.name().to_owned(),
            case: case.clone(),
            keys: self.data.keys,
            loads: back.loads,
            ready_after_ms: back.ready.map(millis),
            equal_after_ms: back.equal.map(millis),
            look_ms: millis(back.look),
            differing,
            link_bytes: forwarder.as_ref().map(|report| report.total().taken_bytes),
            bottleneck: forwarder
                .as_ref()
                .and_then(|report| report.bottleneck(LATE_MAX)),
            forwarder,
        })
    }

    /// Kills and starts the last region's server while clients of the others go on, until it holds what they do.
    fn under_load(
        &self,
        stage: &Stage<'_>,
        case: &RestartCase,
        place: &mut Place,
        keys: &[String],
        patience: Patience,
    ) -> anyhow::Result<Back> {
        let victim = place.regions.len() - 1;
        let sources = place.sources().into_iter().filter(|&at| at != victim);
        let sources: Vec<(usize, Site)> = sources
            .map(|at| (at, place.regions[at].site.clone()))
            .collect();
        let length = self.before + self.down + self.settle_limit * 2 + patience.hold * 2;
        let mut drive = self.drive(case, length, stage.seed);
        let progress = Progress::default();
        let start = Instant::now() + CONNECT_TIME;
        let (back, records) = thread::scope(|scope| {
            let loading: Vec<_> = sources
                .iter()
                .map(|(at, site)| {
                    let (load, progress) = (drive.load(site, *at, sources.len()), &progress);
                    scope.spawn(move || load.run_from(start, progress))
                })
                .collect();
            let back = self.come_back(place, start, keys, patience);
            progress.stop.store(true, Ordering::Relaxed);
            (back, joined(loading))
        });
        let mut back = back?;
        drive.length = start.elapsed();
        for ((_, site), record) in sources.iter().zip(records) {
            let record = record.with_context(|| format!("the load on {}", site.region))?;
            back.loads.push(drive.region_load(site, &record));
        }
        Ok(back)
    }

    fn come_back(
        &self,
        place: &mut Place,
        start: Instant,
        keys: &[String],
        patience: Patience,
    ) -> anyhow::Result<Back> {
        let victim = place.regions.len() - 1;
        let kill_at = start + self.before;
        thread::sleep(kill_at.saturating_duration_since(Instant::now()));
        place.regions[victim].process.kill();
        thread::sleep(self.down);
        let _before = place.take_report()?;
        let started = Instant::now();
        place.regions[victim].process.restart()?;
        let mut back = Back {
            ready: self.await_ready(place, victim, started)?,
            ..Back::default()
        };
        if let Some(ready) = back.ready {
            let readers = Readers::connect(&place.clients());
            let settled = readers.and_then(|mut readers| readers.settle(&sample(keys), patience));
            let settled = settled.context("comparing the regions")?;
            back.equal = settled.after.map(|after| ready + after);
            back.look = settled.look;
        }
        back.forwarder = place.take_report()?;
        Ok(back)
    }

    /// How long after `started` the server of a region serves what it should hold, if it does within the limit.
    fn await_ready(
        &self,
        place: &mut Place,
        region: usize,
        started: Instant,
    ) -> anyhow::Result<Option<Duration>> {
        let address = place.regions[region].site.client;
        loop {
            // Nobody listens at first.
            let is_ready = info(address).is_ok_and(|info| serves(&info));
            let took = started.elapsed();
            if is_ready || took > self.settle_limit {
                return Ok(is_ready.then_some(took));
            }
            place.check()?;
            if let Some(interrupted) = interrupt::seen() {
                bail!(interrupted);
            }
            thread::sleep(LOOK_INTERVAL);
        }
    }

    fn drive<'a>(&self, case: &'a RestartCase, length: Duration, seed: u64) -> Drive<'a> {
        Drive {
            mix: self.mix,
            data: Dataset {
                keys: self.data.keys.div_ceil(WRITTEN),
                ..self.data
            },
            writers: &[],
            connections: self.connections,
            pipeline: 1,
            rate: case.rate,
            length,
            warm_up: Duration::ZERO,
            probed_for: None,
            network: &case.network,
            faults: &[],
            seed,
        }
    }
}

/// How a server came back. Times count from its start.
#[derive(Default)]
struct Back {
    ready: Option<Duration>,
    equal: Option<Duration>,
    /// How long the comparison took that found them equal.
    look: Duration,
    forwarder: Option<ForwarderReport>,
    loads: Vec<RegionLoad>,
}

/// Some of those keys that the load does not ask for.
fn sample(keys: &[String]) -> Vec<String> {
    let written = (keys.len() as u64).div_ceil(WRITTEN) as usize;
    let unwritten = &keys[written.min(keys.len() - 1)..];
    let step = unwritten.len().div_ceil(SAMPLE);
    unwritten.iter().step_by(step).cloned().collect()
}

fn joined(
    loads: Vec<ScopedJoinHandle<'_, Result<Record, LoadError>>>,
) -> Vec<Result<Record, LoadError>> {
    let join = |load: ScopedJoinHandle<'_, _>| load.join().expect("a load does not panic");
    loads.into_iter().map(join).collect()
}

/// How many of all keys differ once nothing is under way any more. They are many, so only those are looked at again that did
/// differ.
fn differing(
    addresses: &[SocketAddr],
    keys: &[String],
    patience: Patience,
) -> Result<usize, ConnectionError> {
    let mut readers = Readers::connect(addresses)?;
    thread::sleep(patience.hold);
    let found = readers.differing(keys)?;
    let keys: Vec<String> = found.into_iter().map(|held| held.key).collect();
    match keys.is_empty() {
        true => Ok(0),
        false => Ok(readers.settle(&keys, patience)?.differing.len()),
    }
}

/// What a server says of itself.
fn info(address: SocketAddr) -> anyhow::Result<String> {
    let mut request = Vec::new();
    let count = put_command(&mut request, &[b"INFO"]);
    let mut said = String::new();
    Client::connect(address)?.exchange(&request, count as usize, |reply| {
        said = String::from_utf8_lossy(reply).into_owned();
    })?;
    Ok(said)
}

/// Whether it has loaded what its peers hold. A replica serves what it has before, which is nothing, and says that its link
/// is down or still carries the first copy.
fn serves(info: &str) -> bool {
    let is_late =
        |line: &str| line.ends_with("link_status:down") || line.ends_with("sync_in_progress:1");
    info.lines().any(|line| line == "loading:0") && !info.lines().any(is_late)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_compared_under_load_are_some_that_it_does_not_write() {
        let keys: Vec<String> = (0..5_000).map(|key| key_name(LOADED, key)).collect();
        let sampled = sample(&keys);
        assert!(sampled[0] == keys[500] && sampled.last() > keys.get(4_990));
        assert!((SAMPLE / 2..=SAMPLE).contains(&sampled.len()));
        assert_eq!(sample(&keys[..20]), keys[2..20]);
        assert_eq!(sample(&keys[..1]), keys[..1]);
    }

    #[test]
    fn a_server_serves_once_it_has_loaded_and_its_links_have_brought_the_first_copy() {
        let replica = "$99\r\n# Persistence\r\nloading:0\r\nasync_loading:0\r\nrole:slave\r\n\
                       master_link_status:up\r\nmaster_sync_in_progress:0\r\n";
        assert!(serves(replica));
        assert!(!serves(&replica.replace("\r\nloading:0", "\r\nloading:1")));
        assert!(!serves(&replica.replace(":up", ":down")));
        assert!(!serves(&replica.replace("progress:0", "progress:1")));
        assert!(serves("loading:0\r\nrole:master\r\n"));
        assert!(!serves(
            "-LOADING Redis is loading the dataset in memory\r\n"
        ));
    }
}
