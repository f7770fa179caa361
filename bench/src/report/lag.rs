//! What the scenario `lag` shows.

use crate::{
    report::{
        figure::{ABSENT, Axis, Figure, Kind, Mark, Plot, Point, Section, Series, Table},
        knee,
        local::Spread,
        own_error,
    },
    scenario::{
        drive::Direction,
        lag::{LagCase, LagReport, LagRun},
    },
};

/// Its tables and plots.
#[must_use]
pub fn section(report: &LagReport) -> Section {
    let mut figures = vec![
        percentile_table(report),
        wire_table(report),
        own_error::table(report.runs.iter().map(|run| {
            let case = run.case.to_string();
            (&*run.server, case, run.forwarder.as_ref(), &*run.loads)
        })),
    ];
    if report.runs.iter().any(|run| run.bytes_per_update.is_some()) {
        figures.push(bytes_per_update(report));
    }
    figures.extend(knee::table(report));
    figures.extend(by_rate(report));
    // Steps towards a knee are many, and shown by rate.
    let is_step = |runs: &[&LagRun]| runs[0].case.until.is_some();
    for mut runs in cases(report) {
        runs.retain(|run| run.bottleneck.is_none());
        if runs.is_empty() || is_step(&runs) {
            continue;
        }
        figures.push(by_percentile(&runs));
        figures.push(over_time(&runs));
    }
    let sound = report.runs.iter().filter(|run| run.bottleneck.is_none());
    let distributions = sound.flat_map(|run| {
        let directions = run.directions.iter();
        directions.map(|direction| {
            let name = format!("{} {} {}", run.server, run.case, way(direction));
            (name, direction.distribution.clone())
        })
    });
    Section {
        warnings: report.runs.iter().flat_map(warnings).collect(),
        distributions: distributions.collect(),
        figures,
    }
}

fn warnings(run: &LagRun) -> Vec<String> {
    let of = format!("{}, {}", run.server, run.case);
    let spoilt = run.bottleneck.iter();
    let spoilt = spoilt.map(|reason| format!("the lag of {of} is not shown: {reason}"));
    let missed = (run.missed() > 0).then(|| {
        format!(
            "{of}: {} updates were never sent, the server took fewer",
            run.missed()
        )
    });
    let never: u64 = run.directions.iter().map(|way| way.lag.never).sum();
    let never = (never > 0).then(|| format!("{of}: {never} probes were never seen"));
    spoilt.chain(missed).chain(never).collect()
}

/// A line per server, case and direction: what lies above the one-way delay.
fn percentile_table(report: &LagReport) -> Figure {
    let header = [
        "server",
        "direction",
        "case",
        "updates/s",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "p99.99",
        "max",
        "probes",
        "never",
        "looks p99",
    ];
    let mut table = Table::new(3, header);
    for run in &report.runs {
        for direction in &run.directions {
            let lag = &direction.lag;
            let known = [
                run.server.clone(),
                way(direction),
                run.case.to_string(),
                format!("{:.0}", run.updates_per_second),
            ];
            if run.bottleneck.is_some() {
                table.push_known(known.into());
                continue;
            }
            let over = |ms: f64| format!("{:+.2} ms", ms - direction.one_way_ms);
            let [p50, p90, p99, p999, p9999, max] = lag
                .known_ms()
                .map(|ms| ms.map_or_else(|| ABSENT.to_owned(), over));
            let [server, way, case, rate] = known;
            table.push([
                server,
                way,
                case,
                rate,
                p50,
                p90,
                p99,
                p999,
                p9999,
                max,
                lag.probes.to_string(),
                lag.never.to_string(),
                format!("{:.2} ms", lag.look_ms_p99),
            ]);
        }
    }
    Figure::table(
        "Lag over the one-way delay",
        "From the intended start of the write to the first look that found it, less what the link delays anyway. The interval of \
         the looks is the error; what was never seen within the limit lies beyond all others, and a percentile \
         that it reaches has a dash; the maximum is of those that were seen. A line without any figure is one that the emulation has \
         spoilt.",
        table,
    )
}

