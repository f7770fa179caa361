//! Tables in a terminal.

use std::{
    io::{self, Write},
    time::Duration,
};

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use hdrhistogram::Histogram;

use super::figure::{Body, Section};
use crate::load::record::Record;

/// Percentiles that tables show.
const QUANTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("max", 1.0),
];

/// Writes the warnings and tables of a scenario.
///
/// # Errors
/// Those of `out`.
pub fn print(section: &Section, out: &mut impl Write) -> io::Result<()> {
    for warning in &section.warnings {
        writeln!(out, "{warning}")?;
    }
    for figure in &section.figures {
        if let Body::Table(content) = &figure.body {
            let mut table = table(&content.header, content.words);
            table.add_rows(&content.rows);
            writeln!(out, "{}\n{table}", figure.title)?;
        }
    }
    Ok(())
}

/// A table whose first `words` columns are words, and the others numbers.
#[must_use]
pub fn table<T: AsRef<str>>(header: &[T], words: usize) -> Table {
    let mut table = Table::new();
    let header = header.iter().map(AsRef::as_ref);
    table.load_style(UTF8_FULL_CONDENSED).set_header(header);
    for column in table.column_iter_mut().skip(words) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A record, a line per operation. `measured` is the time without the warm-up.
#[must_use]
pub fn load_table(record: &Record, measured: Duration) -> Table {
    let header = [
        "operation",
        "per second",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "errors",
    ];
    let mut table = table(&header, 1);
    let mut row = |name: &str, latency: &Histogram<u64>, errors: u64| {
        let rate = latency.len() as f64 / measured.as_secs_f64();
        let mut cells = vec![name.to_owned(), format!("{rate:.0}")];
        cells.extend(QUANTILES.map(|(_, quantile)| time(latency.value_at_quantile(quantile))));
        cells.push(errors.to_string());
        table.add_row(cells);
    };
    for (operation, entry) in &record.operations {
        row(operation.name(), &entry.latency, entry.errors);
    }
    if record.operations.len() != 1 {
        row("all", &record.total(), record.errors());
    }
    table
}

/// Nanoseconds as milliseconds, with the digits that are known.
#[must_use]
pub fn time(nanos: u64) -> String {
    let millis = nanos as f64 / 1e6;
    match millis {
        ..10.0 => format!("{millis:.3} ms"),
        10.0..100.0 => format!("{millis:.2} ms"),
        _ => format!("{millis:.1} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_to_four_digits() {
        assert_eq!(time(31_400), "0.031 ms");
        assert_eq!(time(12_345_678), "12.35 ms");
        assert_eq!(time(1_234_567_890), "1234.6 ms");
    }
}
