//! `greenwich status`: what every region says about itself, for people or as JSON.

pub(super) mod fetch;
mod render;

use std::process::ExitCode;

use clap::Args;

use super::nodes::{Nodes, NodesArgs};
use super::say;
use crate::status::RESTART_NOTE;

/// Show regions and links: state, round trip, lag, bytes, keys, memory.
///
/// Ends with 1 when no region answers.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    nodes: NodesArgs,
}

pub(super) fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let answers = Nodes::find(&args.nodes)?.ask();
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

/// An empty table in the style of this program.
pub(super) fn table(columns: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table
        .load_style(comfy_table::presets::UTF8_FULL_CONDENSED)
        .set_header(columns.to_vec());
    table
}
