//! The figures of a scenario that can be compared. A new scenario is a function here that calls [`Samples::add`] for each
//! figure: what is added again under the same server, case and metric is another round.

use super::verdict::Sample;
use crate::{
    report::local::Spread,
    scenario::{
        Outcome,
        conflict::ConflictReport,
        drive::{Direction, RegionLoad},
        lag::{LagReport, LagRun},
        local::LocalReport,
        partition::PartitionReport,
        restart::RestartReport,
        soak::SoakReport,
    },
};

/// What a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// With its unit.
    pub name: &'static str,
    /// Whether more of it is better.
    pub is_more_better: bool,
}

impl Metric {
    const fn more(name: &'static str) -> Self {
        let is_more_better = true;
        Self {
            name,
            is_more_better,
        }
    }

    const fn less(name: &'static str) -> Self {
        let is_more_better = false;
        Self {
            name,
            is_more_better,
        }
    }
}

/// Figures of one server in one case.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The server.
    pub server: String,
    /// Under what.
    pub case: String,
    /// What.
    pub metric: Metric,
    /// The figures.
    pub sample: Sample,
}

/// What can be compared of a scenario.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// In the order in which they were measured.
    pub entries: Vec<Entry>,
    /// What must be said of them, or of what is missing.
    pub notes: Vec<String>,
}

impl Samples {
    /// Of what a scenario showed.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Self {
        let mut samples = Self::default();
        match outcome {
            Outcome::Local(report) => samples.local(report),
            Outcome::Lag(report) => samples.lag(report),
            Outcome::Conflict(report) => samples.conflict(report),
            Outcome::Partition(report) => samples.partition(report),
            Outcome::Restart(report) => samples.restart(report),
            Outcome::Soak(report) => samples.soak(report),
        }
        samples
    }

    /// Adds a round.
    fn add(&mut self, server: &str, case: &str, metric: Metric, value: f64) {
        let is_same = |entry: &&mut Entry| {
            entry.server == server && entry.case == case && entry.metric == metric
        };
        match self.entries.iter_mut().find(is_same) {
            Some(entry) => entry.sample.values.push(value),
            None => self.entries.push(Entry {
                server: server.to_owned(),
                case: case.to_owned(),
                metric,
                sample: Sample {
                    values: vec![value],
                    is_one_run: false,
                    error: 0.0,
                },
            }),
        }
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn local(&mut self, report: &LocalReport) {
        for memory in &report.memory {
            let metric = Metric::less("bytes per key");
            self.add(&memory.server, "all keys", metric, memory.bytes_per_key);
        }
        for turn in &report.turns {
            let (server, case) = (&turn.server, turn.case.to_string());
            self.add(server, &case, Metric::more("per second"), turn.per_second);
            let cpu = Metric::less("CPU µs per command");
            self.add(server, &case, cpu, turn.cpu_us_per_command);
            if turn.errors > 0 {
                self.note(format!("{server} answered with errors: {case}"));
            }
        }
    }

    fn lag(&mut self, report: &LagReport) {
        for run in &report.runs {
            let case = case_of(run);
            if self.is_spoilt(&run.server, &case, run.bottleneck.as_ref()) {
                continue;
            }
            let is_same = |other: &&LagRun| other.server == run.server && other.case == run.case;
            let is_one_run = report.runs.iter().filter(is_same).count() == 1;
            let bytes = Metric::less("bytes per update");
            if let Some(bytes_per_update) = run.bytes_per_update {
                self.add(&run.server, &case, bytes, bytes_per_update);
            }
            for direction in &run.directions {
                self.direction(&run.server, &case, direction, is_one_run);
            }
        }
    }

    fn conflict(&mut self, report: &ConflictReport) {
        for run in &report.runs {
            let case = run.kind.name();
            let settled = Metric::less("ms until equal");
            self.add_if(&run.server, case, settled, run.equal_after_ms);
            if run.differing > 0 {
                let differing = run.differing;
                self.note(format!("{}: {differing} keys differ: {case}", run.server));
            }
            if let Some(lost) = run.lost.filter(|&lost| lost > 0) {
                self.note(format!("{}: {lost} updates lost: {case}", run.server));
            }
        }
    }

    fn partition(&mut self, report: &PartitionReport) {
        for run in &report.runs {
            let cut = humantime::format_duration(run.case.cut);
            let case = format!("{}/s, {}, cut {cut}", run.case.rate, run.case.network);
            if self.is_spoilt(&run.server, &case, run.bottleneck.as_ref()) {
                continue;
            }
            let settled = Metric::less("ms until equal");
            self.add_if(&run.server, &case, settled, run.equal_after_ms);
            let bytes = Metric::less("bytes until equal");
            self.add(&run.server, &case, bytes, run.heal_bytes as f64);
            if run.differing > 0 {
                let differing = run.differing;
                self.note(format!("{}: {differing} keys differ: {case}", run.server));
            }
        }
    }

    fn restart(&mut self, report: &RestartReport) {
        for run in &report.runs {
            let case = format!(
                "{} keys, {}/s, {}",
                run.keys, run.case.rate, run.case.network
            );
            if self.is_spoilt(&run.server, &case, run.bottleneck.as_ref()) {
                continue;
            }
            let ready = Metric::less("ms until ready");
            self.add_if(&run.server, &case, ready, run.ready_after_ms);
            let settled = Metric::less("ms until equal");
            self.add_if(&run.server, &case, settled, run.equal_after_ms);
            if let Some(bytes) = run.link_bytes {
                let metric = Metric::less("bytes until equal");
                self.add(&run.server, &case, metric, bytes as f64);
            }
            if run.differing > 0 {
                let differing = run.differing;
                self.note(format!("{}: {differing} keys differ: {case}", run.server));
            }
        }
    }

    fn soak(&mut self, report: &SoakReport) {
        for run in &report.runs {
            if self.is_spoilt(&run.server, "all", run.bottleneck.as_ref()) {
                continue;
            }
            for RegionLoad {
                region, latency, ..
            } in &run.loads
            {
                let case = format!("clients of {region}");
                let p99 = Metric::less("p99, ms");
                self.add(&run.server, &case, p99, latency.at(0.99));
            }
            if run.differing > 0 {
                let differing = run.differing;
                self.note(format!("{}: {differing} keys differ", run.server));
            }
        }
    }

    /// Adds a round that may have no figure.
    fn add_if(&mut self, server: &str, case: &str, metric: Metric, value: Option<f64>) {
        match value {
            Some(value) => self.add(server, case, metric, value),
            None => self.note(format!("{server}: {} is not known: {case}", metric.name)),
        }
    }

    /// Whether the emulation has spoilt a run's figures, which is noted.
    fn is_spoilt(&mut self, server: &str, case: &str, bottleneck: Option<&String>) -> bool {
        if let Some(reason) = bottleneck {
            self.note(format!("left out, {server}, {case}: {reason}"));
        }
        bottleneck.is_some()
    }

    /// Percentiles of a direction: those of the run, or, when it is the only one, those of its parts.
    fn direction(&mut self, server: &str, case: &str, direction: &Direction, is_one_run: bool) {
        let case = format!("{case}, {} to {}", direction.from, direction.to);
        let lag = &direction.lag;
        if lag.never > 0 {
            let never = lag.never;
            self.note(format!("{server}: {never} probes never seen: {case}"));
        }
        for (name, quantile, of_run) in [
            ("p50, ms over one way", 0.5, lag.p50_ms),
            ("p99, ms over one way", 0.99, lag.p99_ms),
            ("p99.9, ms over one way", 0.999, lag.p999_ms),
        ] {
            if lag.never > 0 && !lag.is_known(quantile) {
                continue;
            }
            let of_parts = parts(&direction.series_ms, quantile).filter(|_| is_one_run);
            let has_parts = of_parts.is_some();
            let metric = Metric::less(name);
            for value in of_parts.unwrap_or_else(|| vec![of_run]) {
                self.add(server, &case, metric, value - direction.one_way_ms);
            }
            let entry = self.entries.iter_mut().rev();
            let mut entry = entry.filter(|entry| entry.metric == metric && entry.case == case);
            if let Some(entry) = entry.find(|entry| entry.server == server) {
                entry.sample.is_one_run = has_parts;
                entry.sample.error = entry.sample.error.max(lag.look_ms_p99);
            }
        }
    }
}

