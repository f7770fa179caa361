//! Whether figures of `restart` stand under their headings.

use greenwich_bench::{
    report::restart,
    scenario::restart::{RestartCase, RestartReport, RestartRun},
    wan::plan::Network,
};

use super::{
    assert_own_error, assert_row,
    made::{forwarder, load},
    table,
};

#[test]
fn restarts_stand_under_their_headings() {
    let mut report = RestartReport {
        runs: vec![RestartRun {
            server: "x".to_owned(),
            case: RestartCase {
                rate: 1.0,
                network: Network::default(),
            },
            keys: 2,
            loads: vec![load("a")],
            ready_after_ms: Some(3.0),
            equal_after_ms: Some(4.0),
            look_ms: 5.0,
            differing: 6,
            link_bytes: Some(7_000_000),
            forwarder: Some(forwarder()),
            bottleneck: None,
        }],
    };
    let section = restart::section(&report);
    let case = "2 keys, 1 requests/s, no emulation";
    let expected = [
        ("server", "x"),
        ("case", case),
        ("ready after", "3 ms"),
        ("equal after", "4 ms"),
        ("looks", "5 ms"),
        ("differ at the end", "6"),
        ("bytes until equal", "7.00 MB"),
    ];
    let title = "From the start of an empty server until it holds what the others do";
    assert_row(table(&section, title), 0, &expected);
    assert_own_error(&section, &format!("{case}, from the start on"), "35.00 ms");
    let said = &section.warnings;
    assert!(said.iter().any(|said| said.contains("6 keys differ")));

    report.runs[0].bottleneck = Some("it was late".to_owned());
    let section = restart::section(&report);
    assert!(section.warnings[0].contains("it was late"));
    assert_eq!(table(&section, title).rows[0][2..], ["–"; 5]);
}
