//! Two reports, or two greenwich binaries in one, beside each other.

pub mod samples;
pub mod verdict;

use std::fmt;

use serde_json::Value;

use self::{
    samples::{Metric, Samples},
    verdict::{Comparison, Rounds},
};
use super::{Report, ScenarioReport, provenance::Provenance, terminal::table};
use crate::server::greenwich::{BASELINE_NAME, NAME};

/// What can be said of B beside A.
#[derive(Clone, Debug)]
pub struct Compared {
    /// What to know before the figures.
    pub notes: Vec<String>,
    /// In A's order.
    pub scenarios: Vec<ComparedScenario>,
}

/// One scenario of both.
#[derive(Clone, Debug)]
pub struct ComparedScenario {
    /// Its name.
    pub name: String,
    /// What to know of it, or why it is not compared.
    pub notes: Vec<String>,
    /// Figures that both have.
    pub rows: Vec<Row>,
}

/// One figure.
#[derive(Clone, Debug)]
pub struct Row {
    /// Of which server; `None` where A and B are servers.
    pub server: Option<String>,
    /// Under what.
    pub case: String,
    /// What.
    pub metric: Metric,
    /// Both values, and what they mean.
    pub comparison: Comparison,
}

impl Compared {
    /// Each server of `b` with the same server of `a`, which were measured at different times.
    #[must_use]
    pub fn reports(a: &Report, b: &Report) -> Self {
        let mut notes = differences(&a.provenance, &b.provenance);
        notes.push(
            "A and B were measured at different times: what else the machine did may be the difference; --baseline lets \
             two binaries take turns"
                .to_owned(),
        );
        for (name, report) in [("A", a), ("B", b)] {
            let unfinished = report.unfinished.join(", ");
            if !unfinished.is_empty() {
                notes.push(format!("{name} ended before it had measured {unfinished}"));
            }
        }
        let mut left: Vec<&ScenarioReport> = b.scenarios.iter().collect();
        let mut scenarios = Vec::new();
        for of_a in &a.scenarios {
            match left.iter().position(|of_b| of_b.name == of_a.name) {
                Some(at) => scenarios.push(ComparedScenario::new(of_a, left.remove(at))),
                None => notes.push(format!("{} is in A alone", of_a.name)),
            }
        }
        notes.extend(
            left.iter()
                .map(|of_b| format!("{} is in B alone", of_b.name)),
        );
        Self { notes, scenarios }
    }

    /// Greenwich with the baseline that took turns with it; `None` when there was none.
    #[must_use]
    pub fn with_baseline(report: &Report) -> Option<Self> {
        let has = |server| report.provenance.servers.contains_key(server);
        let scenarios = report.scenarios.iter().map(ComparedScenario::with_baseline);
        (has(NAME) && has(BASELINE_NAME)).then(|| Self {
            notes: Vec::new(),
            scenarios: scenarios.collect(),
        })
    }

    /// Whether there is any figure.
    #[must_use]
    pub fn has_rows(&self) -> bool {
        self.scenarios
            .iter()
            .any(|scenario| !scenario.rows.is_empty())
    }
}

impl ComparedScenario {
    fn new(a: &ScenarioReport, b: &ScenarioReport) -> Self {
        let mut compared = Self {
            name: a.name.clone(),
            notes: Vec::new(),
            rows: Vec::new(),
        };
        let settings = setting_differences(a, b);
        if !settings.is_empty() {
            let settings = settings.join("; ");
            compared.notes = vec![format!("not compared, its settings differ: {settings}")];
            return compared;
        }
        let (of_a, of_b) = (Samples::of(&a.outcome), Samples::of(&b.outcome));
        for (name, report, samples) in [("A", a, &of_a), ("B", b, &of_b)] {
            compared.note(name, report, samples);
        }
        for a in &of_a.entries {
            let is_same = |b: &&samples::Entry| {
                b.server == a.server && b.case == a.case && b.metric == a.metric
            };
            if let Some(b) = of_b.entries.iter().find(is_same) {
                let server = Some(a.server.clone());
                compared.add(server, a, b, Rounds::Independent);
            }
        }
        compared
    }

    fn with_baseline(report: &ScenarioReport) -> Self {
        let mut compared = Self {
            name: report.name.clone(),
            notes: Vec::new(),
            rows: Vec::new(),
        };
        let samples = Samples::of(&report.outcome);
        compared.note("the run", report, &samples);
        let of = |server| {
            samples
                .entries
                .iter()
                .filter(move |entry| entry.server == server)
        };
        for a in of(BASELINE_NAME) {
            let is_same = |b: &&samples::Entry| b.case == a.case && b.metric == a.metric;
            if let Some(b) = of(NAME).find(is_same) {
                compared.add(None, a, b, Rounds::Paired);
            }
        }
        compared
    }