fn case_of(run: &LagRun) -> String {
    run.case.to_string()
}

/// Parts of a run, of the same length in time.
const PARTS: usize = 5;
/// Probes beyond a percentile that each part has at least.
const PROBES_BEYOND: f64 = 2.0;

/// A percentile in each part of a series of times and lags; `None` when a part has too few probes for it.
fn parts(series_ms: &[(f64, f64)], quantile: f64) -> Option<Vec<f64>> {
    let times = Spread::of(series_ms.iter().map(|(at, _)| *at).collect());
    let length = (times.most - times.least) / PARTS as f64;
    let mut parts = vec![Vec::new(); PARTS];
    for (at, lag) in series_ms {
        let part = ((at - times.least) / length) as usize;
        parts[part.min(PARTS - 1)].push(*lag);
    }
    let percentile = |mut lags: Vec<f64>| {
        lags.sort_by(f64::total_cmp);
        let beyond = lags.len() as f64 * (1.0 - quantile);
        let rank = (lags.len() as f64 * quantile).ceil() as usize;
        (beyond >= PROBES_BEYOND).then(|| lags[rank.max(1) - 1])
    };
    parts.into_iter().map(percentile).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_percentiles_of_their_own() {
        // 100 probes in each of five seconds, the lag of probe i in second s being 100 s + i.
        let probe = |number: u32| {
            let (second, index) = (f64::from(number / 100), f64::from(number % 100));
            (second * 1000.0 + index * 10.0, 100.0 * second + index + 1.0)
        };
        let series: Vec<_> = (0..500).map(probe).collect();
        let medians = parts(&series, 0.5).unwrap();
        for (second, median) in medians.iter().enumerate() {
            assert!((median - (100.0 * second as f64 + 50.0)).abs() <= 1.0);
        }
        assert_eq!(parts(&series, 0.99), None, "one probe is beyond");
        assert_eq!(parts(&[], 0.5), None);
    }
}
