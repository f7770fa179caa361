//! What the scenario `partition` shows.

use super::{
    conflict::equal_after,
    own_error,
    soak::{latencies, latency_by_percentile, load_series, warnings_of},
};
use crate::{
    report::figure::{Figure, Section, Table},
    scenario::partition::{PartitionReport, PartitionRun},
};

/// Its table, and what clients noticed.
#[must_use]
pub fn section(report: &PartitionReport) -> Section {
    let emulator = own_error::table(report.runs.iter().map(|run| {
        let case = format!("{}, from the heal on", case_name(run));
        (&*run.server, case, Some(&run.forwarder), &*run.loads)
    }));
    let mut figures = vec![heal_table(report), client_table(report), emulator];
    let mut cases: Vec<String> = report.runs.iter().map(case_name).collect();
    cases.sort();
    cases.dedup();
    for case in cases {
        let runs = report.runs.iter().filter(|run| case_name(run) == case);
        let loads = runs.map(|run| (run.server.as_str(), &*run.loads));
        let title = format!("Latency by percentile: {case}");
        figures.push(latency_by_percentile(&title, loads));
    }
    for run in &report.runs {
        let (server, case) = (&run.server, case_name(run));
        figures.push(load_series(
            &format!("Slowest answer by second: {server}, {case}"),
            server,
            &run.loads,
            &run.marks,
        ));
    }
    let warnings = report.runs.iter().flat_map(|run| {
        let of = format!("{}, {}", run.server, case_name(run));
        let spoilt = run.bottleneck.iter();
        let spoilt =
            spoilt.map(|reason| format!("{of}: how it became equal is not shown: {reason}"));
        let of_all = warnings_of(&of, &run.loads, run.differing);
        spoilt.chain(of_all).collect::<Vec<_>>()
    });
    let distributions = report.runs.iter().flat_map(|run| {
        let of = format!("{} {}", run.server, case_name(run));
        let loads = run.loads.iter();
        loads.flat_map(move |load| latencies(&of, load))
    });
    Section {
        warnings: warnings.collect(),
        distributions: distributions.collect(),
        figures,
    }
}

fn case_name(run: &PartitionRun) -> String {
    let case = &run.case;
    let way = match case.is_one_way {
        true => "one way",
        false => "both ways",
    };
    let cut = humantime::format_duration(case.cut);
    format!(
        "{:.0} requests/s, {}, cut {way} for {cut}",
        case.rate, case.network
    )
}

fn heal_table(report: &PartitionReport) -> Figure {
    let header = [
        "server",
        "case",
        "requests answered",
        "equal after",
        "looks",
        "differ at the end",
        "bytes from heal to then",
    ];
    let mut table = Table::new(2, header);
    for run in &report.runs {
        let known = [run.server.clone(), case_name(run), run.answered.to_string()];
        if run.bottleneck.is_some() {
            table.push_known(known.into());
            continue;
        }
        let [server, case, answered] = known;
        table.push([
            server,
            case,
            answered,
            equal_after(run.equal_after_ms),
            format!("{:.0} ms", run.look_ms),
            run.differing.to_string(),
            format!("{:.2} MB", run.heal_bytes as f64 / 1e6),
        ]);
    }
    Figure::table(
        "From the heal until all regions are equal",
        "The load ends with the cut; keys are then compared in all regions until none differs. A comparison takes as long as \
         `looks`, which is the error. A server that makes a new connection first waits for its own time-outs. A line without \
         figures is one that the emulation has spoilt.",
        table,
    )
}

fn client_table(report: &PartitionReport) -> Figure {
    let header = [
        "server", "case", "region", "answered", "errors", "missed", "p50", "p99", "max",
    ];
    let mut table = Table::new(3, header);
    for run in &report.runs {
        for load in &run.loads {
            table.push([
                run.server.clone(),
                case_name(run),
                load.region.clone(),
                load.answered.to_string(),
                load.errors.to_string(),
                (load.missed + load.unanswered).to_string(),
                format!("{:.2} ms", load.latency.at(0.5)),
                format!("{:.2} ms", load.latency.at(0.99)),
                format!("{:.2} ms", load.latency.max_ms),
            ]);
        }
    }
    Figure::table(
        "What clients saw before and during the cut",
        "Latency counts from the intended start, in an open loop. Regions that take no writes were not asked.",
        table,
    )
}
