//! `greenwich-bench`: the tool with which people decide.

use std::process::ExitCode;

use clap::Parser;
use greenwich_bench::{interrupt::Interrupted, notice::notice};

fn main() -> ExitCode {
    match greenwich_bench::cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            notice(format_args!("{error:#}"));
            let interrupted = error.downcast_ref::<Interrupted>();
            interrupted
                .and_then(|interrupted| u8::try_from(interrupted.exit_code()).ok())
                .map_or(ExitCode::FAILURE, ExitCode::from)
        }
    }
}
