//! What the scenario `local` shows.

use crate::{
    report::figure::{Axis, Figure, Kind, Plot, Point, Section, Series, Table},
    scenario::local::{Case, LocalReport, Turn},
};

/// Its tables and plots: medians over the rounds, and the spread of the rounds.
#[must_use]
pub fn section(report: &LocalReport) -> Section {
    let rows = rows(report);
    Section {
        warnings: rows.iter().flat_map(warnings).collect(),
        figures: vec![
            memory_table(report),
            turn_table(&rows),
            bars(
                &rows,
                "CPU per command",
                "User and system time of the first region's process, replication included, by the answered commands. The thin \
                 lines reach from the least round to the most: what lies within them is noise.",
                Axis::linear("CPU per command", "µs"),
                |row| row.cpu_us,
            ),
            bars(
                &rows,
                "Throughput",
                "As much as the server gives in a closed loop. Where generator and server share few cores, each has what the \
                 other leaves: compare CPU per command.",
                Axis::linear("commands", "/s"),
                |row| row.per_second,
            ),
            throughput_against_cpu(&rows),
            memory_bars(report),
        ],
        distributions: Vec::new(),
    }
}

fn warnings(row: &Row) -> Vec<String> {
    let of = format!("{}, {}", row.server, row.case);
    let failed = (row.errors > 0)
        .then(|| format!("{of}: up to {} replies of a turn were errors", row.errors));
    let silent = (row.per_second.least <= 0.0)
        .then(|| format!("DO NOT USE the figures of {of}: a turn had no answer at all"));
    failed.into_iter().chain(silent).collect()
}

fn memory_table(report: &LocalReport) -> Figure {
    let mut table = Table::new(1, ["server", "empty", "with all keys", "bytes per key"]);
    for row in &report.memory {
        let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        table.push([
            row.server.clone(),
            megabytes(row.empty_bytes),
            megabytes(row.full_bytes),
            format!("{:.0}", row.bytes_per_key),
        ]);
    }
    Figure::table("Memory", MEMORY_CAPTION, table)
}

const MEMORY_CAPTION: &str = "Resident memory of the first region's process. Bytes per key hold the key, the value, and what replication keeps \
     of late writes; a server that grows its tables in steps looks better just before a step.";

fn memory_bars(report: &LocalReport) -> Figure {
    let bars = report.memory.iter().map(|row| {
        let bar = Point::bar("bytes per key", row.bytes_per_key, None);
        (row.server.as_str(), bar)
    });
    let series = Series::by_server(bars);
    let (x, y) = (Axis::linear("", ""), Axis::linear("memory per key", "B"));
    Figure::plot(
        "Memory per key",
        MEMORY_CAPTION,
        Plot::new(Kind::Bars, x, y, series),
    )
}

fn turn_table(rows: &[Row]) -> Figure {
    let mut table = Table::new(
        2,
        [
            "case",
            "server",
            "per second",
            "CPU per command",
            "least",
            "most",
            "errors",
        ],
    );
    for row in rows {
        table.push([
            row.case.to_string(),
            row.server.clone(),
            format!("{:.0}", row.per_second.median),
            format!("{:.2} µs", row.cpu_us.median),
            format!("{:.2} µs", row.cpu_us.least),
            format!("{:.2} µs", row.cpu_us.most),
            row.errors.to_string(),
        ]);
    }
    Figure::table(
        "Throughput and CPU per command",
        "Medians over the rounds, and the least and most CPU of a round. PING is the baseline: what the kernel, the protocol \
         and the generator cost.",
        table,
    )
}

fn bars(
    rows: &[Row],
    title: &str,
    caption: &str,
    y: Axis,
    spread: impl Fn(&Row) -> Spread,
) -> Figure {
    let series = of_servers(rows, |row| {
        let spread = spread(row);
        Point::bar(row.case.to_string(), spread.median, spread.range())
    });
    let plot = Plot::new(Kind::Bars, Axis::linear("case", ""), y, series);
    Figure::plot(title, caption, plot)
}

fn throughput_against_cpu(rows: &[Row]) -> Figure {
    let series = of_servers(rows, |row| Point {
        label: Some(row.case.to_string()),
        ..Point::new(row.per_second.median, row.cpu_us.median)
    });
    let (x, y) = (
        Axis::log("commands", "/s"),
        Axis::log("CPU per command", "µs"),
    );
    Figure::plot(
        "Throughput against CPU",
        "Medians, a point per case. Lower is cheaper, to the right is more; points of one server on a falling line mean that \
         its processor is what limits it.",
        Plot::new(Kind::Scatter, x, y, series),
    )
}

fn of_servers(rows: &[Row], point: impl Fn(&Row) -> Point) -> Vec<Series> {
    Series::by_server(rows.iter().map(|row| (row.server.as_str(), point(row))))
}

/// All rounds of a server in a case.
struct Row {
    case: Case,
    server: String,
    per_second: Spread,
    cpu_us: Spread,
    /// Of the worst round.
    errors: u64,
}

/// Cases and servers in the order in which they were measured.
fn rows(report: &LocalReport) -> Vec<Row> {
    let mut pairs: Vec<(Case, &str)> = Vec::new();
    for turn in &report.turns {
        let pair = (turn.case, turn.server.as_str());
        if !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
    pairs.sort_by_key(|(case, _)| report.turns.iter().position(|turn| turn.case == *case));
    let row = |(case, server): (Case, &str)| {
        let turns = report.turns.iter();
        let turns = turns.filter(|turn| turn.case == case && turn.server == server);
        let turns: Vec<&Turn> = turns.collect();
        let of =
            |value: fn(&Turn) -> f64| Spread::of(turns.iter().map(|turn| value(turn)).collect());
        Row {
            case,
            server: server.to_owned(),
            per_second: of(|turn| turn.per_second),
            cpu_us: of(|turn| turn.cpu_us_per_command),
            errors: turns.iter().map(|turn| turn.errors).max().unwrap_or(0),
        }
    };
    pairs.into_iter().map(row).collect()
}

/// The middle and the ends of several measurements of the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The smallest.
    pub least: f64,
    /// The middle one; of an even number the mean of the middle two.
    pub median: f64,
    /// The largest.
    pub most: f64,
}

impl Spread {
    /// Of `values`; all zero when there is none.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.as_slice() {
            [] => 0.0,
            values if values.len() % 2 == 1 => values[middle],
            values => f64::midpoint(values[middle - 1], values[middle]),
        };
        let end = |value: Option<&f64>| value.copied().unwrap_or(0.0);
        Self {
            least: end(values.first()),
            median,
            most: end(values.last()),
        }
    }

    /// Its ends, when they differ.
    #[must_use]
    pub fn range(self) -> Option<(f64, f64)> {
        (self.least < self.most).then_some((self.least, self.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_its_middle_and_ends() {
        assert_eq!(
            Spread::of(vec![3.0, 1.0, 2.0]),
            Spread {
                least: 1.0,
                median: 2.0,
                most: 3.0
            }
        );
        assert_eq!(Spread::of(vec![4.0, 1.0]).median, 2.5);
        assert_eq!(Spread::of(Vec::new()).most, 0.0);
    }
}
