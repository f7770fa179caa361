//! `greenwich-bench quick`, `full` and `run`: scenarios, one after the other, and a report.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    report::{Report, ScenarioReport, provenance::Provenance},
    scenario::{Stage, file::ScenarioFile},
    server::{Adapter, greenwich::Greenwich, redis::RedisLike},
};

/// Where to measure what, and what with.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct SuiteArgs {
    /// Directory of the report; it is made. The default is bench-results and the time.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The greenwich binary; the default is the one beside this program, which is built if this runs under cargo.
    #[arg(long, value_name = "FILE")]
    greenwich: Option<PathBuf>,
    /// Measure these servers alone, of those that the scenarios name.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    servers: Vec<String>,
    /// The same seed asks for the same things in the same order.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Where servers keep their files, in the report's directory.
const SERVER_FILES: &str = "servers";
/// How often the line of progress moves.
const TICK: Duration = Duration::from_millis(100);

pub(super) fn run(args: &SuiteArgs, files: &[ScenarioFile]) -> anyhow::Result<()> {
    let servers = adapters(args)?;
    check_names(&args.servers, files, &servers)?;
    let is_asked = |server: &str| {
        let is_named = files.iter().any(|file| names(&file.servers, server));
        is_named && (args.servers.is_empty() || names(&args.servers, server))
    };
    let versions: BTreeMap<String, Option<String>> = servers
        .iter()
        .filter(|server| is_asked(server.name()))
        .map(|server| (server.name().to_owned(), server.version()))
        .collect();
    let is_there = |server: &str| versions.get(server).is_some_and(Option::is_some);
    let out = directories(args)?;
    let mut report = Report {
        provenance: Provenance::look(args.seed, versions.clone()),
        scenarios: Vec::new(),
    };
    for (index, file) in files.iter().enumerate() {
        let of_file = servers.iter().map(|server| &**server as &dyn Adapter);
        let of_file =
            of_file.filter(|server| is_there(server.name()) && names(&file.servers, server.name()));
        let bar = bar(format!("{} ({} of {})", file.name, index + 1, files.len()));
        let tell = |step: String| bar.set_message(step);
        let stage = Stage {
            servers: of_file.collect(),
            regions: file.regions.iter().map(String::as_str).collect(),
            directory: &out.join(SERVER_FILES).join(&file.name),
            seed: args.seed,
            tell: &tell,
        };
        let (outcome, result) = file.scenario.run(&stage);
        bar.finish_and_clear();
        report.scenarios.push(ScenarioReport {
            name: file.name.clone(),
            settings: file.scenario.clone(),
            outcome,
            partial: result.err().map(|error| format!("{error:#}")),
        });
        report.write(&out)?;
    }
    report.print();
    println!("\nreport: {}", out.display());
    let is_partial = |scenario: &&ScenarioReport| scenario.partial.is_some();
    match report.scenarios.iter().filter(is_partial).count() {
        0 => Ok(()),
        partial => bail!(
            "{partial} of {} scenarios ended early; the report marks them as partial",
            files.len()
        ),
    }
}

fn names(servers: &[String], server: &str) -> bool {
    servers.iter().any(|name| name == server)
}

/// The report's directory, without what servers of an earlier run have left in it.
fn directories(args: &SuiteArgs) -> anyhow::Result<PathBuf> {
    let out = args.out.clone().unwrap_or_else(default_directory);
    std::fs::create_dir_all(&out)
        .with_context(|| format!("cannot make the directory {}", out.display()))?;
    let out = out
        .canonicalize()
        .with_context(|| format!("cannot find {}", out.display()))?;
    let left = out.join(SERVER_FILES);
    if left.exists() {
        std::fs::remove_dir_all(&left).with_context(|| {
            format!(
                "cannot remove {}, which an earlier run left",
                left.display()
            )
        })?;
    }
    Ok(out)
}

/// Every server that there is an adapter for.
fn adapters(args: &SuiteArgs) -> anyhow::Result<Vec<Box<dyn Adapter>>> {
    let greenwich = match &args.greenwich {
        Some(program) => {
            ensure!(
                program.is_file(),
                "--greenwich: there is no file {}",
                program.display()
            );
            program.canonicalize().context("--greenwich")?
        }
        None => built_greenwich()?,
    };
    Ok(vec![
        Box::new(Greenwich::new(greenwich)),
        Box::new(RedisLike::redis()),
        Box::new(RedisLike::redis_alone()),
        Box::new(RedisLike::valkey()),
        Box::new(RedisLike::keydb()),
    ])
}

/// The greenwich beside this program. Under `cargo run` it is built first, so that it is the tree's.
fn built_greenwich() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program's directory")?;
    let beside = own.with_file_name("greenwich");
    if let (Some(cargo), false) = (std::env::var_os("CARGO"), cfg!(debug_assertions)) {
        eprintln!("building greenwich");
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
        let built = std::process::Command::new(cargo)
            .args([
                "build",
                "--release",
                "--quiet",
                "--package",
                "greenwich",
                "--manifest-path",
                manifest,
            ])
            .status()
            .context("cannot run cargo to build greenwich")?;
        ensure!(built.success(), "greenwich cannot be built");
    }
    ensure!(
        beside.is_file(),
        "there is no {}: build it with `cargo build --release`, or name one with --greenwich",
        beside.display()
    );
    Ok(beside)
}

fn check_names(
    wanted: &[String],
    files: &[ScenarioFile],
    servers: &[Box<dyn Adapter>],
) -> anyhow::Result<()> {
    let known: Vec<&str> = servers.iter().map(|server| server.name()).collect();
    let named = files.iter().flat_map(|file| &file.servers);
    for name in wanted.iter().chain(named) {
        ensure!(
            known.contains(&name.as_str()),
            "there is no server {name:?}: known are {}",
            known.join(", ")
        );
    }
    Ok(())
}

fn default_directory() -> PathBuf {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    Path::new("bench-results").join(now.replace(':', "-"))
}

fn bar(scenario: String) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed_precise} {wide_msg}")
        .expect("the template is valid");
    let bar = ProgressBar::new_spinner()
        .with_style(style)
        .with_prefix(scenario);
    bar.enable_steady_tick(TICK);
    bar
}
