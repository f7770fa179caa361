//! `greenwich status`: what every region says about itself, for people or as JSON.

pub(super) mod fetch;
mod render;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;

use super::say;
use super::up::record::Record;
use crate::status::{RESTART_NOTE, Status};
use fetch::fetch;

const ANSWER_TIME_MAX: Duration = Duration::from_secs(3);

/// Show regions and links: state, round trip, lag, bytes, keys, memory.
///
/// Ends with 1 when no region answers.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Directory of a running `greenwich up`.
    #[arg(long, default_value = "greenwich-data", value_name = "DIR")]
    data: PathBuf,
    /// Admin addresses to ask instead, as host:port.
    #[arg(long, num_args = 1.., value_delimiter = ',', value_name = "ADDR")]
    admin: Vec<String>,
    /// File with the admin token of the nodes.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// What became of one question.
#[derive(Debug, Serialize)]
struct Answer {
    /// Name of the region as `up` started it.
    region: Option<String>,
    admin: String,
    status: Option<Status>,
    error: Option<String>,
}

impl Answer {
    fn name(&self) -> &str {
        let own = self.status.as_ref().map(|status| status.region.as_str());
        own.or(self.region.as_deref()).unwrap_or("?")
    }
}

pub(super) fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let token = args.token_file.as_deref().map(read_token).transpose()?;
    let targets = targets(args)?;
    let answers = thread::scope(|scope| {
        let asked: Vec<_> = targets
            .into_iter()
            .map(|(region, admin)| scope.spawn(|| ask(region, admin, token.as_deref())))
            .collect();
        asked
            .into_iter()
            .map(|one| one.join().expect("asking does not panic"))
            .collect::<Vec<_>>()
    });
    if args.json {
        let all = serde_json::json!({ "regions": answers, "note": RESTART_NOTE });
        say(&format!("{}\n", serde_json::to_string_pretty(&all)?));
    } else {
        say(&render::render(&answers));
    }
    let answered = answers.iter().any(|answer| answer.status.is_some());
    Ok(if answered {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn ask(region: Option<String>, admin: String, token: Option<&str>) -> Answer {
    match fetch(&admin, token, ANSWER_TIME_MAX) {
        Ok(status) => Answer {
            region,
            admin,
            status: Some(status),
            error: None,
        },
        Err(error) => Answer {
            region,
            admin,
            status: None,
            error: Some(error.to_string()),
        },
    }
}

/// Whom to ask: the region's name where it is known, and the admin address.
fn targets(args: &StatusArgs) -> anyhow::Result<Vec<(Option<String>, String)>> {
    if !args.admin.is_empty() {
        return Ok(args
            .admin
            .iter()
            .map(|admin| (None, admin.clone()))
            .collect());
    }
    let Some(record) = Record::read(&args.data)? else {
        bail!(
            "nothing was started in {}: run `greenwich up`, or give its --data, or name nodes with --admin HOST:PORT",
            args.data.display()
        );
    };
    let known = record.regions.into_iter();
    Ok(known
        .map(|region| (Some(region.region), region.admin.to_string()))
        .collect())
}

fn read_token(file: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("cannot read the token file {}", file.display()))?;
    Ok(text.trim().to_owned())
}

/// An empty table in the style of this program.
pub(super) fn table(columns: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table
        .load_style(comfy_table::presets::UTF8_FULL_CONDENSED)
        .set_header(columns.to_vec());
    table
}
