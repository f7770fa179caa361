//! What the scenario `soak` shows, and plots of what clients saw, which others share.

use super::{conflict::equal_after, own_error};
use crate::{
    report::distribution::Distribution,
    report::figure::{ABSENT, Axis, Figure, Kind, Mark, Plot, Section, Series, Table},
    scenario::{
        drive::RegionLoad,
        faults,
        soak::{SoakReport, SoakRun},
    },
};

/// Its tables and plots.
#[must_use]
pub fn section(report: &SoakReport) -> Section {
    let loads = report
        .runs
        .iter()
        .map(|run| (run.server.as_str(), &*run.loads));
    let mut figures = vec![
        client_table(report),
        lag_table(report),
        end_table(report),
        own_error::table(report.runs.iter().map(|run| {
            let case = "the whole".to_owned();
            (&*run.server, case, run.forwarder.as_ref(), &*run.loads)
        })),
        latency_by_percentile("Latency by percentile", loads),
    ];
    for run in &report.runs {
        figures.push(load_series(
            &format!("Slowest answer by second: {}", run.server),
            &run.server,
            &run.loads,
            &run.marks,
        ));
        if run.bottleneck.is_none() {
            figures.push(lag_series(run));
        }
        figures.push(memory_series(run));
    }
    let warnings = report.runs.iter().flat_map(|run| {
        let spoilt = run.bottleneck.iter();
        let spoilt =
            spoilt.map(|reason| format!("the lag of {} is not shown: {reason}", run.server));
        let never: u64 = run.directions.iter().map(|way| way.lag.never).sum();
        let never = (never > 0).then(|| format!("{}: {never} probes were never seen", run.server));
        let of_all = warnings_of(&run.server, &run.loads, run.differing);
        spoilt.chain(never).chain(of_all).collect::<Vec<_>>()
    });
    let distributions = report.runs.iter().flat_map(|run| {
        let of = format!("{} latency", run.server);
        let loads = run.loads.iter().flat_map(move |load| latencies(&of, load));
        let sound = run.directions.iter().filter(|_| run.bottleneck.is_none());
        let lags = sound.map(|direction| {
            let name = format!("{} lag {} to {}", run.server, direction.from, direction.to);
            (name, direction.distribution.clone())
        });
        loads.chain(lags).collect::<Vec<_>>()
    });
    Section {
        warnings: warnings.collect(),
        distributions: distributions.collect(),
        figures,
    }
}

/// What clients of a region saw: of all operations together, and of each.
pub(super) fn latencies(of: &str, load: &RegionLoad) -> Vec<(String, Distribution)> {
    let of = format!("{of} {}", load.region);
    let operations = load.operations.iter();
    let each = operations.map(|load| {
        (
            format!("{of} {}", load.operation.name()),
            load.latency.clone(),
        )
    });
    let all = (of.clone(), load.latency.clone());
    std::iter::once(all).chain(each).collect()
}

/// What must be read before the figures: requests that are in none of them, and regions that are not equal.
pub(super) fn warnings_of(of: &str, loads: &[RegionLoad], differing: usize) -> Vec<String> {
    let missed: u64 = loads.iter().map(|load| load.missed).sum();
    let missed = (missed > 0).then(|| format!("{of}: {missed} requests were never sent"));
    let differ = (differing > 0)
        .then(|| format!("{of}: {differing} keys differ between regions at the end"));
    missed.into_iter().chain(differ).collect()
}

/// What clients of each server and region waited.
pub(super) fn latency_by_percentile<'a>(
    title: &str,
    loads: impl Iterator<Item = (&'a str, &'a [RegionLoad])>,
) -> Figure {
    let series = loads.flat_map(|(server, loads)| {
        let loads = loads.iter();
        loads.map(move |load| {
            Series::percentiles(server, format!("{server} {}", load.region), &load.latency)
        })
    });
    let series: Vec<Series> = series.collect();
    let y = Axis::fitting("latency", "ms", &series);
    Figure::plot(
        title,
        "From the intended start to the last reply, in an open loop: while a server is stopped or gone, all that should have \
         been asked meanwhile waits. The ends to the right are single requests.",
        Plot::new(Kind::Lines, Axis::percentile(), y, series),
    )
}

/// The slowest answer of each second, a line per region.
pub(super) fn load_series(
    title: &str,
    server: &str,
    loads: &[RegionLoad],
    marks: &[faults::Mark],
) -> Figure {
    let series = loads.iter().map(|load| {
        let seconds = load.seconds.iter().enumerate();
        let answered = seconds.filter(|(_, second)| second.answered > 0);
        let points = answered.map(|(at, second)| (at as f64, second.slowest_ms));
        Series::new(server, format!("{server} {}", load.region), points).with_gaps()
    });
    let series: Vec<Series> = series.collect();
    let y = Axis::fitting("slowest answer", "ms", &series);
    let plot = Plot::new(Kind::Lines, Axis::linear("since the start", "s"), y, series);
    Figure::plot(
        title,
        "The slowest of the requests that were intended within each second, whenever it was answered.",
        plot.with_marks(marks_of(marks)),
    )
}

