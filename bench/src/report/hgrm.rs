//! Distributions as `.hgrm` files: the percentile format of HdrHistogram, which its plotters and other load generators
//! read. Values are milliseconds.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::{Report, distribution::Distribution};

/// The directory of the files, in the report's.
pub const HGRM_DIRECTORY: &str = "hgrm";

/// Writes a file for each distribution of each scenario into `directory/hgrm`, and removes what an earlier report left.
///
/// # Errors
/// When the directory cannot be written to.
pub fn write(report: &Report, directory: &Path) -> anyhow::Result<()> {
    let files = directory.join(HGRM_DIRECTORY);
    let cannot = |path: &Path| format!("cannot write {}", path.display());
    remove_earlier(&files).with_context(|| cannot(&files))?;
    for scenario in &report.scenarios {
        for (of, distribution) in scenario.section().distributions {
            std::fs::create_dir_all(&files).with_context(|| cannot(&files))?;
            let path = free(&files, &file_name(&scenario.name, &of));
            std::fs::write(&path, text(&distribution)).with_context(|| cannot(&path))?;
        }
    }
    Ok(())
}

fn remove_earlier(files: &Path) -> std::io::Result<()> {
    if !files.exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(files)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "hgrm") {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// File systems take 255 bytes; there may be a number and an ending behind it.
const NAME_BYTES_MAX: usize = 200;

/// The scenario and what the distribution is of, without what shells and file systems trip over.
fn file_name(scenario: &str, of: &str) -> String {
    let of = of.replace('%', "percent").replace("± ", "+-");
    let plain = format!("{scenario} {of}").replace(
        |letter: char| !(letter.is_ascii_alphanumeric() || "._+-".contains(letter)),
        " ",
    );
    let words: Vec<&str> = plain.split_whitespace().collect();
    let name = words.join("-");
    name[..name.len().min(NAME_BYTES_MAX)].to_owned()
}

/// The path of a file that is not there yet: what is measured in turns has a distribution for each.
fn free(directory: &Path, name: &str) -> PathBuf {
    let later = (2..).map(|turn| format!("{name}-{turn}.hgrm"));
    let mut paths = std::iter::once(format!("{name}.hgrm"))
        .chain(later)
        .map(|name| directory.join(name));
    paths
        .find(|path| !path.exists())
        .expect("numbers do not end")
}

/// The text of a file.
#[must_use]
pub fn text(distribution: &Distribution) -> String {
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    for point in &distribution.points {
        let (ms, quantile, count) = (point.ms, point.quantile, point.count);
        let written = match quantile < 1.0 {
            true => writeln!(
                text,
                "{ms:>12.3} {quantile:>2.12} {count:>10} {:>14.2}",
                1.0 / (1.0 - quantile)
            ),
            // One of infinitely many has no number.
            false => writeln!(text, "{ms:>12.3} {quantile:>2.12} {count:>10}"),
        };
        written.expect("a string takes all that is written");
    }
    writeln!(
        text,
        "#[Mean    = {:>12.3}, StdDeviation   = {:>12.3}]\n#[Max     = {:>12.3}, Total count    = {:>12}]",
        distribution.mean_ms, distribution.deviation_ms, distribution.max_ms, distribution.count
    )
    .expect("a string takes all that is written");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::record::histogram;

    #[test]
    fn the_text_parses_back() {
        let mut times = histogram();
        (1..=10_000_u64).for_each(|micros| times.saturating_record(micros * 1000));
        let distribution = Distribution::of(&times);
        let text = text(&distribution);
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
        assert_eq!(
            header,
            ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
        );
        let (comments, rows): (Vec<&str>, Vec<&str>) = lines
            .filter(|line| !line.is_empty())
            .partition(|line| line.starts_with('#'));
        assert_eq!(rows.len(), distribution.points.len());
        for (row, point) in rows.iter().zip(&distribution.points) {
            let numbers: Vec<f64> = row
                .split_whitespace()
                .map(|word| word.parse().unwrap())
                .collect();
            assert!((numbers[0] - point.ms).abs() <= 0.0005, "{row}");
            assert!((numbers[1] - point.quantile).abs() < 1e-12, "{row}");
            assert_eq!(numbers[2], point.count as f64, "{row}");
            let odds = numbers.get(3).copied();
            assert_eq!(odds.is_none(), point.quantile == 1.0, "{row}");
            assert!(
                odds.is_none_or(|odds| (odds - 1.0 / (1.0 - point.quantile)).abs() <= 0.005),
                "{row}"
            );
        }
        let trailer: Vec<f64> = comments
            .join(",")
            .split(['=', ',', ']'])
            .filter_map(|word| word.trim().parse().ok())
            .collect();
        assert_eq!(trailer.len(), 4, "{comments:?}");
        assert!((trailer[0] - 5.0).abs() < 0.05 && (trailer[1] - 2.887).abs() < 0.03);
        assert!((trailer[2] - distribution.max_ms).abs() <= 0.0005);
        assert_eq!(trailer[3], 10_000.0);
    }

    #[test]
    fn names_of_files_are_plain() {
        assert_eq!(
            file_name(
                "lag",
                "redis 3000 updates/s, rtt 80ms ± 1ms, 1 % loss eu to us"
            ),
            "lag-redis-3000-updates-s-rtt-80ms-+-1ms-1-percent-loss-eu-to-us"
        );
        assert_eq!(file_name("../a", "/etc"), "..-a-etc");
        assert_eq!(file_name("lag", &"é".repeat(999)), "lag");
        assert_eq!(file_name("lag", &"e".repeat(999)).len(), NAME_BYTES_MAX);
    }

    #[test]
    fn no_file_is_written_twice() {
        let directory = tempfile::tempdir().unwrap();
        let names = ["lag.hgrm", "lag-2.hgrm", "lag-3.hgrm"];
        for name in names {
            let path = free(directory.path(), "lag");
            assert_eq!(path, directory.path().join(name));
            std::fs::write(path, "").unwrap();
        }
    }
}
