//! Whether every figure stands under its heading.

mod made;
mod restarts;

use std::time::Duration;

use greenwich_bench::{
    load::mix::Mix,
    report::{
        conflict,
        figure::{Body, Figure, Plot, Section, Table},
        lag, local, partition, soak,
    },
    scenario::{
        conflict::{ConflictReport, ConflictRun, ConflictType},
        lag::{Knee, LagCase, LagReport, LagRun},
        local::{Case, LocalReport, Memory, Turn},
        partition::{PartitionCase, PartitionReport, PartitionRun},
        soak::{SoakReport, SoakRun},
    },
    wan::plan::Network,
};
use made::{cut, direction, forwarder, lag_case, lag_run, load, samples};

fn table<'a>(section: &'a Section, title: &str) -> &'a Table {
    let mut figures = section.figures.iter();
    let is_it = |figure: &&Figure| figure.title == title && matches!(figure.body, Body::Table(_));
    match &figures.find(is_it).expect(title).body {
        Body::Table(table) => table,
        Body::Plot(_) => unreachable!("it was looked for"),
    }
}

fn plot<'a>(section: &'a Section, title: &str) -> &'a Plot {
    let mut figures = section.figures.iter();
    let is_it = |figure: &&Figure| figure.title == title && matches!(figure.body, Body::Plot(_));
    match &figures.find(is_it).expect(title).body {
        Body::Plot(plot) => plot,
        Body::Table(_) => unreachable!("it was looked for"),
    }
}

/// Where points of the first series are.
fn points(plot: &Plot) -> Vec<(f64, f64)> {
    let points = plot.series[0].points.iter();
    points.map(|point| (point.x, point.y)).collect()
}

/// Where the first series is drawn, and whether its line breaks off anywhere.
fn line(plot: &Plot) -> (Vec<(f64, f64)>, bool) {
    let (drawn, gaps): (Vec<_>, Vec<_>) =
        points(plot).into_iter().partition(|(_, y)| y.is_finite());
    (drawn, !gaps.is_empty())
}

/// What is drawn of [`load`] and [`cut`].
#[track_caller]
fn assert_load_is_drawn(section: &Section, by_percentile: &str, by_second: &str) {
    let by_percentile = points(plot(section, by_percentile));
    let of_p50_and_p90: Vec<_> = by_percentile[..2]
        .iter()
        .map(|&(beyond, ms)| (beyond.round(), ms))
        .collect();
    assert_eq!(of_p50_and_p90, [(2.0, 21.0), (10.0, 42.0)]);
    let by_second = plot(section, by_second);
    assert_eq!(line(by_second), (vec![(0.0, 37.0), (2.0, 38.0)], true));
    assert_marks(by_second);
}

/// The [`cut`] is where it was, in seconds.
#[track_caller]
fn assert_marks(plot: &Plot) {
    let marks = plot.marks.iter();
    let marks: Vec<_> = marks.map(|mark| (mark.at, mark.label.as_str())).collect();
    assert_eq!(marks, [(1.5, "cut")]);
}

/// Headings and cells of one row are these, and no others.
#[track_caller]
fn assert_row(table: &Table, row: usize, expected: &[(&str, &str)]) {
    let cells = table.header.iter().zip(&table.rows[row]);
    let cells: Vec<(&str, &str)> = cells.map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(cells, expected);
}

const OWN_ERROR: &str = "The benchmark's own error";

/// What the forwarder and the loads that are made say under [`OWN_ERROR`].
#[track_caller]
fn assert_own_error(section: &Section, case: &str, sent_late: &str) {
    let expected = [
        ("server", "x"),
        ("case", case),
        ("late p50", "11 µs"),
        ("late p99", "12 µs"),
        ("late max", "13 µs"),
        ("dropped", "9"),
        ("processor", "14 %"),
        ("sent late p99", sent_late),
    ];
    assert_row(table(section, OWN_ERROR), 0, &expected);
}

fn lag_section(run: LagRun) -> Section {
    lag::section(&LagReport { runs: vec![run] })
}

