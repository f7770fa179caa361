//! Reports made by hand. No two figures are the same.

use greenwich_bench::{
    lag::LagFigures,
    load::record::Second,
    report::distribution::{Distribution, Point},
    scenario::{
        drive::{Direction, RegionLoad, RegionSamples},
        faults::Mark,
        lag::{LagCase, LagRun},
    },
    wan::{
        forwarder::account::{ForwarderReport, LinkCounts, LinkReport},
        plan::Network,
    },
};

pub(crate) fn forwarder() -> ForwarderReport {
    let counts = LinkCounts {
        taken: 1_000,
        taken_bytes: 2_000,
        given: 3_000,
        lost: 40,
        queue_full: 50,
        cut: 60,
    };
    ForwarderReport {
        links: vec![LinkReport {
            from: 1,
            to: 0,
            counts,
            wait_ms_p50: 7.0,
            wait_ms_p99: 8.0,
        }],
        own_fault: 9,
        error_us_p50: 11.0,
        error_us_p99: 12.0,
        error_us_max: 13.0,
        cpu_share: 0.14,
    }
}

/// Its percentiles are its least time and as much again for each step.
pub(crate) fn distribution(least_ms: f64) -> Distribution {
    let quantiles = [0.5, 0.9, 0.99, 0.999, 0.9999];
    let points = (1..).zip(quantiles).map(|(step, quantile)| Point {
        quantile,
        ms: least_ms * f64::from(step),
        count: 1,
    });
    Distribution {
        count: 100,
        mean_ms: 0.1,
        deviation_ms: 0.2,
        max_ms: least_ms * 6.0,
        points: points.collect(),
    }
}

fn second(slowest_ms: f64) -> Second {
    Second {
        answered: 1,
        errors: 0,
        slowest_ms,
    }
}

/// A cut in the second second, as a run marks it.
pub(crate) fn cut() -> Mark {
    Mark {
        at_ms: 1_500.0,
        label: "cut".to_owned(),
    }
}

pub(crate) fn load(region: &str) -> RegionLoad {
    RegionLoad {
        region: region.to_owned(),
        latency: distribution(21.0),
        operations: Vec::new(),
        answered: 31,
        errors: 32,
        missed: 33,
        per_second: 34.0,
        sent_late_ms_p99: 35.0,
        unanswered: 36,
        seconds: vec![second(37.0), Second::default(), second(38.0)],
    }
}

pub(crate) fn samples(region: &str) -> RegionSamples {
    RegionSamples {
        region: region.to_owned(),
        resident_bytes: vec![41_000_000, 43_000_000, 42_000_000],
        cpu_seconds: vec![0.0, 1.0, 2.0],
    }
}

pub(crate) fn direction() -> Direction {
    Direction {
        from: "a".to_owned(),
        to: "b".to_owned(),
        one_way_ms: 1.0,
        lag: LagFigures {
            probes: 1_000_000,
            never: 52,
            p50_ms: 53.0,
            p90_ms: 54.0,
            p99_ms: 55.0,
            p999_ms: 56.0,
            p9999_ms: 57.0,
            max_ms: 58.0,
            look_ms_p50: 59.0,
            look_ms_p99: 60.0,
        },
        distribution: distribution(61.0),
        series_ms: vec![(1_000.0, 62.0), (2_000.0, 63.0)],
    }
}

pub(crate) fn lag_case() -> LagCase {
    LagCase {
        rate: 71.0,
        writers: Vec::new(),
        network: Network::default(),
        faults: Vec::new(),
        until: None,
    }
}

pub(crate) fn lag_run() -> LagRun {
    LagRun {
        server: "x".to_owned(),
        case: lag_case(),
        directions: vec![direction()],
        loads: vec![
            load("a"),
            RegionLoad {
                sent_late_ms_p99: 5.0,
                ..load("b")
            },
        ],
        regions: vec![samples("a"), samples("b")],
        marks: Vec::new(),
        updates_per_second: 72.0,
        bytes_per_update: Some(73.0),
        forwarder: Some(forwarder()),
        bottleneck: None,
    }
}