    fn note(&mut self, name: &str, report: &ScenarioReport, samples: &Samples) {
        if let Some(reason) = &report.partial {
            let name = match name {
                "the run" => String::new(),
                name => format!(" in {name}"),
            };
            self.notes.push(format!(
                "ended early{name}, and only what both have is compared: {reason}"
            ));
        }
        let left_out = report.left_out.iter();
        self.notes
            .extend(left_out.map(|sentence| format!("{name}: {sentence}")));
        let notes = samples.notes.iter();
        self.notes
            .extend(notes.map(|note| format!("{name}: {note}")));
    }

    fn add(
        &mut self,
        server: Option<String>,
        a: &samples::Entry,
        b: &samples::Entry,
        rounds: Rounds,
    ) {
        let is_more_better = a.metric.is_more_better;
        self.rows.push(Row {
            server,
            case: a.case.clone(),
            metric: a.metric,
            comparison: Comparison::new(&a.sample, &b.sample, rounds, is_more_better),
        });
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.notes
            .iter()
            .try_for_each(|note| writeln!(f, "{note}"))?;
        for scenario in &self.scenarios {
            writeln!(f, "\n{}", scenario.name)?;
            let mut notes = scenario.notes.iter();
            notes.try_for_each(|note| writeln!(f, "{note}"))?;
            if scenario.rows.is_empty() {
                writeln!(f, "nothing that both have")?;
                continue;
            }
            let mut rows = table(
                &[
                    "server", "case", "figure", "A", "B", "B / A", "99 %", "B is",
                ],
                3,
            );
            for row in &scenario.rows {
                let comparison = &row.comparison;
                let ratio = |ratio: f64| match ratio {
                    0.001..1000.0 => format!("{ratio:.3}"),
                    ..0.001 => "< 0.001".to_owned(),
                    _ => "> 1000".to_owned(),
                };
                let interval =
                    |(least, most): (f64, f64)| format!("{} to {}", ratio(least), ratio(most));
                rows.add_row([
                    row.server.clone().unwrap_or_else(|| NAME.to_owned()),
                    row.case.clone(),
                    row.metric.name.to_owned(),
                    figure(comparison.a),
                    figure(comparison.b),
                    comparison.ratio.map_or_else(String::new, ratio),
                    comparison.interval.map_or_else(String::new, interval),
                    comparison.verdict.to_string(),
                ]);
            }
            writeln!(f, "{rows}")?;
        }
        Ok(())
    }
}

/// With the digits that are known.
fn figure(value: f64) -> String {
    match value.abs() {
        ..100.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}

/// How the places and the programs of two reports differ.
fn differences(a: &Provenance, b: &Provenance) -> Vec<String> {
    let text = |value: Value| {
        let text = value.as_str().map(str::to_owned);
        text.unwrap_or_else(|| value.to_string())
    };
    let of = |a: Value, b: Value, name: &str| {
        (a != b).then(|| format!("{name}: {} in A, {} in B", text(a), text(b)))
    };
    let machine = [
        of(
            a.processor.clone().into(),
            b.processor.clone().into(),
            "another processor",
        ),
        of(a.cores.into(), b.cores.into(), "another number of cores"),
        of(
            a.memory_bytes.into(),
            b.memory_bytes.into(),
            "another memory, in bytes",
        ),
        of(
            a.kernel.clone().into(),
            b.kernel.clone().into(),
            "another kernel",
        ),
        of(
            a.emulation.to_string().into(),
            b.emulation.to_string().into(),
            "links",
        ),
        of(a.tcp.clone().into(), b.tcp.clone().into(), "TCP over links"),
        of(a.seed.into(), b.seed.into(), "another seed"),
        of(a.commit.clone().into(), b.commit.clone().into(), "commit"),
    ];
    let both = a.servers.iter().filter_map(|(server, of_a)| {
        let (of_a, of_b) = (of_a.as_ref()?, b.servers.get(server)?.as_ref()?);
        of(of_a.clone().into(), of_b.clone().into(), server)
    });
    machine.into_iter().flatten().chain(both).collect()
}

/// Every setting that differs, with both values.
fn setting_differences(a: &ScenarioReport, b: &ScenarioReport) -> Vec<String> {
    let mut found = Vec::new();
    let json = |report: &ScenarioReport| {
        let settings = serde_json::to_value(&report.settings).unwrap_or_default();
        (settings, Value::from(report.regions.clone()))
    };
    let ((of_a, regions_a), (of_b, regions_b)) = (json(a), json(b));
    collect("regions", &regions_a, &regions_b, &mut found);
    collect("", &of_a, &of_b, &mut found);
    found
}

fn collect(name: &str, a: &Value, b: &Value, found: &mut Vec<String>) {
    let null = Value::Null;
    match (a, b) {
        (Value::Object(of_a), Value::Object(of_b)) => {
            let only_b = of_b.keys().filter(|key| !of_a.contains_key(*key));
            for key in of_a.keys().chain(only_b) {
                let inner = match name {
                    "" => key.clone(),
                    name => format!("{name}.{key}"),
                };
                let (a, b) = (of_a.get(key), of_b.get(key));
                collect(&inner, a.unwrap_or(&null), b.unwrap_or(&null), found);
            }
        }
        _ if a != b => found.push(format!("{name} is {a} in A and {b} in B")),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