#[test]
fn lag_stands_under_its_headings() {
    let section = lag_section(lag_run());
    let case = "71 updates/s, no emulation";
    let expected = [
        ("server", "x"),
        ("direction", "a to b"),
        ("case", case),
        ("updates/s", "72"),
        ("p50", "+52.00 ms"),
        ("p90", "+53.00 ms"),
        ("p99", "+54.00 ms"),
        ("p99.9", "+55.00 ms"),
        ("p99.99", "+56.00 ms"),
        ("max", "+57.00 ms"),
        ("probes", "1000000"),
        ("never", "52"),
        ("looks p99", "60.00 ms"),
    ];
    assert_row(table(&section, "Lag over the one-way delay"), 0, &expected);
    let expected = [
        ("server", "x"),
        ("direction", "b to a"),
        ("case", case),
        ("updates/s", "72"),
        ("bytes/update", "73"),
        ("packets", "1000"),
        ("lost by chance", "4.00 %"),
        ("dropped by own fault", "5.00 %"),
        ("waited p50", "7.00 ms"),
        ("waited p99", "8.00 ms"),
    ];
    assert_row(table(&section, "What links carried"), 0, &expected);
    assert_own_error(&section, case, "35.00 ms");
    let said = section.warnings.join("\n");
    assert!(said.contains("66 updates were never sent"), "{said}");
    assert!(said.contains("52 probes were never seen"), "{said}");
}

#[test]
fn lag_is_drawn_where_it_is() {
    let faster = LagRun {
        case: LagCase {
            rate: 74.0,
            ..lag_case()
        },
        ..lag_run()
    };
    let runs = vec![lag_run(), faster];
    let section = lag::section(&LagReport { runs });
    let bars = points(plot(&section, "Bytes per update"));
    assert_eq!(bars, [(0.0, 73.0), (0.0, 73.0)]);
    let by_rate = points(plot(&section, "Lag by rate: no emulation"));
    assert_eq!(by_rate, [(71.0, 54.0), (74.0, 54.0)]);
    let case = "71 updates/s, no emulation";
    let over_time = plot(&section, &format!("Lag over time: {case}"));
    assert_eq!(points(over_time), [(1.0, 62.0), (2.0, 63.0)]);
    assert_eq!(over_time.levels[0].at, 1.0);
    let by_percentile = points(plot(&section, &format!("Lag by percentile: {case}")));
    let of_p99 = by_percentile[2];
    assert!((of_p99.0 - 100.0).abs() < 1e-6 && of_p99.1 == 183.0);
}

#[test]
fn percentiles_that_no_probe_lies_beyond_are_left_out() {
    let mut run = lag_run();
    let lag = &mut run.directions[0].lag;
    (lag.probes, lag.never) = (500, 0);
    let section = lag_section(run);
    let table = table(&section, "Lag over the one-way delay");
    assert_eq!(
        table.rows[0][4..10],
        ["+52.00 ms", "+53.00 ms", "+54.00 ms", "–", "–", "+57.00 ms"]
    );
}

#[test]
fn percentiles_that_lost_probes_reach_are_left_out() {
    let shown = |probes, never| {
        let mut run = lag_run();
        let lag = &mut run.directions[0].lag;
        (lag.probes, lag.never) = (probes, never);
        let section = lag_section(run);
        let row = &table(&section, "Lag over the one-way delay").rows[0];
        row[4..12].to_vec()
    };
    let some = ["+52.00 ms", "–", "–", "–", "–", "+57.00 ms", "800", "200"];
    assert_eq!(shown(800, 200), some);
    let all = ["–", "–", "–", "–", "–", "–", "0", "200"];
    assert_eq!(shown(0, 200), all);
}

#[test]
fn lag_that_the_emulation_spoilt_is_not_shown() {
    let mut run = lag_run();
    run.bottleneck = Some("it was late".to_owned());
    let section = lag_section(run);
    let table = table(&section, "Lag over the one-way delay");
    assert_eq!(table.rows[0][3], "72");
    assert!(table.rows[0][4..].iter().all(|cell| cell == "–"));
    assert!(section.warnings[0].contains("not shown: it was late"));
}

