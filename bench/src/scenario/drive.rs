//! Loads and probes on a server's regions while a timetable of faults goes on.

use std::{
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::{
    faults::{self, Action, Fault, Mark},
    place::Place,
};
use crate::{
    interrupt,
    lag::{Lag, LagFigures, probe::Probing},
    load::{
        CONNECT_TIME, Load,
        dataset::Dataset,
        generator::Progress,
        mix::{Mix, Operation},
        record::{OperationRecord, Record, Second},
    },
    report::distribution::Distribution,
    server::{Running, Site, process::usage},
    wan::{forwarder::account::ForwarderReport, plan::Network},
};

/// What to do to a server's regions.
#[derive(Clone, Debug)]
pub(super) struct Drive<'a> {
    /// What is asked.
    pub(super) mix: Mix,
    pub(super) data: Dataset,
    /// Regions whose clients ask; all that take writes when none is named.
    pub(super) writers: &'a [String],
    /// Of each region.
    pub(super) connections: usize,
    /// Requests that are sent together.
    pub(super) pipeline: usize,
    /// Requests a second, of all regions that take writes together.
    pub(super) rate: f64,
    /// Warm-up included.
    pub(super) length: Duration,
    pub(super) warm_up: Duration,
    /// For how long a probe of the lag is looked for; `None` is no probes.
    pub(super) probed_for: Option<Duration>,
    pub(super) network: &'a Network,
    pub(super) faults: &'a [Fault],
    pub(super) seed: u64,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Driven {
    pub(super) loads: Vec<RegionLoad>,
    pub(super) directions: Vec<Direction>,
    pub(super) marks: Vec<Mark>,
    pub(super) regions: Vec<RegionSamples>,
    /// How well the emulation did, when it can tell.
    pub(super) forwarder: Option<ForwarderReport>,
}

/// What the clients of one region saw.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RegionLoad {
    /// Which region.
    pub region: String,
    /// From the intended start to the last reply, of all operations together.
    pub latency: Distribution,
    /// The same, of each operation.
    #[serde(default)]
    pub operations: Vec<OperationLoad>,
    /// Requests that were answered, without those of the warm-up.
    pub answered: u64,
    /// Of them, those that were answered with an error.
    pub errors: u64,
    /// Requests of the schedule that were never sent.
    pub missed: u64,
    /// Answered requests a second. A server that is behind in the end is given its time to answer, and that counts.
    pub per_second: f64,
    /// How late the generator itself sent requests, 99 of 100, in milliseconds.
    pub sent_late_ms_p99: f64,
    /// Requests whose connection was lost, or whose reply did not come until the end.
    pub unanswered: u64,
    /// Per second since the start.
    pub seconds: Vec<Second>,
}

/// What the clients of one region saw of one operation.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct OperationLoad {
    /// Which operation.
    pub operation: Operation,
    /// From the intended start to the last reply.
    pub latency: Distribution,
    /// Replies that were errors.
    pub errors: u64,
}

/// What a region's server used, second by second.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct RegionSamples {
    /// Which region.
    pub region: String,
    /// Resident memory; zero while it does not run.
    pub resident_bytes: Vec<u64>,
    /// Time on processors since its start, in seconds.
    pub cpu_seconds: Vec<f64>,
}

impl RegionSamples {
    fn look(&mut self, region: &Running) {
        let usage = usage(region.process.pid()).unwrap_or_default();
        self.resident_bytes.push(usage.resident_bytes);
        self.cpu_seconds.push(usage.cpu.as_secs_f64());
    }

    /// Time on processors from the first look to the last; `None` when it was started again in between.
    #[must_use]
    pub fn cpu_seconds(&self) -> Option<f64> {
        let is_whole = self.cpu_seconds.is_sorted();
        let ends = self.cpu_seconds.first().zip(self.cpu_seconds.last());
        ends.filter(|_| is_whole).map(|(first, last)| last - first)
    }
}

/// Lag from one region to another.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Direction {
    /// Where it was written.
    pub from: String,
    /// Where it was looked for.
    pub to: String,
    /// The delay of the link alone, in milliseconds.
    pub one_way_ms: f64,
    /// Percentiles.
    pub lag: LagFigures,
    /// More of them, for plots.
    pub distribution: Distribution,
    /// When probes were due, since the start, and how long they took, both in milliseconds; of long runs the slowest of
    /// each stretch.
    pub series_ms: Vec<(f64, f64)>,
}

/// What happens while loads and probes go on.
#[derive(Clone, Copy, Debug)]
enum Event<'a> {
    /// What links did before is not counted.
    Warm,
    Fault(&'a Action),
    /// At what servers use.
    Look,
}

/// Looks begin this share of the one-way delay after a probe's write, so that they do not load the server in vain.
const LOOK_AFTER: f64 = 0.9;
/// From one look at what servers use to the next.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