fn marks_of(marks: &[faults::Mark]) -> Vec<Mark> {
    let mark = |mark: &faults::Mark| Mark {
        at: mark.at_ms / 1e3,
        label: mark.label.clone(),
    };
    marks.iter().map(mark).collect()
}

fn client_table(report: &SoakReport) -> Figure {
    let header = [
        "server",
        "region",
        "answered",
        "errors",
        "missed",
        "unanswered",
        "p50",
        "p99",
        "p99.9",
        "max",
    ];
    let mut table = Table::new(2, header);
    for run in &report.runs {
        for load in &run.loads {
            let at = |quantile| format!("{:.2} ms", load.latency.at(quantile));
            table.push([
                run.server.clone(),
                load.region.clone(),
                load.answered.to_string(),
                load.errors.to_string(),
                load.missed.to_string(),
                load.unanswered.to_string(),
                at(0.5),
                at(0.99),
                at(0.999),
                format!("{:.2} ms", load.latency.max_ms),
            ]);
        }
    }
    Figure::table(
        "What clients saw",
        "Latency counts from the intended start, in an open loop: while a region's server is stopped or gone, all that should \
         have been asked meanwhile is charged to it. Unanswered are requests whose connection was lost.",
        table,
    )
}

/// A line per server and direction, from the intended start of a write.
fn lag_table(report: &SoakReport) -> Figure {
    let header = [
        "server",
        "direction",
        "one way",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "p99.99",
        "max",
        "probes",
        "never",
    ];
    let mut table = Table::new(2, header);
    for run in &report.runs {
        for direction in &run.directions {
            let lag = &direction.lag;
            let ms = |ms: f64| format!("{ms:.1} ms");
            let known = [
                run.server.clone(),
                format!("{} to {}", direction.from, direction.to),
                ms(direction.one_way_ms),
            ];
            if run.bottleneck.is_some() {
                table.push_known(known.into());
                continue;
            }
            let [p50, p90, p99, p999, p9999, max] = lag
                .known_ms()
                .map(|lag| lag.map_or_else(|| ABSENT.to_owned(), ms));
            let [server, way, one_way] = known;
            table.push([
                server,
                way,
                one_way,
                p50,
                p90,
                p99,
                p999,
                p9999,
                max,
                lag.probes.to_string(),
                lag.never.to_string(),
            ]);
        }
    }
    Figure::table(
        "Lag",
        "From the intended start of a write to the first look that found it, faults included. What was never seen, within \
         the limit, such as writes that a killed region had not sent, lies beyond all others: a percentile that it reaches has a dash, and the \
         maximum is of those that were seen. A line without figures is one that the \
         emulation has spoilt.",
        table,
    )
}

fn end_table(report: &SoakReport) -> Figure {
    let header = [
        "server",
        "region",
        "memory at first",
        "at most",
        "at the end",
        "differ at the end",
        "equal after",
    ];
    let mut table = Table::new(2, header);
    for run in &report.runs {
        for region in &run.regions {
            let megabytes =
                |bytes: Option<u64>| format!("{:.1} MB", bytes.unwrap_or(0) as f64 / 1e6);
            let resident = &region.resident_bytes;
            table.push([
                run.server.clone(),
                region.region.clone(),
                megabytes(resident.first().copied()),
                megabytes(resident.iter().max().copied()),
                megabytes(resident.last().copied()),
                run.differing.to_string(),
                equal_after(run.equal_after_ms),
            ]);
        }
    }
    Figure::table(
        "Memory, and whether regions are equal in the end",
        "Resident memory, second by second. Keys are compared in all regions once the load has ended; what expires meanwhile \
         is gone everywhere or differs until it is.",
        table,
    )
}

fn lag_series(run: &SoakRun) -> Figure {
    let series = run.directions.iter().map(|direction| {
        let points = direction.series_ms.iter();
        let points = points.map(|&(at_ms, lag_ms)| (at_ms / 1e3, lag_ms));
        let name = format!("{} {} to {}", run.server, direction.from, direction.to);
        Series::new(&run.server, name, points).thinned().with_gaps()
    });
    let series: Vec<Series> = series.collect();
    let y = Axis::fitting("lag", "ms", &series);
    let plot = Plot::new(Kind::Lines, Axis::linear("since the start", "s"), y, series);
    Figure::plot(
        format!("Lag over time: {}", run.server),
        "When probes were written, and how long they took. Of each stretch the slowest one is drawn.",
        plot.with_marks(marks_of(&run.marks)),
    )
}

fn memory_series(run: &SoakRun) -> Figure {
    let series = run.regions.iter().map(|region| {
        let samples = region.resident_bytes.iter().enumerate();
        let points = samples.map(|(at, &bytes)| (at as f64, bytes as f64 / 1e6));
        Series::new(
            &run.server,
            format!("{} {}", run.server, region.region),
            points,
        )
    });
    let plot = Plot::new(
        Kind::Lines,
        Axis::linear("since the start", "s"),
        Axis::linear("resident memory", "MB"),
        series.collect(),
    );
    Figure::plot(
        format!("Memory over time: {}", run.server),
        "Resident memory of each region's server. It falls to nothing where a server is killed.",
        plot.with_marks(marks_of(&run.marks)),
    )
}