#[test]
fn a_knee_is_between_the_last_low_step_and_the_first_high_one() {
    let step = |server: &str, rate: f64, p99_ms: f64| {
        let mut run = lag_run();
        run.server = server.to_owned();
        run.case = LagCase {
            rate,
            until: Some(Knee {
                p99_over: Duration::from_millis(10),
                factor: 1.5,
                rate_max: 1e6,
            }),
            ..lag_case()
        };
        run.loads.iter_mut().for_each(|load| load.missed = 0);
        let lag = &mut run.directions[0].lag;
        (lag.never, lag.p99_ms) = (0, p99_ms);
        run
    };
    let mut missing = step("z", 100.0, 3.0);
    missing.loads[0].missed = 7;
    let section = lag::section(&LagReport {
        runs: vec![
            step("x", 100.0, 3.0),
            step("x", 150.0, 4.0),
            step("x", 225.0, 15.0),
            step("y", 100.0, 3.0),
            missing,
        ],
    });
    let rows = &table(&section, "Lag under rising rate").rows;
    let ends: Vec<_> = rows.iter().map(|row| (&*row[0], &row[2..])).collect();
    let expected = [
        ("x", ["+10ms", "150/s", "225/s", "p99 +14.0 ms"]),
        ("y", ["+10ms", "100/s", "–", "–"]),
        ("z", ["+10ms", "–", "100/s", "7 updates were never sent"]),
    ];
    assert_eq!(ends.len(), expected.len());
    for (end, expected) in ends.iter().zip(expected) {
        assert_eq!(
            (end.0, end.1),
            (expected.0, &expected.1.map(str::to_owned)[..])
        );
    }
}

#[test]
fn throughput_cpu_and_memory_stand_under_their_headings() {
    let case = Case {
        mix: Mix::Get,
        pipeline: 4,
    };
    let turn = |round, per_second, cpu_us_per_command, errors| Turn {
        server: "x".to_owned(),
        case,
        round,
        per_second,
        cpu_us_per_command,
        errors,
    };
    let section = local::section(&LocalReport {
        memory: vec![Memory {
            server: "x".to_owned(),
            empty_bytes: 1_000_000,
            full_bytes: 2_000_000,
            bytes_per_key: 3.0,
        }],
        turns: vec![
            turn(0, 10.0, 21.0, 31),
            turn(1, 12.0, 23.0, 32),
            turn(2, 17.0, 28.0, 0),
        ],
    });
    let expected = [
        ("server", "x"),
        ("empty", "1.0 MB"),
        ("with all keys", "2.0 MB"),
        ("bytes per key", "3"),
    ];
    assert_row(table(&section, "Memory"), 0, &expected);
    let expected = [
        ("case", "get at pipeline 4"),
        ("server", "x"),
        ("per second", "12"),
        ("CPU per command", "23.00 µs"),
        ("least", "21.00 µs"),
        ("most", "28.00 µs"),
        ("errors", "32"),
    ];
    assert_row(
        table(&section, "Throughput and CPU per command"),
        0,
        &expected,
    );
    let bar = |title: &str| {
        let point = &plot(&section, title).series[0].points[0];
        (point.x, point.y, point.spread)
    };
    assert_eq!(bar("CPU per command"), (0.0, 23.0, Some((21.0, 28.0))));
    assert_eq!(bar("Throughput"), (0.0, 12.0, Some((10.0, 17.0))));
    assert_eq!(bar("Memory per key"), (0.0, 3.0, None));
    assert_eq!(bar("Throughput against CPU"), (12.0, 23.0, None));
}

#[test]
fn conflicts_stand_under_their_headings() {
    let section = conflict::section(&ConflictReport {
        runs: vec![ConflictRun {
            server: "x".to_owned(),
            kind: ConflictType::Counter,
            keys: 1,
            accepted: 2,
            refused: 3,
            differing: 4,
            lost: Some(5),
            equal_after_ms: Some(6.0),
            forwarder: Some(forwarder()),
        }],
    });
    let expected = [
        ("server", "x"),
        ("type", "counter"),
        ("keys", "1"),
        ("accepted", "2"),
        ("refused", "3"),
        ("differ afterwards", "4"),
        ("updates lost", "5"),
        ("equal after", "6 ms"),
    ];
    let title = "The same keys, written in all regions at once";
    assert_row(table(&section, title), 0, &expected);
    assert_own_error(&section, "counter", "–");
}

