//! What the scenario `restart` shows.

use super::{
    conflict::equal_after,
    own_error,
    soak::{latencies, latency_by_percentile, warnings_of},
};
use crate::{
    report::figure::{ABSENT, Figure, Section, Table},
    scenario::restart::{RestartReport, RestartRun},
};

/// Its table, and what clients of the other regions noticed.
#[must_use]
pub fn section(report: &RestartReport) -> Section {
    let emulator = own_error::table(report.runs.iter().map(|run| {
        let case = format!("{}, from the start on", case_name(run));
        (&*run.server, case, run.forwarder.as_ref(), &*run.loads)
    }));
    let mut figures = vec![table(report), emulator];
    let mut cases: Vec<String> = report.runs.iter().map(case_name).collect();
    cases.sort();
    cases.dedup();
    for case in cases {
        let runs = report.runs.iter().filter(|run| case_name(run) == case);
        let loads = runs.map(|run| (run.server.as_str(), &*run.loads));
        let title = format!("Latency by percentile: {case}");
        figures.push(latency_by_percentile(&title, loads));
    }
    let warnings = report.runs.iter().flat_map(|run| {
        let of = format!("{}, {}", run.server, case_name(run));
        let spoilt = run.bottleneck.iter();
        let spoilt = spoilt.map(|reason| format!("{of}: how it came back is not shown: {reason}"));
        // The load ends when regions are equal, in the middle of requests: no word of those.
        let of_all = warnings_of(&of, &[], run.differing);
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

fn case_name(run: &RestartRun) -> String {
    let case = &run.case;
    format!(
        "{} keys, {:.0} requests/s, {}",
        run.keys, case.rate, case.network
    )
}

fn table(report: &RestartReport) -> Figure {
    let header = [
        "server",
        "case",
        "ready after",
        "equal after",
        "looks",
        "differ at the end",
        "bytes until equal",
    ];
    let mut table = Table::new(2, header);
    for run in &report.runs {
        let known = [run.server.clone(), case_name(run)];
        if run.bottleneck.is_some() {
            table.push_known(known.into());
            continue;
        }
        let [server, case] = known;
        let bytes = run
            .link_bytes
            .map(|bytes| format!("{:.2} MB", bytes as f64 / 1e6));
        table.push([
            server,
            case,
            equal_after(run.ready_after_ms),
            equal_after(run.equal_after_ms),
            format!("{:.0} ms", run.look_ms),
            run.differing.to_string(),
            bytes.unwrap_or_else(|| ABSENT.to_owned()),
        ]);
    }
    Figure::table(
        "From the start of an empty server until it holds what the others do",
        "The last region's server is killed and starts with nothing, while clients of the others go on. `Ready` is when it says of \
         itself that it has loaded and, where it is a replica, that its link has brought the first copy. `Equal` is when 2,000 \
         keys that nobody writes are the same everywhere, which a comparison finds with the error `looks`. Bytes are those of all \
         links, the load's among them. All keys are compared once the load has ended. A line without figures is one that \
         the emulation has spoilt.",
        table,
    )
}
