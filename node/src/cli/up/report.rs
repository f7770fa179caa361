//! What `up` tells a person.

use std::fmt::Write;

use super::children::Ended;
use super::plan::Plan;
use super::record::{Record, RegionRecord};
use crate::cli::status::table;

/// The table of regions and what to type next.
pub(crate) fn started(plan: &Plan, record: &Record) -> String {
    let mut rows = table(&["region", "Redis", "admin", "pid"]);
    for region in &record.regions {
        rows.add_row([
            region.region.clone(),
            region.redis.to_string(),
            region.admin.to_string(),
            region.pid.to_string(),
        ]);
    }
    let mut out = format!("\n{rows}\n{}\nTry:\n", emulation(plan));
    for (position, RegionRecord { redis, .. }) in record.regions.iter().take(3).enumerate() {
        let command = if position == 0 {
            "SET greeting hello"
        } else {
            "GET greeting"
        };
        writeln!(out, "  redis-cli -p {} {command}", redis.port()).expect("a String takes all");
    }
    let data = plan.data.display();
    write!(
        out,
        "\nAddresses are in {}, logs in {data}/REGION/node.log; `greenwich status --data {data}` shows links and lag.\n\
         Ctrl-C stops all regions.\n",
        plan.record().display()
    )
    .expect("a String takes all");
    out
}

fn emulation(plan: &Plan) -> String {
    let mut out = String::new();
    if let Some(mixture) = &plan.wan_mixture {
        writeln!(out, "REHEARSAL: {mixture}; what that comes to:").expect("a String takes all");
    }
    for region in &plan.regions {
        let after = |peer: &str| {
            plan.regions
                .iter()
                .any(|it| it.name() == peer && it.config.region.id > region.config.region.id)
        };
        for link in region
            .config
            .emulation
            .iter()
            .filter(|link| after(&link.peer))
        {
            let rate = link
                .rate
                .map_or_else(|| "unlimited rate".into(), |rate| rate.to_string());
            writeln!(
                out,
                "REHEARSAL: {} to {} is impaired on purpose, each way: {} delay, {} jitter, {} loss, {rate}",
                region.name(),
                link.peer,
                link.delay,
                link.jitter,
                link.loss
            )
            .expect("a String takes all");
        }
    }
    out
}

/// One node ended and the others go on.
pub(crate) fn ended(plan: &Plan, ended: &Ended) -> String {
    let program = std::env::current_exe().map_or_else(
        |_| "greenwich".into(),
        |program| program.display().to_string(),
    );
    format!(
        "region {} (pid {}) ended: {}; the other regions go on.\nStart it again with:\n  {program} node --config {}\n\
         It comes back empty, and its peers send it everything that they hold.",
        ended.region,
        ended.pid,
        ended.status,
        plan.regions[ended.position].config_file().display()
    )
}