#[test]
fn partitions_stand_under_their_headings() {
    let mut report = PartitionReport {
        runs: vec![PartitionRun {
            server: "x".to_owned(),
            case: PartitionCase {
                rate: 1.0,
                cut: Duration::from_secs(2),
                is_one_way: true,
                network: Network::default(),
            },
            loads: vec![load("a")],
            marks: vec![cut()],
            answered: 3,
            equal_after_ms: Some(4.0),
            look_ms: 5.0,
            differing: 6,
            heal_bytes: 7_000_000,
            forwarder: forwarder(),
            bottleneck: None,
        }],
    };
    let section = partition::section(&report);
    let case = "1 requests/s, no emulation, cut one way for 2s";
    let expected = [
        ("server", "x"),
        ("case", case),
        ("requests answered", "3"),
        ("equal after", "4 ms"),
        ("looks", "5 ms"),
        ("differ at the end", "6"),
        ("bytes from heal to then", "7.00 MB"),
    ];
    let title = "From the heal until all regions are equal";
    assert_row(table(&section, title), 0, &expected);
    let expected = [
        ("server", "x"),
        ("case", case),
        ("region", "a"),
        ("answered", "31"),
        ("errors", "32"),
        ("missed", "69"),
        ("p50", "21.00 ms"),
        ("p99", "63.00 ms"),
        ("max", "126.00 ms"),
    ];
    let title = "What clients saw before and during the cut";
    assert_row(table(&section, title), 0, &expected);
    assert_own_error(&section, &format!("{case}, from the heal on"), "35.00 ms");
    assert!(
        section
            .warnings
            .iter()
            .any(|said| said.contains("6 keys differ"))
    );

    assert_load_is_drawn(
        &section,
        &format!("Latency by percentile: {case}"),
        &format!("Slowest answer by second: x, {case}"),
    );

    report.runs[0].bottleneck = Some("it was late".to_owned());
    let section = partition::section(&report);
    assert!(section.warnings[0].contains("it was late"));
    let row = &table(&section, "From the heal until all regions are equal").rows[0];
    assert_eq!(row[2..], ["3", "–", "–", "–", "–"]);
}

#[test]
fn soaks_stand_under_their_headings() {
    let section = soak::section(&SoakReport {
        runs: vec![SoakRun {
            server: "x".to_owned(),
            loads: vec![load("a")],
            directions: vec![direction()],
            regions: vec![samples("a")],
            marks: vec![cut()],
            differing: 1,
            equal_after_ms: None,
            forwarder: Some(forwarder()),
            bottleneck: None,
        }],
    });
    let expected = [
        ("server", "x"),
        ("direction", "a to b"),
        ("one way", "1.0 ms"),
        ("p50", "53.0 ms"),
        ("p90", "54.0 ms"),
        ("p99", "55.0 ms"),
        ("p99.9", "56.0 ms"),
        ("p99.99", "57.0 ms"),
        ("max", "58.0 ms"),
        ("probes", "1000000"),
        ("never", "52"),
    ];
    assert_row(table(&section, "Lag"), 0, &expected);
    let said = section.warnings.join("\n");
    assert!(said.contains("52 probes were never seen"), "{said}");
    assert!(said.contains("1 keys differ"), "{said}");
    let expected = [
        ("server", "x"),
        ("region", "a"),
        ("answered", "31"),
        ("errors", "32"),
        ("missed", "33"),
        ("unanswered", "36"),
        ("p50", "21.00 ms"),
        ("p99", "63.00 ms"),
        ("p99.9", "84.00 ms"),
        ("max", "126.00 ms"),
    ];
    assert_row(table(&section, "What clients saw"), 0, &expected);
    let expected = [
        ("server", "x"),
        ("region", "a"),
        ("memory at first", "41.0 MB"),
        ("at most", "43.0 MB"),
        ("at the end", "42.0 MB"),
        ("differ at the end", "1"),
        ("equal after", "never"),
    ];
    let title = "Memory, and whether regions are equal in the end";
    assert_row(table(&section, title), 0, &expected);
    assert_own_error(&section, "the whole", "35.00 ms");
    assert_load_is_drawn(
        &section,
        "Latency by percentile",
        "Slowest answer by second: x",
    );
    let lag = plot(&section, "Lag over time: x");
    assert_eq!(line(lag), (vec![(1.0, 62.0), (2.0, 63.0)], false));
    assert_marks(lag);
    let memory = plot(&section, "Memory over time: x");
    assert_eq!(points(memory), [(0.0, 41.0), (1.0, 43.0), (2.0, 42.0)]);
    assert_marks(memory);
}
