//! The command line.

mod load;

/// Measures servers of the Redis protocol over sockets: load, replication lag, and what regions do to each other.
#[derive(Debug, clap::Parser)]
#[command(name = "greenwich-bench", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Ask one server, and show how soon it answered.
    Load(crate::load::args::LoadArgs),
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// What went wrong, for a person.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Load(args) => load::run(&args),
        }
    }
}
