//! The table of the scenario `lag`.

use crate::{report::terminal::table, scenario::lag::LagReport};

/// Prints a line per server, case and direction: what lies above the one-way delay.
pub fn print(report: &LagReport) {
    let header = [
        "server",
        "direction",
        "updates/s",
        "link",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "never",
        "looks",
    ];
    let mut rows = table(header);
    for run in &report.runs {
        for direction in &run.directions {
            let over = |lag_ms: f64| format!("{:+.2} ms", lag_ms - direction.one_way_ms);
            let lag = &direction.lag;
            rows.add_row([
                run.server.clone(),
                format!("{} to {}", direction.from, direction.to),
                format!("{:.0}", run.updates_per_second),
                run.case.network().to_string(),
                over(lag.p50_ms),
                over(lag.p90_ms),
                over(lag.p99_ms),
                over(lag.p999_ms),
                over(lag.max_ms),
                lag.never.to_string(),
                format!("{:.2} ms", lag.look_ms_p50),
            ]);
        }
    }
    println!(
        "lag over the one-way delay, from the start of the write to the first look that found it"
    );
    println!("{rows}");
    for run in &report.runs {
        let forwarder = &run.forwarder;
        println!(
            "{}, {}: the forwarder was late by {:.0} µs (p50), {:.0} µs (p99), and used {:.0} % of a processor",
            run.server,
            run.case.network(),
            forwarder.error_us_p50,
            forwarder.error_us_p99,
            forwarder.cpu_share * 100.0,
        );
        if run.missed() > 0 {
            println!(
                "  {} updates were never sent: the server took fewer",
                run.missed()
            );
        }
        if let Some(bottleneck) = &run.bottleneck {
            println!("  DO NOT USE these figures: {bottleneck}");
        }
    }
}
