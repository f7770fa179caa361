//! Runs seeds: one with its story, or many until one fails.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use clap::{Parser, Subcommand};
use greenwich_sim::{
    Trace,
    repair::{Case, measure},
    run,
};

#[derive(Parser)]
#[command(about = "Runs whole regions in one deterministic process.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs one seed.
    Run {
        /// The seed.
        #[arg(long)]
        seed: u64,
        /// Prints everything that happens.
        #[arg(long)]
        trace: bool,
    },
    /// Runs seeds one after the other until one fails.
    Hunt {
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// How many.
        #[arg(long, default_value_t = 1_000)]
        count: u64,
        /// Goes on after a failure.
        #[arg(long)]
        all: bool,
    },
    /// Measures what a repair moves over 100 Mbit/s and 80 ms there and back.
    Repair {
        /// Keys of 116 bytes.
        #[arg(long, default_value_t = 1_000_000)]
        keys: usize,
        /// How many of them differ.
        #[arg(long, value_delimiter = ',', default_value = "0,10,1000,100000")]
        changed: Vec<usize>,
    },
}

fn main() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match Cli::parse().command {
        Command::Run {
            seed,
            trace: is_wanted,
        } => {
            writeln!(out, "{:#?}", greenwich_sim::Swarm::draw(seed))?;
            let mut trace = if is_wanted { Trace::on() } else { Trace::off() };
            let result = run(seed, &mut trace);
            out.write_all(trace.text().as_bytes())?;
            writeln!(out, "seed {seed}: {:?}", result?)?;
        }
        Command::Hunt { from, count, all } => {
            let mut failures = 0;
            for seed in from..from + count {
                if let Err(failure) = run(seed, &mut Trace::off()) {
                    failures += 1;
                    writeln!(out, "{failure}")?;
                    if !all {
                        break;
                    }
                }
            }
            writeln!(out, "{failures} failures")?;
            anyhow::ensure!(failures == 0, "a seed failed");
        }
        Command::Repair { keys, changed } => {
            let began = Instant::now();
            for changed in changed {
                let case = Case {
                    keys,
                    changed,
                    rate: 100_000_000 / 8,
                    delay: Duration::from_millis(40),
                };
                let repair = measure(case, &|| began.elapsed());
                writeln!(out, "{changed} of {keys} keys: {repair}")?;
            }
        }
    }
    Ok(())
}
