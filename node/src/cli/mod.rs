//! The command line: one module a command.
//!
//! A command either does what it says or ends with one sentence on standard error that tells what
//! to do next, and an exit code that is not 0.

mod certs;
mod lock;
mod node;
mod nodes;
mod ports;
mod region;
mod signals;
mod status;
mod up;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// One cache in every region: Redis clients write anywhere, read locally, and regions converge.
#[derive(Debug, Parser)]
#[command(name = "greenwich", version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::UpArgs),
    Node(node::NodeArgs),
    Status(status::StatusArgs),
    Verify(verify::VerifyArgs),
    Region(region::RegionArgs),
    Certs(certs::CertsArgs),
}

/// Runs the command of this process's arguments.
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Up(args) => up::run(&args),
        Command::Node(args) => node::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Region(args) => region::run(&args),
        Command::Certs(args) => certs::run(&args),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard output. A reader that went away (`| head`) is no failure.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .ok();
}

/// Writes a line to standard error.
fn complain(line: &str) {
    writeln!(std::io::stderr().lock(), "{line}").ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
