//! The command line.

mod compare;
mod directory;
mod load;
mod report;
mod say;
mod servers;
mod suite;

use std::path::PathBuf;

use crate::scenario::file::{ScenarioFile, Suite};

/// Measures servers of the Redis protocol over sockets: load, replication lag, and what regions do to each other.
#[derive(Debug, clap::Parser)]
#[command(name = "greenwich-bench", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Measure within five minutes.
    Quick(suite::SuiteArgs),
    /// Measure within an hour.
    Full(suite::SuiteArgs),
    /// Measure what files describe.
    Run {
        /// Scenarios, as bench/scenarios/ has them.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        args: suite::SuiteArgs,
    },
    /// Write the page of a report anew, from its report.json.
    Report {
        /// The report.json, or its directory.
        #[arg(value_name = "DIR|FILE")]
        from: PathBuf,
    },
    /// Ask one server, and show how soon it answered.
    Load(crate::load::args::LoadArgs),
    /// Compare two reports, or the two greenwich binaries in one, and say what is noise.
    Compare(compare::CompareArgs),
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// What went wrong, for a person.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Quick(args) => suite::run(&args, &Suite::Quick.scenarios()),
            Command::Full(args) => suite::run(&args, &Suite::Full.scenarios()),
            Command::Run { files, args } => {
                let files = files.iter().map(|file| ScenarioFile::read(file));
                suite::run(&args, &files.collect::<Result<Vec<_>, _>>()?)
            }
            Command::Report { from } => report::run(&from),
            Command::Load(args) => load::run(&args),
            Command::Compare(args) => compare::run(&args),
        }
    }
}
