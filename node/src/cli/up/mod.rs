//! `greenwich up`: several regions on this machine, each a process of its own.
//!
//! The nodes hang on the pipe to their standard input: they end when this process ends, however it
//! ends. It knows nothing of what nodes do beyond their status.

mod children;
mod plan;
mod prepare;
mod ready;
pub(super) mod record;
mod report;
mod wan;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::time::sleep;

use super::signals::StopSignals;
use super::{complain, say};
use crate::config::Compression;
use children::Children;
use plan::Plan;
use record::{Record, RegionRecord};
use wan::WanArgs;

/// How soon the end of a node is noticed.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

/// Start several regions on this machine, linked to each other, until Ctrl-C.
///
/// Each region is a process with its own keyspace. Addresses are printed and written to
/// DATA/up.json.
#[derive(Debug, Args)]
pub(super) struct UpArgs {
    /// Names of the regions, 2 to 8.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "us-east,eu-west,ap-south",
        value_name = "A,B,C"
    )]
    regions: Vec<String>,
    /// Redis port of the first region; each further region takes the next.
    #[arg(long, default_value_t = 6401)]
    port: u16,
    /// Admin port (HTTP) of the first region; each further region takes the next.
    #[arg(long, default_value_t = 9401, value_name = "PORT")]
    admin_port: u16,
    /// Replication port (UDP) of the first region; each further region takes the next.
    #[arg(long, default_value_t = 7401, value_name = "PORT")]
    replication_port: u16,
    /// Directory of certificates, configurations, logs and up.json.
    #[arg(long, default_value = "greenwich-data", value_name = "DIR")]
    data: PathBuf,
    /// What nodes do to the batches that they send each other.
    #[arg(long, value_enum, default_value = "none")]
    compression: Compression,
    #[command(flatten)]
    wan: WanArgs,
}

pub(super) fn run(args: &UpArgs) -> anyhow::Result<ExitCode> {
    let plan = Plan::new(args)?;
    let _lock = prepare::prepare(&plan)?;
    fs::remove_file(plan.record()).ok();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(supervise(&plan))
}

async fn supervise(plan: &Plan) -> anyhow::Result<ExitCode> {
    let mut signals = StopSignals::listen()?;
    let names: Vec<_> = plan.regions.iter().map(plan::RegionPlan::name).collect();
    say(&format!("Starting {} ...\n", names.join(", ")));
    let mut children = Children::start(plan)?;
    let outcome = tokio::select! {
        cause = signals.stop() => {
            say(&format!("\nStopping ({cause}) ...\n"));
            Ok(())
        }
        outcome = serve(plan, &mut children) => outcome,
    };
    let killed = children.stop().await;
    fs::remove_file(plan.record()).ok();
    if !killed.is_empty() {
        complain(&format!(
            "killed, because it did not stop in time: {}",
            killed.join(", ")
        ));
    }
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Reports the start and every node that ends; returns only with a failure.
async fn serve(plan: &Plan, children: &mut Children) -> anyhow::Result<()> {
    ready::wait(plan, children).await?;
    let record = record(plan, children);
    record
        .write(&plan.data)
        .with_context(|| format!("cannot write {}", plan.record().display()))?;
    say(&report::started(plan, &record));
    loop {
        while let Some(ended) = children.poll_ended()? {
            complain(&report::ended(plan, &ended));
        }
        anyhow::ensure!(children.running() > 0, "no region is left");
        sleep(WATCH_INTERVAL).await;
    }
}

fn record(plan: &Plan, children: &Children) -> Record {
    let started = plan.regions.iter().zip(children.pids());
    let regions = started
        .map(|(region, pid)| RegionRecord {
            region: region.name().into(),
            id: region.config.region.id,
            redis: region.config.client.bind,
            admin: region.config.admin.bind,
            replication: region.config.replication.bind,
            pid,
            config: absolute(region.config_file()),
            log: absolute(region.log_file()),
        })
        .collect();
    Record::new(&plan.regions[0].config.cluster, regions)
}

/// The record is read from other directories too.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}