impl Drive<'_> {
    /// Goes on until all is answered and seen.
    pub(super) fn run(&self, place: &mut Place) -> anyhow::Result<Driven> {
        let start = Instant::now() + CONNECT_TIME;
        let mut sources = place.sources();
        let name = |&region: &usize| &place.regions[region].site.region;
        sources.retain(|region| self.writers.is_empty() || self.writers.contains(name(region)));
        let sites: Vec<Site> = place
            .regions
            .iter()
            .map(|region| region.site.clone())
            .collect();
        let progress = Progress::default();
        let (mut loads, mut directions) = (Vec::new(), Vec::new());
        let (marks, regions) = thread::scope(|scope| {
            let loading = sources.iter().map(|&region| {
                let (load, progress) =
                    (self.load(&sites[region], region, sources.len()), &progress);
                scope.spawn(move || load.run_from(start, progress))
            });
            let loading: Vec<_> = loading.collect();
            let probing = sources.iter().filter_map(|&source| {
                let probing = self.probing(source, &sites, start)?;
                let progress = &progress;
                Some(scope.spawn(move || probing.run(&progress.stop)))
            });
            let probing: Vec<_> = probing.collect();
            let kept = self.keep(start, place, &progress);
            if kept.is_err() {
                progress.stop.store(true, Ordering::Relaxed);
            }
            for (&region, handle) in sources.iter().zip(loading) {
                let record = handle.join().expect("a load does not panic");
                let record =
                    record.with_context(|| format!("the load on {}", sites[region].region))?;
                loads.push(self.region_load(&sites[region], &record));
            }
            for (&source, handle) in sources.iter().zip(probing) {
                let lags = handle.join().expect("probing does not panic");
                let lags =
                    lags.with_context(|| format!("probing from {}", sites[source].region))?;
                directions.extend(self.directions(&sites, source, &lags));
            }
            kept
        })?;
        let forwarder = place.take_report()?;
        Ok(Driven {
            loads,
            directions,
            marks,
            regions,
            forwarder,
        })
    }

    /// Keeps the timetable, and looks at what servers use.
    fn keep(
        &self,
        start: Instant,
        place: &mut Place,
        progress: &Progress,
    ) -> anyhow::Result<(Vec<Mark>, Vec<RegionSamples>)> {
        let mut samples: Vec<RegionSamples> = place
            .regions
            .iter()
            .map(|region| RegionSamples {
                region: region.site.region.clone(),
                ..RegionSamples::default()
            })
            .collect();
        let mut marks = Vec::new();
        for (at, event) in self.events() {
            thread::sleep((start + at).saturating_duration_since(Instant::now()));
            if let Some(interrupted) = interrupt::seen() {
                bail!(interrupted);
            }
            // A load that was given up ends the whole.
            if progress.stop.load(Ordering::Relaxed) {
                break;
            }
            match event {
                Event::Warm => drop(place.take_report()?),
                Event::Fault(action) => {
                    faults::happen(action, place).with_context(|| action.to_string())?;
                    marks.push(Mark {
                        at_ms: millis(start.elapsed()),
                        label: action.to_string(),
                    });
                }
                Event::Look => {
                    place.check()?;
                    let each = samples.iter_mut().zip(&place.regions);
                    each.for_each(|(samples, region)| samples.look(region));
                }
            }
        }
        Ok((marks, samples))
    }

    /// What happens when, since the start, in its order.
    fn events(&self) -> Vec<(Duration, Event<'_>)> {
        let warm = std::iter::once((self.warm_up, Event::Warm));
        let faults = self.faults.iter();
        let faults = faults.map(|fault| (fault.at, Event::Fault(&fault.action)));
        let looks = (0..).map(|number| (SAMPLE_INTERVAL * number, Event::Look));
        let looks = looks.take_while(|(at, _)| *at <= self.length);
        let mut events: Vec<_> = warm.chain(faults).chain(looks).collect();
        events.sort_by_key(|(at, _)| *at);
        events
    }

    pub(super) fn load(&self, site: &Site, region: usize, sources: usize) -> Load {
        Load {
            address: site.client,
            mix: self.mix,
            data: self.data,
            rate: Some(self.rate / sources as f64),
            length: self.length,
            warm_up: self.warm_up,
            connections: self.connections,
            pipeline: self.pipeline,
            threads: 1,
            resp3: false,
            reconnects: !self.faults.is_empty(),
            seed: self.seed.wrapping_add(region as u64),
            inserter: region,
        }
    }

    fn probing(&self, source: usize, sites: &[Site], start: Instant) -> Option<Probing> {
        let from = &sites[source].region;
        let target = |(_, site): (usize, &Site)| {
            let sooner = self.network.one_way(from, &site.region).mul_f64(LOOK_AFTER);
            (site.client, sooner)
        };
        Some(Probing {
            source: sites[source].client,
            label: format!("{}:{source}", unix_millis()),
            targets: others(sites, source).map(target).collect(),
            start,
            warm_up: self.warm_up,
            length: self.length,
            never_after: self.probed_for?,
            reconnects: !self.faults.is_empty(),
        })
    }

    pub(super) fn region_load(&self, site: &Site, record: &Record) -> RegionLoad {
        let took = record.last_at.max(self.length) - self.warm_up;
        RegionLoad {
            region: site.region.clone(),
            latency: Distribution::of(&record.total()),
            operations: record.operations.iter().map(operation_load).collect(),
            answered: record.answered,
            errors: record.errors(),
            missed: record.missed,
            per_second: record.answered as f64 / took.as_secs_f64(),
            sent_late_ms_p99: record.lateness.value_at_quantile(0.99) as f64 / 1e6,
            unanswered: record.unanswered,
            seconds: record.seconds.clone(),
        }
    }

    fn directions(&self, sites: &[Site], source: usize, lags: &[Lag]) -> Vec<Direction> {
        let from = &sites[source].region;
        let direction = |((_, to), lag): ((usize, &Site), &Lag)| Direction {
            from: from.clone(),
            to: to.region.clone(),
            one_way_ms: millis(self.network.one_way(from, &to.region)),
            lag: lag.figures(),
            distribution: Distribution::of(&lag.seen_after),
            series_ms: series_of(&lag.series),
        };
        others(sites, source).zip(lags).map(direction).collect()
    }
}

