//! `greenwich-bench`: the tool with which people decide.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match greenwich_bench::cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("greenwich-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
