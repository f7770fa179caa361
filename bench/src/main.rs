//! `greenwich-bench`: the tool with which people decide.

use clap::Parser;

fn main() -> anyhow::Result<()> {
    greenwich_bench::cli::Cli::parse().run()
}
