//! Without root, what can be measured is measured, and the rest is said: that is no failure.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use greenwich_bench::server::find_program;
use rustix::process::geteuid;
use serde_json::Value;

const NOBODY: &str = "65534";
const LOCAL: &str = "servers = [\"redis\"]\nregions = [\"a\"]\n[local]\n\
    data = { keys = 10, spread = \"uniform\", value_size = \"10\" }\n\
    connections = 1\nrounds = 1\nturn = \"50ms\"\ncases = [{ mix = \"get\", pipeline = 1 }]\n";
const LAG: &str = "servers = [\"redis\"]\nregions = [\"a\", \"b\"]\n[lag]\n\
    data = { keys = 10, spread = \"uniform\", value_size = \"10\" }\n\
    connections = 1\nlength = \"1h\"\nwarm_up = \"1s\"\n\
    cases = [{ rate = 100, network.link = { rtt = \"2ms\" } }]\n";
const PARTITION: &str = "servers = [\"redis\"]\nregions = [\"a\", \"b\"]\n[partition]\nmix = \"ycsb-a\"\n\
    data = { keys = 10, spread = \"uniform\", value_size = \"10\" }\n\
    connections = 1\nbefore = \"1s\"\nsettle_limit = \"1s\"\n\
    cases = [{ rate = 100, cut = \"1h\" }]\n";
const NODES: &str = "servers = [\"greenwich\"]\nregions = [\"a\", \"b\"]\n[lag]\n\
    data = { keys = 100, spread = \"uniform\", value_size = \"10\" }\n\
    connections = 1\nlength = \"5s\"\nwarm_up = \"1s\"\ncases = [\n\
    { rate = 100, writers = [\"a\"], network.link = { rtt = \"20ms\" } },\n\
    { rate = 100, writers = [\"a\"], network.link = { rtt = \"60ms\" }, faults = [\n\
        { at = \"2s\", stop = \"a\" }, { at = \"2500ms\", continue = \"a\" },\n\
        { at = \"3s\", kill = \"b\" }, { at = \"3200ms\", start = \"b\" } ] },\n]\n";

/// Runs these scenarios as a user who is not root, where this user can become one.
fn run(directory: &Path, scenarios: &[(&str, &str)], more: &[&str]) -> (Output, Value) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).unwrap();
    let program = directory.join("greenwich-bench");
    fs::copy(env!("CARGO_BIN_EXE_greenwich-bench"), &program).unwrap();
    let mut command = match geteuid().is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
                .arg(&program);
            command
        }
        false => Command::new(&program),
    };
    command.arg("run").args(more);
    for (name, text) in scenarios {
        let file = directory.join(name).with_extension("toml");
        fs::write(&file, text).unwrap();
        command.arg(file);
    }
    let out = directory.join("out");
    let output = command.arg("--out").arg(&out).output().unwrap();
    let text = fs::read_to_string(out.join("report.json"))
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output, serde_json::from_str(&text).unwrap())
}

fn can_run() -> bool {
    let can_run = !geteuid().is_root() || find_program("setpriv").is_some();
    if !can_run {
        eprintln!("skipped: setpriv of util-linux is not installed");
    }
    can_run
}

#[test]
fn servers_that_need_namespaces_are_left_out_with_a_sentence() {
    if find_program("redis-server").is_none() {
        eprintln!("skipped: redis-server is not installed");
        return;
    }
    if !can_run() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let scenarios = [("local", LOCAL), ("lag", LAG), ("partition", PARTITION)];
    let (output, report) = run(directory.path(), &scenarios, &[]);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(report["provenance"]["emulation"], "socket");
    let first = printed.lines().next().unwrap();
    assert!(
        first.starts_with("links: emulated by the nodes' own sockets"),
        "{first}"
    );
    let scenario = |index: usize| &report["scenarios"][index];
    let turns = &scenario(0)["outcome"]["local"]["turns"];
    assert_eq!(turns.as_array().unwrap().len(), 1);
    let page = fs::read_to_string(directory.path().join("out/report.html")).unwrap();
    for (index, said) in [
        (
            1,
            "redis: not run, it cannot emulate links itself: namespaces need root",
        ),
        (2, "not measured: a node's own socket cannot cut links"),
    ] {
        assert_eq!(scenario(index)["left_out"][0], said);
        assert_eq!(scenario(index)["partial"], Value::Null);
        assert!(printed.contains(said), "{printed}");
        assert!(page.contains(said));
    }
}

#[test]
fn nodes_delay_in_their_own_sockets() {
    // Builds of the whole workspace have it.
    let bench = Path::new(env!("CARGO_BIN_EXE_greenwich-bench"));
    let beside = bench.with_file_name("greenwich");
    if !beside.is_file() {
        eprintln!("skipped: there is no {}", beside.display());
        return;
    }
    if !can_run() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("greenwich");
    fs::copy(&beside, &program).unwrap();
    let more = ["--greenwich", program.to_str().unwrap()];
    let (output, report) = run(directory.path(), &[("nodes", NODES)], &more);
    assert!(output.status.success(), "{output:?}");
    let runs = report["scenarios"][0]["outcome"]["lag"]["runs"].as_array();
    let runs = runs.unwrap();
    assert_eq!(runs.len(), 2);
    for (run, one_way_ms) in runs.iter().zip([10.0, 30.0]) {
        assert_eq!(run["forwarder"], Value::Null);
        assert_eq!(run["bytes_per_update"], Value::Null);
        let directions = run["directions"].as_array().unwrap();
        assert_eq!(directions.len(), 1);
        for direction in directions {
            let series = direction["series_ms"].as_array().unwrap();
            assert!(!series.is_empty());
            let lags = series.iter().map(|point| point[1].as_f64().unwrap());
            let least = lags.fold(f64::INFINITY, f64::min);
            assert!(
                least >= one_way_ms,
                "{least} ms over a link of {one_way_ms} ms: {direction}"
            );
        }
    }
    let marks = runs[1]["marks"].as_array().unwrap();
    let labels: Vec<_> = marks.iter().map(|mark| &mark["label"]).collect();
    assert_eq!(labels, ["stop a", "continue a", "kill b", "start b"]);
}