/// What links carried: a line per run, and per direction of those whose rate is limited.
fn wire_table(report: &LagReport) -> Figure {
    let header = [
        "server",
        "direction",
        "case",
        "updates/s",
        "bytes/update",
        "packets",
        "lost by chance",
        "dropped by own fault",
        "waited p50",
        "waited p99",
    ];
    let mut table = Table::new(3, header);
    for run in &report.runs {
        let Some(forwarder) = &run.forwarder else {
            let rate = format!("{:.0}", run.updates_per_second);
            let (server, case) = (run.server.clone(), run.case.to_string());
            table.push_known(vec![server, ABSENT.to_owned(), case, rate]);
            continue;
        };
        for link in &forwarder.links {
            let counts = link.counts;
            let share = |packets: u64| {
                let share = packets as f64 / counts.taken.max(1) as f64;
                format!("{:.2} %", share * 100.0)
            };
            let name = |region: usize| run.regions.get(region).map(|region| region.region.as_str());
            let Some((from, to)) = name(link.from).zip(name(link.to)) else {
                continue;
            };
            table.push([
                run.server.clone(),
                format!("{from} to {to}"),
                run.case.to_string(),
                format!("{:.0}", run.updates_per_second),
                run.bytes_per_update
                    .map_or_else(|| ABSENT.to_owned(), |bytes| format!("{bytes:.0}")),
                counts.taken.to_string(),
                share(counts.lost),
                share(counts.queue_full),
                format!("{:.2} ms", link.wait_ms_p50),
                format!("{:.2} ms", link.wait_ms_p99),
            ]);
        }
    }
    Figure::table(
        "What links carried",
        "Bytes of all packets on all links, headers and acknowledgements included, by update and region that it goes to. \
         Dropped by own fault is what found the queue before a link's rate full; waited is the time in that queue, by which \
         the link's round trip is longer.",
        table,
    )
}

/// A bar for each case and server.
fn bytes_per_update(report: &LagReport) -> Figure {
    let bars = cases(report).into_iter().flat_map(|runs| {
        let servers = servers(&runs).into_iter();
        let bars = servers.map(|server| {
            let turns = runs.iter().filter(|run| run.server == server);
            let spread = Spread::of(turns.filter_map(|run| run.bytes_per_update).collect());
            let bar = Point::bar(runs[0].case.to_string(), spread.median, spread.range());
            (server, bar)
        });
        bars.collect::<Vec<_>>()
    });
    let series = Series::by_server(bars);
    let plot = Plot::new(
        Kind::Bars,
        Axis::linear("case", ""),
        Axis::linear("bytes per update", "B"),
        series,
    );
    Figure::plot(
        "Bytes per update",
        "What links carried for each update and each region that it goes to. At low rates packets that go anyway, such as \
         acknowledgements and signs of life, weigh more; updates of the same key that coalesce weigh nothing.",
        plot,
    )
}

/// One line per server and direction, over all percentiles.
fn by_percentile(runs: &[&LagRun]) -> Figure {
    let case = &runs[0].case;
    let series = of_directions(runs, |run, direction| {
        Series::percentiles(&run.server, line(run, direction), &direction.distribution)
    });
    let y = Axis::fitting("lag", "ms", &series);
    let plot = Plot::new(Kind::Lines, Axis::percentile(), y, series);
    Figure::plot(
        format!("Lag by percentile: {case}"),
        "How many of a hundred writes were visible by when. The ends to the right are single writes: the last point is the \
         worst one. Of a server with more than two directions, the one with the worst p99 over its one-way delay is drawn.",
        plot.with_levels(one_way(runs[0])),
    )
}

/// Every probe, in the order of writing.
fn over_time(runs: &[&LagRun]) -> Figure {
    let case = &runs[0].case;
    let series = of_directions(runs, |run, direction| {
        let points = direction.series_ms.iter();
        let points = points.map(|&(at_ms, lag_ms)| (at_ms / 1e3, lag_ms));
        Series::new(&run.server, line(run, direction), points)
            .thinned()
            .with_gaps()
    });
    let y = Axis::fitting("lag", "ms", &series);
    let plot = Plot::new(Kind::Lines, Axis::linear("since the start", "s"), y, series);
    Figure::plot(
        format!("Lag over time: {case}"),
        "When probes were written, and how long they took. Of each stretch the slowest one is drawn, so the line lies above \
         what most writes saw. Servers ran one after the other; directions are those of the plot above.",
        plot.with_levels(one_way(runs[0])).with_marks(marks(runs)),
    )
}

