//! Synthetic reports whose differences are known.

use std::collections::BTreeMap;

use super::*;
use crate::{
    report::compare::verdict::Verdict,
    scenario::{Outcome, Scenario, file::ScenarioFile, local::LocalReport},
    wan::emulation::Emulation,
};

const LOCAL: &str = "servers = [\"greenwich\"]\nregions = [\"a\"]\n[local]\n\
    data = { keys = 10, spread = \"uniform\", value_size = \"10\" }\n\
    connections = 1\nrounds = 5\nturn = \"1s\"\ncases = [{ mix = \"get\", pipeline = 1 }]\n";

/// A report of `local`: per server its throughput in each round; the CPU per command falls as it rises.
fn local(servers: &[(&str, [f64; 5])]) -> Report {
    let file = ScenarioFile::parse("local", LOCAL).unwrap();
    let mut turns = Vec::new();
    for (server, rates) in servers {
        for (round, rate) in rates.iter().enumerate() {
            turns.push(serde_json::json!({
                "server": server, "case": { "mix": "get", "pipeline": 1 }, "round": round,
                "per_second": rate, "cpu_us_per_command": 1e6 / rate, "errors": 0,
            }));
        }
    }
    let outcome: LocalReport =
        serde_json::from_value(serde_json::json!({ "memory": [], "turns": turns })).unwrap();
    let versions = servers
        .iter()
        .map(|(name, _)| ((*name).to_owned(), Some("1".to_owned())));
    let versions: BTreeMap<_, _> = versions.collect();
    let mut report = Report::new(Provenance::look(1, Emulation::default(), versions));
    report.scenarios.push(ScenarioReport {
        name: file.name,
        regions: file.regions,
        settings: file.scenario,
        outcome: Outcome::Local(outcome),
        left_out: Vec::new(),
        partial: None,
    });
    report
}

const QUIET: [f64; 5] = [1000.0, 1010.0, 995.0, 1004.0, 990.0];
const AGAIN: [f64; 5] = [1003.0, 992.0, 1012.0, 999.0, 997.0];
const FASTER: [f64; 5] = [1100.0, 1111.0, 1095.0, 1104.0, 1089.0];

fn verdicts(compared: &Compared) -> Vec<(&str, Verdict)> {
    let rows = compared
        .scenarios
        .iter()
        .flat_map(|scenario| &scenario.rows);
    rows.map(|row| (row.metric.name, row.comparison.verdict))
        .collect()
}

#[test]
fn reports_differ_where_their_servers_do() {
    let a = local(&[("greenwich", QUIET), ("redis", QUIET)]);
    let b = local(&[("greenwich", FASTER), ("redis", AGAIN)]);
    let compared = Compared::reports(&a, &b);
    let expected = [
        ("per second", Verdict::Better),
        ("CPU µs per command", Verdict::Better),
        ("per second", Verdict::Noise),
        ("CPU µs per command", Verdict::Noise),
    ];
    assert_eq!(verdicts(&compared), expected);
    let ratio = compared.scenarios[0].rows[0].comparison.ratio.unwrap();
    assert!((ratio - 1.1).abs() < 1e-9, "{ratio}");
    let back = Compared::reports(&b, &a);
    assert_eq!(verdicts(&back)[0].1, Verdict::Worse);
    assert!(compared.to_string().contains("within noise"));
}

#[test]
fn a_baseline_is_a_of_its_own_report() {
    let report = local(&[("greenwich", FASTER), ("greenwich-baseline", QUIET)]);
    let compared = Compared::with_baseline(&report).unwrap();
    assert_eq!(verdicts(&compared)[0], ("per second", Verdict::Better));
    let comparison = compared.scenarios[0].rows[0].comparison;
    assert_eq!((comparison.a, comparison.b), (1000.0, 1100.0));
    assert!(Compared::with_baseline(&local(&[("greenwich", QUIET)])).is_none());
}

#[test]
fn other_settings_are_refused_by_name() {
    let (a, mut b) = (local(&[("redis", QUIET)]), local(&[("redis", QUIET)]));
    if let Scenario::Local(local) = &mut b.scenarios[0].settings {
        local.data.keys = 11;
    }
    b.scenarios[0].regions = vec!["a".to_owned(), "b".to_owned()];
    let compared = Compared::reports(&a, &b);
    assert!(!compared.has_rows());
    let note = &compared.scenarios[0].notes[0];
    assert!(
        note.contains("local.data.keys is 10 in A and 11 in B"),
        "{note}"
    );
    assert!(note.contains("regions is [\"a\"] in A"), "{note}");
}

#[test]
fn what_is_missing_or_partial_is_said() {
    let (mut a, mut b) = (local(&[("redis", QUIET)]), local(&[("redis", QUIET)]));
    a.scenarios[0].partial = Some("a server died".to_owned());
    a.unfinished = vec!["lag".to_owned()];
    let mut other = b.scenarios[0].clone();
    other.name = "other".to_owned();
    b.scenarios.push(other);
    b.provenance.cores = 99;
    b.provenance.emulation = Emulation::Socket;
    b.scenarios[0].left_out = vec!["keydb: not run".to_owned()];
    let compared = Compared::reports(&a, &b);
    let text = compared.to_string();
    for said in [
        "ended early in A, and only what both have is compared: a server died",
        "A ended before it had measured lag",
        "other is in B alone",
        "another number of cores",
        "links: emulated by network namespaces",
        "B: keydb: not run",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(compared.has_rows());
}
