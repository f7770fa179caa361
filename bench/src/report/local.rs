//! The tables of the scenario `local`.

use crate::{
    report::terminal::table,
    scenario::local::{Case, LocalReport},
};

/// Prints memory, and a line per case and server: medians over the rounds, and the spread of the rounds.
pub fn print(report: &LocalReport) {
    let mut memory = table(["server", "empty", "with all keys", "bytes per key"]);
    for row in &report.memory {
        let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        memory.add_row([
            row.server.clone(),
            megabytes(row.empty_bytes),
            megabytes(row.full_bytes),
            format!("{:.0}", row.bytes_per_key),
        ]);
    }
    println!("{memory}");
    let mut turns = table([
        "case",
        "server",
        "per second",
        "CPU a command",
        "spread",
        "errors",
    ]);
    for (case, server) in rows(report) {
        let of = |value: fn(&crate::scenario::local::Turn) -> f64| {
            let turns = report.turns.iter();
            let turns = turns.filter(|turn| turn.case == case && turn.server == server);
            Spread::of(turns.map(value).collect())
        };
        let (rate, cpu) = (
            of(|turn| turn.per_second),
            of(|turn| turn.cpu_us_per_command),
        );
        let errors = of(|turn| turn.errors as f64);
        turns.add_row([
            case.to_string(),
            server.to_owned(),
            format!("{:.0}", rate.median),
            format!("{:.2} µs", cpu.median),
            format!("{:.2} to {:.2}", cpu.least, cpu.most),
            format!("{:.0}", errors.most),
        ]);
    }
    println!("{turns}");
}

/// Cases and servers in the order in which they were measured.
fn rows(report: &LocalReport) -> Vec<(Case, &str)> {
    let mut rows: Vec<(Case, &str)> = Vec::new();
    for turn in &report.turns {
        let row = (turn.case, turn.server.as_str());
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    rows.sort_by_key(|(case, _)| report.turns.iter().position(|turn| turn.case == *case));
    rows
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
