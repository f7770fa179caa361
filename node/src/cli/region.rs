//! `greenwich region`: which regions the cluster has, and adding and removing one while all others run.
//!
//! One node is told, and tells all others over their links. A change is done once every region has confirmed it: only then
//! is it safe to start the node of a region that was added.

mod ask;
mod file;
mod render;

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use self::ask::{Confirmation, confirmation};
use super::nodes::{Nodes, NodesArgs};
use super::say;
use crate::config::Period;
use crate::regions::{Addition, Regions, Removal};

const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// Show the cluster's regions, add one, or remove one for good, without restarting any node.
#[derive(Debug, Args)]
pub(super) struct RegionArgs {
    #[command(subcommand)]
    command: RegionCommand,
}

#[derive(Debug, Subcommand)]
enum RegionCommand {
    /// Make a region known to all others, and print the configuration of its node. Start that node
    /// only once this ends with 0.
    ///
    /// Ends with 1 when a region has not confirmed in time: give the command again. Given for a
    /// region that is there, it changes its address.
    Add(AddArgs),
    /// Remove a region for good: no other region waits for it, counts it, or lets it in.
    ///
    /// Ends with 1 when a region has not confirmed in time: give the command again.
    Remove(RemoveArgs),
    /// Show the regions as every node knows them.
    List(ListArgs),
}

#[derive(Debug, Args)]
struct AddArgs {
    /// Name of the new region.
    region: String,
    /// Its number, 1 to 63, never used for another region.
    #[arg(long)]
    id: u8,
    /// Where all other regions reach its replication port (UDP).
    #[arg(long, value_name = "HOST:PORT")]
    address: String,
    /// Write the configuration of its node to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
struct RemoveArgs {
    /// Name of the region.
    region: String,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    nodes: NodesArgs,
}

#[derive(Debug, Args)]
struct How {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// How long to wait for all regions to confirm.
    #[arg(long, default_value = "10s", value_name = "TIME")]
    timeout: Period,
    #[command(flatten)]
    nodes: NodesArgs,
}

pub(super) fn run(args: &RegionArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        RegionCommand::Add(args) => add(args),
        RegionCommand::Remove(args) => remove(args),
        RegionCommand::List(args) => list(args),
    }
}

fn add(args: &AddArgs) -> anyhow::Result<ExitCode> {
    let addition = Addition {
        region: args.region.clone(),
        id: args.id,
        address: args.address.clone(),
    };
    let nodes = Nodes::find(&args.how.nodes)?;
    let told = ask::tell(&nodes, "add", &addition, &args.region)?;
    let reached = await_all(&nodes, &args.region, &told, args.how.timeout);
    if !reached.is_everywhere() {
        return report(args.how.json, &args.region, "known", &reached, None);
    }
    let text = file::configuration(&addition, &told, &args.how.nodes);
    if let Some(file) = &args.out {
        std::fs::write(file, &text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let shown = args.out.is_none().then_some(text.as_str());
    report(args.how.json, &args.region, "known", &reached, shown)?;
    if !args.how.json {
        say(&file::next_step(
            &args.region,
            args.out.as_deref(),
            &args.how.nodes,
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn remove(args: &RemoveArgs) -> anyhow::Result<ExitCode> {
    let removal = Removal {
        region: args.region.clone(),
    };
    let nodes = Nodes::find(&args.how.nodes)?;
    let told = ask::tell(&nodes, "remove", &removal, &args.region)?;
    let reached = await_all(&nodes, &args.region, &told, args.how.timeout);
    report(args.how.json, &args.region, "removed", &reached, None)
}

/// Asks until every region has confirmed what the node that was told knows of `region`, or time is up.
fn await_all(nodes: &Nodes, region: &str, told: &Regions, timeout: Period) -> Confirmation {
    let deadline = Instant::now() + timeout.0;
    loop {
        let answers = ask::regions_of_all(nodes);
        let answers = answers
            .iter()
            .filter_map(|(_, answer)| answer.as_ref().ok());
        let reached = confirmation(region, told, answers);
        if reached.is_everywhere() || Instant::now() >= deadline {
            return reached;
        }
        thread::sleep(ASK_INTERVAL);
    }
}

fn report(
    json: bool,
    region: &str,
    done: &str,
    reached: &Confirmation,
    configuration: Option<&str>,
) -> anyhow::Result<ExitCode> {
    if json {
        let all = serde_json::json!({
            "region": region,
            "done": reached.is_everywhere(),
            "confirmed": reached.confirmed,
            "missing": reached.missing,
            "configuration": configuration,
        });
        say(&format!("{}\n", serde_json::to_string_pretty(&all)?));
    } else {
        say(&render::outcome(region, done, reached));
        say(configuration.unwrap_or_default());
    }
    Ok(match reached.is_everywhere() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let answers = ask::regions_of_all(&Nodes::find(&args.nodes)?);
    if args.json {
        let all: Vec<_> = answers
            .iter()
            .map(|(admin, answer)| match answer {
                Ok(regions) => serde_json::json!({ "admin": admin, "regions": regions }),
                Err(error) => serde_json::json!({ "admin": admin, "error": error.to_string() }),
            })
            .collect();
        say(&format!("{}\n", serde_json::to_string_pretty(&all)?));
    } else {
        say(&render::regions(&answers));
    }
    if answers.iter().all(|(_, answer)| answer.is_err()) {
        bail!("no node answers: start one, or name others with --admin HOST:PORT");
    }
    Ok(ExitCode::SUCCESS)
}
