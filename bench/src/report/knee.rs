//! Up to which rate the lag of each server stays low, of cases that raise it step by step.

use crate::{
    report::figure::{ABSENT, Figure, Table},
    scenario::lag::{Knee, LagReport, LagRun},
};

/// A line per server and turn; `None` when no case rises.
#[must_use]
pub(super) fn table(report: &LagReport) -> Option<Figure> {
    let header = [
        "server",
        "case",
        "low means p99 within",
        "low up to",
        "no longer at",
        "there",
    ];
    let mut table = Table::new(2, header);
    for (knee, steps) in climbs(report) {
        let last = steps.last()?;
        let beyond = last.beyond(knee);
        let low = match &beyond {
            Some(_) => &steps[..steps.len() - 1],
            None => &steps[..],
        };
        let rate = |run: Option<&&LagRun>| {
            run.map_or_else(
                || ABSENT.to_owned(),
                |run| format!("{:.0}/s", run.case.rate),
            )
        };
        let first_high = beyond.as_ref().map(|_| last);
        table.push([
            last.server.clone(),
            last.case.conditions(),
            format!("+{}", humantime::format_duration(knee.p99_over)),
            rate(low.last()),
            rate(first_high),
            beyond.unwrap_or_else(|| ABSENT.to_owned()),
        ]);
    }
    let caption = "The rate rises by steps until the lag of a direction is no longer low, updates are never sent, or probes never seen. \
                   A line without a rate before was beyond its knee at the first step.";
    (!table.rows.is_empty()).then(|| Figure::table("Lag under rising rate", caption, table))
}

/// The steps of each climb, in the order in which they were measured.
fn climbs(report: &LagReport) -> Vec<(Knee, Vec<&LagRun>)> {
    let mut climbs: Vec<(Knee, Vec<&LagRun>)> = Vec::new();
    for run in &report.runs {
        let Some(knee) = run.case.until else { continue };
        let goes_on = |(_, steps): &&mut (Knee, Vec<&LagRun>)| {
            steps.last().is_some_and(|last| {
                let is_next = last.case.rate < run.case.rate;
                is_next
                    && last.server == run.server
                    && last.case.conditions() == run.case.conditions()
            })
        };
        match climbs.last_mut().filter(|climb| goes_on(climb)) {
            Some((_, steps)) => steps.push(run),
            None => climbs.push((knee, vec![run])),
        }
    }
    climbs
}
