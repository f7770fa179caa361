//! Whether a timetable does to regions what it says, and whether what clients see shows it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use greenwich_bench::{
    scenario::{Outcome, Stage, file::ScenarioFile, lag::LagRun},
    server::{Adapter, redis::RedisLike},
    wan::{emulation::Emulation, namespaces::Namespaces, tcp::CUBIC},
};

/// What becomes of redis-server, a primary in `a` and a replica in `b`, under these faults; `None`, with the reason, where
/// it cannot be had.
fn run(faults: &str) -> Option<LagRun> {
    let redis = RedisLike::redis();
    if redis.version().is_none() {
        eprintln!("skipped: redis-server is not installed");
        return None;
    }
    if let Err(error) = Namespaces::make(&["a"], CUBIC) {
        eprintln!("skipped: {error}");
        return None;
    }
    let text = format!(
        "servers = [\"redis\"]\nregions = [\"a\", \"b\"]\n[lag]\n\
         data = {{ keys = 100, spread = \"uniform\", value_size = \"10\" }}\n\
         connections = 2\nlength = \"6s\"\nwarm_up = \"500ms\"\n\
         [[lag.cases]]\nrate = 200\nnetwork.link = {{ rtt = \"10ms\" }}\nfaults = [{faults}]\n"
    );
    let file = ScenarioFile::parse("faults", &text).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let stage = Stage {
        servers: vec![&redis],
        regions: vec!["a", "b"],
        emulation: Emulation::Namespaces,
        tcp: CUBIC,
        directory: directory.path(),
        seed: 1,
        tell: &|_| {},
    };
    let (outcome, result) = file.scenario.run(&stage);
    result.unwrap();
    let Outcome::Lag(mut report) = outcome else {
        panic!("it is a lag scenario");
    };
    report.runs.pop()
}

fn labels(run: &LagRun) -> Vec<&str> {
    run.marks.iter().map(|mark| mark.label.as_str()).collect()
}

#[test]
fn a_cut_delays_the_other_region_and_a_stop_the_clients() {
    let Some(run) = run(
        "{ at = \"1s\", cut-one-way = [\"a\", \"b\"] }, { at = \"2s\", heal = [\"a\", \"b\"] }, \
         { at = \"4s\", stop = \"a\" }, { at = \"5s\", continue = \"a\" }",
    ) else {
        return;
    };
    assert_eq!(
        labels(&run),
        ["cut a → b", "heal a – b", "stop a", "continue a"]
    );
    let planned = [1000.0, 2000.0, 4000.0, 5000.0];
    for (mark, planned) in run.marks.iter().zip(planned) {
        assert!(mark.at_ms >= planned, "{mark:?} before {planned}");
    }
    let forwarder = run.forwarder.as_ref().unwrap();
    let cut = |from: usize| {
        let mut links = forwarder.links.iter();
        links.find(|link| link.from == from).unwrap().counts.cut
    };
    assert!(cut(0) > 0, "nothing was cut");
    assert_eq!(cut(1), 0, "the way back was cut, too");
    // What was written as the cut began is seen when it has ended.
    let lag = &run.directions[0].lag;
    assert!(lag.max_ms > 900.0, "{lag:?}");
    assert_eq!(lag.never, 0);
    // What was intended as the stop began is answered when it has ended.
    let seconds = &run.loads[0].seconds;
    assert!(seconds[4].slowest_ms > 900.0, "{seconds:?}");
    assert!(seconds[2].slowest_ms < seconds[4].slowest_ms, "{seconds:?}");
    assert_eq!((run.loads[0].missed, run.loads[0].unanswered), (0, 0));
}

#[test]
fn a_killed_server_is_gone_until_it_is_started() {
    let Some(run) = run("{ at = \"1500ms\", kill = \"b\" }, { at = \"2500ms\", start = \"b\" }")
    else {
        return;
    };
    assert_eq!(labels(&run), ["kill b", "start b"]);
    let memory = &run.regions[1].resident_bytes;
    assert_eq!(memory[2], 0, "it runs: {memory:?}");
    assert!(memory[1] > 0 && *memory.last().unwrap() > 0, "{memory:?}");
    assert!(
        run.regions[1].cpu_seconds().is_none(),
        "two processes are no one"
    );
    // The primary's clients notice nothing, and what they wrote comes with the replica's first copy.
    assert_eq!(
        (
            run.loads[0].missed,
            run.loads[0].unanswered,
            run.loads[0].errors
        ),
        (0, 0, 0)
    );
    assert_eq!(run.directions[0].lag.never, 0);
}