/// Lag against the rate, for all that was measured with several and is the same otherwise.
fn by_rate(report: &LagReport) -> Vec<Figure> {
    let mut groups: Vec<(LagCase, Vec<&LagRun>)> = Vec::new();
    for run in report.runs.iter().filter(|run| run.bottleneck.is_none()) {
        let (rate, until) = (0.0, None);
        let of = LagCase {
            rate,
            until,
            ..run.case.clone()
        };
        match groups.iter_mut().find(|(case, _)| *case == of) {
            Some((_, runs)) => runs.push(run),
            None => groups.push((of, vec![run])),
        }
    }
    let is_several = |runs: &[&LagRun]| {
        let mut pairs = runs.windows(2);
        pairs.any(|pair| pair[0].case.rate != pair[1].case.rate)
    };
    let figures = groups
        .into_iter()
        .filter(|(_, runs)| is_several(runs))
        .map(|(case, runs)| of_rates(&case, &runs));
    figures.collect()
}

/// A line for each server.
fn of_rates(case: &LagCase, runs: &[&LagRun]) -> Figure {
    let worst = |run: &LagRun| {
        let over = run.directions.iter().map(p99_over_ms);
        over.fold(0.0, f64::max)
    };
    let series = servers(runs).into_iter().map(|server| {
        let is_known = |way: &Direction| way.lag.never == 0 || way.lag.is_known(0.99);
        let points = runs
            .iter()
            .filter(|run| run.server == server && run.directions.iter().all(is_known));
        let mut points: Vec<(f64, f64)> = points.map(|run| (run.case.rate, worst(run))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Series::new(server, server, points)
    });
    let series: Vec<Series> = series.collect();
    let y = Axis::fitting("p99 over the one-way delay", "ms", &series);
    let plot = Plot::new(
        Kind::Lines,
        Axis::linear("offered updates", "/s"),
        y,
        series,
    );
    Figure::plot(
        format!("Lag by rate: {}", case.conditions()),
        "99 of 100 writes were visible within the one-way delay and this, in the worst direction. Where a line turns upwards, the server \
         or the machine no longer keeps up: all regions, the load and the emulator share it.",
        plot,
    )
}

/// A series for each direction; of more than two, for the worst.
fn of_directions(runs: &[&LagRun], series: impl Fn(&LagRun, &Direction) -> Series) -> Vec<Series> {
    let each = runs.iter().flat_map(|run| {
        let worst = run
            .directions
            .iter()
            .max_by(|a, b| p99_over_ms(a).total_cmp(&p99_over_ms(b)));
        let shown = match run.directions.len() {
            ..=2 => run.directions.iter().collect(),
            _ => worst.into_iter().collect::<Vec<_>>(),
        };
        shown.into_iter().map(|direction| series(run, direction))
    });
    each.collect()
}

fn p99_over_ms(direction: &Direction) -> f64 {
    direction.lag.p99_ms - direction.one_way_ms
}

/// The runs of each case, in the order in which cases were first measured.
fn cases(report: &LagReport) -> Vec<Vec<&LagRun>> {
    let mut cases: Vec<Vec<&LagRun>> = Vec::new();
    for run in &report.runs {
        match cases.iter_mut().find(|case| case[0].case == run.case) {
            Some(case) => case.push(run),
            None => cases.push(vec![run]),
        }
    }
    cases
}

fn way(direction: &Direction) -> String {
    format!("{} to {}", direction.from, direction.to)
}

/// The name of a direction's line.
fn line(run: &LagRun, direction: &Direction) -> String {
    format!("{} {}", run.server, way(direction))
}

/// Each server once: in turns, they come again and again.
fn servers<'a>(runs: &[&'a LagRun]) -> Vec<&'a str> {
    let mut servers = Vec::new();
    for run in runs {
        if !servers.contains(&run.server.as_str()) {
            servers.push(run.server.as_str());
        }
    }
    servers
}

/// The delay of each kind of link.
fn one_way(run: &LagRun) -> Vec<Mark> {
    let mut delays: Vec<f64> = run
        .directions
        .iter()
        .map(|direction| direction.one_way_ms)
        .collect();
    delays.sort_by(f64::total_cmp);
    delays.dedup();
    let label = || "one way".to_owned();
    delays
        .into_iter()
        .map(|at| Mark { at, label: label() })
        .collect()
}

/// Faults, when they happened to the first of the servers: the timetable is the same for all.
fn marks(runs: &[&LagRun]) -> Vec<Mark> {
    let marks = runs.first().map_or(&[][..], |run| &run.marks).iter();
    marks
        .map(|mark| Mark {
            at: mark.at_ms / 1e3,
            label: mark.label.clone(),
        })
        .collect()
}