fn others(sites: &[Site], source: usize) -> impl Iterator<Item = (usize, &Site)> {
    sites
        .iter()
        .enumerate()
        .filter(move |(index, _)| *index != source)
}

fn operation_load((&operation, record): (&Operation, &OperationRecord)) -> OperationLoad {
    OperationLoad {
        operation,
        latency: Distribution::of(&record.latency),
        errors: record.errors,
    }
}

/// Probes of one direction that a report keeps.
const SERIES_MAX: usize = 6_000;

/// Probes in milliseconds; of long runs the slowest of each stretch, so that no peak is lost.
fn series_of(series: &[(Duration, Duration)]) -> Vec<(f64, f64)> {
    let stretch = series.len().div_ceil(SERIES_MAX).max(1);
    let slowest = series
        .chunks(stretch)
        .filter_map(|probes| probes.iter().max_by_key(|(_, took)| *took));
    let rounded = |time: Duration| (millis(time) * 1e3).round() / 1e3;
    slowest
        .map(|&(at, took)| (rounded(at), rounded(took)))
        .collect()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn unix_millis() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{
        connection::Answer,
        keys::KeySpread,
        values::{ValueContent, ValueSize},
    };

    /// For 2.7 s, of which 0.5 s are warm-up.
    fn drive<'a>(network: &'a Network, faults: &'a [Fault]) -> Drive<'a> {
        Drive {
            mix: Mix::Set,
            data: Dataset {
                keys: 1,
                spread: KeySpread::Uniform,
                value_size: ValueSize::Fixed(1),
                value_content: ValueContent::Random,
            },
            writers: &[],
            connections: 1,
            pipeline: 1,
            rate: 1.0,
            length: Duration::from_millis(2_700),
            warm_up: Duration::from_millis(500),
            probed_for: None,
            network,
            faults,
            seed: 1,
        }
    }

    #[test]
    fn faults_and_the_end_of_the_warm_up_come_at_their_moment() {
        let millis = Duration::from_millis;
        let fault = |at, region: &str| Fault {
            at,
            action: Action::Kill(region.to_owned()),
        };
        let faults = [fault(millis(2_600), "late"), fault(millis(1_000), "early")];
        let network = Network::default();
        let drive = drive(&network, &faults);
        let events = drive.events();
        let events = events.iter().map(|(at, event)| match event {
            Event::Warm => (at.as_millis(), "warm"),
            Event::Fault(Action::Kill(region)) => (at.as_millis(), region.as_str()),
            Event::Fault(_) => (at.as_millis(), "?"),
            Event::Look => (at.as_millis(), "look"),
        });
        let expected = [
            (0, "look"),
            (500, "warm"),
            (1_000, "early"),
            (1_000, "look"),
            (2_000, "look"),
            (2_600, "late"),
        ];
        assert_eq!(events.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_clients_saw_is_told_in_its_units() {
        let mut record = Record {
            missed: 3,
            unanswered: 4,
            ..Record::default()
        };
        for (count, millis) in [(95, 2), (4, 7), (1, 100)] {
            (0..count).for_each(|_| record.send(Duration::from_millis(millis)));
        }
        for number in 0..50 {
            let answer = Answer {
                intended: Duration::from_millis(500 + number),
                operation: Operation::Update,
                is_error: number < 5,
            };
            record.answer(answer, Duration::from_millis(10));
        }
        let site = Site::on_loopback(&["a"]).unwrap().remove(0);
        let network = Network::default();
        let drive = drive(&network, &[]);
        let load = drive.region_load(&site, &record);
        assert_eq!((load.answered, load.errors), (50, 5));
        assert_eq!((load.missed, load.unanswered), (3, 4));
        assert_eq!(load.sent_late_ms_p99.round(), 7.0);
        assert_eq!(load.latency.at(0.99).round(), 10.0);
        // From the end of the warm-up to the end of the load, and as long as answers come.
        assert!((load.per_second - 50.0 / 2.2).abs() < 1e-9);
        record.last_at = Duration::from_millis(5_500);
        assert_eq!(drive.region_load(&site, &record).per_second, 10.0);
    }
}
