//! `greenwich-bench compare`: ratios, and whether they are more than noise.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};

use super::say::say;
use crate::report::{Report, compare::Compared};

/// What to compare.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct CompareArgs {
    /// A report, or its directory; alone, its greenwich is compared with its greenwich-baseline.
    #[arg(value_name = "A")]
    a: PathBuf,
    /// A report that is compared with the first.
    #[arg(value_name = "B")]
    b: Option<PathBuf>,
}

const LEGEND: &str = "99 %: the interval of B / A that the spread of the rounds allows. B is within noise when it contains 1, or the \
                      difference is below 1 % or below the measurement's own error; one row in a hundred is wrong by chance.";

pub(super) fn run(args: &CompareArgs) -> anyhow::Result<()> {
    let a = Report::read(&args.a)?;
    let (heading, compared) = match &args.b {
        Some(path) => {
            let b = Report::read(path)?;
            ensure!(
                a.provenance != b.provenance,
                "{} and {} are the same report: name one of another run",
                args.a.display(),
                path.display()
            );
            let began = |path: &Path, report: &Report| {
                let began = &report.provenance.began;
                format!("{}, {began}", path.display())
            };
            let heading = format!("A: {}\nB: {}", began(&args.a, &a), began(path, &b));
            (heading, Compared::reports(&a, &b))
        }
        None => {
            let heading = "A: greenwich-baseline, B: greenwich, in turns".to_owned();
            let compared = Compared::with_baseline(&a).with_context(|| {
                format!(
                    "{} has no greenwich and greenwich-baseline: measure with --baseline FILE, or name two reports",
                    args.a.display()
                )
            })?;
            (heading, compared)
        }
    };
    say(|out| write!(out, "{heading}\n{compared}"))?;
    ensure!(compared.has_rows(), "there is nothing to compare");
    say(|out| writeln!(out, "\n{LEGEND}"))
}
