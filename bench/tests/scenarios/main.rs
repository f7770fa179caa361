//! Whether scenarios report what happened: servers that count for themselves know better.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod fake;
mod watched;

use std::time::Duration;

use greenwich_bench::{
    scenario::{
        Outcome, Stage, conflict::ConflictRun, file::ScenarioFile, lag::LagRun,
        partition::PartitionRun, restart::RestartRun, soak::SoakRun,
    },
    server::Adapter,
    wan::{emulation::Emulation, namespaces::Namespaces, tcp::CUBIC},
};
use parking_lot::Mutex;

use fake::{Fake, Manner, PACKET_BYTES};
use watched::{Look, Watched};

/// Whether this machine lets us have namespaces; said if it does not.
fn has_namespaces() -> bool {
    match Namespaces::make(&["a"], CUBIC) {
        Ok(_) => true,
        Err(error) => {
            assert!(error.is_forbidden(), "{error}");
            eprintln!("not checked here: {error}");
            false
        }
    }
}

/// What a scenario shows of a server. `tell` hears of each step.
fn run(server: &dyn Adapter, emulation: Emulation, text: &str, tell: &dyn Fn(String)) -> Outcome {
    let file = ScenarioFile::parse("x", &format!("servers = [\"fake\"]\n{text}")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let stage = Stage {
        servers: vec![server],
        regions: file.regions.iter().map(String::as_str).collect(),
        emulation,
        tcp: CUBIC,
        directory: directory.path(),
        seed: 1,
        tell,
    };
    let (outcome, result) = file.scenario.run(&stage);
    result.unwrap();
    outcome
}

fn is_within(found: f64, expected: f64, tolerance: f64) -> bool {
    (found / expected - 1.0).abs() < tolerance
}

const LAG: &str = "regions = [\"a\", \"b\", \"c\"]\n[lag]\n\
    data = { keys = 50, spread = \"uniform\", value_size = \"10\" }\n\
    connections = 1\nlength = \"2s\"\nwarm_up = \"500ms\"\n\
    cases = [{ rate = 300, network.link = { rtt = \"2ms\" } }]\n";

fn lag(fake: &Fake) -> LagRun {
    let outcome = run(fake, Emulation::Namespaces, LAG, &|_| {});
    let Outcome::Lag(mut report) = outcome else {
        panic!("{outcome:?}");
    };
    report.runs.remove(0)
}

#[test]
fn bytes_per_update_are_those_of_the_packet_that_each_update_takes() {
    if !has_namespaces() {
        return;
    }
    // As many bytes before the end of the warm-up as after it.
    let fake = Fake::new(Manner {
        sent_before: 500,
        ..Manner::default()
    });
    let run = lag(&fake);
    let bytes = run.bytes_per_update.unwrap();
    assert!(is_within(bytes, PACKET_BYTES as f64, 0.1), "{bytes} B");
    let taken = run.forwarder.as_ref().unwrap().total();
    assert!(taken.taken_bytes < fake.sent_bytes(), "{taken:?}");
    let answered: u64 = run.loads.iter().map(|load| load.answered).sum();
    assert!(
        is_within(answered as f64, 450.0, 0.02),
        "{answered} updates"
    );
    assert!(is_within(run.updates_per_second, 300.0, 0.1), "{run:?}");
}

const PARTITION: &str = "regions = [\"a\", \"b\"]\n[partition]\nmix = \"set\"\n\
    data = { keys = 40, spread = \"uniform\", value_size = \"10\" }\n\
    connections = 1\nbefore = \"100ms\"\nsettle_limit = \"300ms\"\n\
    cases = [{ rate = 3000, cut = \"200ms\", network.link = { rtt = \"2ms\" } }]\n";

/// What was found, and what had been sent when the cut was about to heal.
fn partition(fake: &Fake) -> (PartitionRun, u64) {
    let before = Mutex::new(0);
    let tell = |said: String| {
        if said.contains("healing") {
            *before.lock() = fake.sent_bytes();
        }
    };
    let outcome = run(fake, Emulation::Namespaces, PARTITION, &tell);
    let Outcome::Partition(mut report) = outcome else {
        panic!("{outcome:?}");
    };
    let before = *before.lock();
    (report.runs.remove(0), before)
}

#[test]
fn bytes_from_the_heal_on_are_those_that_regions_sent() {
    if !has_namespaces() {
        return;
    }
    let fake = Fake::new(Manner {
        tells_reads: true,
        ..Manner::default()
    });
    let (run, before) = partition(&fake);
    let sent = fake.sent_bytes() - before;
    // Keys are read at least three times. The last packets may still be on their way.
    assert!(sent >= 3 * 2 * 40 * PACKET_BYTES as u64, "{sent} B");
    let found = run.heal_bytes;
    assert!(found <= sent && found > sent / 2, "{found} B of {sent} B");
    assert_eq!(found % PACKET_BYTES as u64, 0);
    assert_eq!(run.differing, 0);
    assert!(run.equal_after_ms.is_some());
}

/// Keys 7, 17, 27 and 37 of 40 stay where they are written.
fn keeping() -> Fake {
    Fake::new(Manner {
        kept: Some('7'),
        ..Manner::default()
    })
}

#[test]
fn keys_that_differ_after_a_partition_are_counted() {
    if has_namespaces() {
        let (run, _) = partition(&keeping());
        assert_eq!((run.differing, run.equal_after_ms), (4, None));
    }
}

const RESTART: &str = "regions = [\"a\", \"b\"]\n[restart]\nmix = \"set\"\n\
    data = { keys = 40, spread = \"uniform\", value_size = \"10\" }\n\
    connections = 1\nbefore = \"100ms\"\ndown = \"20ms\"\nsettle_limit = \"1s\"\n\
    cases = [{ rate = 500, network.link = { rtt = \"2ms\" } }]\n";

/// What was found, and what had been sent before the kill and at the end of the load.
fn restart(fake: &Fake, emulation: Emulation) -> (RestartRun, [u64; 2]) {
    let sent = Mutex::new([0; 2]);
    let tell = |said: String| {
        for (at, step) in ["restarting", "comparing"].into_iter().enumerate() {
            if said.ends_with(step) {
                sent.lock()[at] = fake.sent_bytes();
            }
        }
    };
    let outcome = run(fake, emulation, RESTART, &tell);
    let Outcome::Restart(mut report) = outcome else {
        panic!("{outcome:?}");
    };
    let sent = *sent.lock();
    (report.runs.remove(0), sent)
}

#[test]
fn a_restarted_server_is_ready_when_it_says_so_and_equal_when_what_nobody_writes_is() {
    // Of the four keys that the load asks for, 3 stays where it is written.
    let (run, _) = restart(
        &Fake::new(Manner {
            kept: Some('3'),
            denials: 20,
            ..Manner::default()
        }),
        Emulation::Socket,
    );
    // Looks are 10 ms apart.
    assert!(run.ready_after_ms >= Some(200.0), "{run:?}");
    assert!(run.equal_after_ms >= run.ready_after_ms, "{run:?}");
    assert_eq!((run.differing, run.link_bytes), (1, None));
    let [load] = run.loads.as_slice() else {
        panic!("{run:?}");
    };
    assert_eq!((&*load.region, load.errors), ("a", 0));
    assert!(load.answered > 100, "{load:?}");
}

#[test]
fn a_restarted_server_that_does_not_serve_in_time_never_does() {
    let denials = u64::MAX;
    let fake = Fake::new(Manner {
        denials,
        ..Manner::default()
    });
    let (run, _) = restart(&fake, Emulation::Socket);
    assert_eq!(
        (run.ready_after_ms, run.equal_after_ms, run.differing),
        (None, None, 0)
    );
}

#[test]
fn keys_that_a_restarted_server_lacks_are_counted() {
    let (run, _) = restart(
        &Fake::new(Manner {
            loses: Some('7'),
            ..Manner::default()
        }),
        Emulation::Socket,
    );
    assert_eq!((run.differing, run.equal_after_ms), (4, None));
}

#[test]
fn bytes_of_a_restart_are_those_that_regions_sent_from_the_start_on() {
    if !has_namespaces() {
        return;
    }
    let fake = Fake::new(Manner {
        tells_reads: true,
        ..Manner::default()
    });
    let (run, [before, end]) = restart(&fake, Emulation::Namespaces);
    let found = run.link_bytes.unwrap();
    // The 36 keys that nobody writes are read at least three times in both regions. The last packets may still be on their way.
    let read = 3 * 2 * 36 * PACKET_BYTES as u64;
    assert!(
        found > read / 2 && found <= end - before,
        "{found} B of {} B",
        end - before
    );
    assert_eq!(found % PACKET_BYTES as u64, 0);
}

fn soak(fake: &Fake, emulation: Emulation) -> SoakRun {
    let text = "regions = [\"a\", \"b\"]\n[soak]\nmix = \"set\"\n\
        data = { keys = 40, spread = \"uniform\", value_size = \"10\" }\n\
        connections = 1\nrate = 2000\nlength = \"400ms\"\nwarm_up = \"100ms\"\nsettle_limit = \"300ms\"\n";
    let outcome = run(fake, emulation, text, &|_| {});
    let Outcome::Soak(mut report) = outcome else {
        panic!("{outcome:?}");
    };
    report.runs.remove(0)
}

#[test]
fn keys_that_differ_after_a_soak_are_counted() {
    let run = soak(&keeping(), Emulation::Socket);
    assert_eq!((run.differing, run.equal_after_ms), (4, None));
    let run = soak(&Fake::new(Manner::default()), Emulation::Socket);
    assert_eq!((run.differing, run.equal_after_ms.is_some()), (0, true));
}

fn conflict(fake: &Fake) -> ConflictRun {
    let text = "regions = [\"a\", \"b\", \"c\"]\n[conflict]\n\
        keys = 40\nrounds = 3\ntypes = [\"set\"]\nsettle_limit = \"300ms\"\n";
    let outcome = run(fake, Emulation::Socket, text, &|_| {});
    let Outcome::Conflict(mut report) = outcome else {
        panic!("{outcome:?}");
    };
    report.runs.remove(0)
}

#[test]
fn keys_that_differ_after_conflicts_are_counted() {
    let run = conflict(&keeping());
    assert_eq!((run.differing, run.equal_after_ms), (4, None));
    assert_eq!((run.accepted, run.refused), (360, 0));
}

#[test]
fn writes_that_are_refused_are_counted() {
    let run = conflict(&Fake::new(Manner {
        has_replicas: true,
        ..Manner::default()
    }));
    assert_eq!((run.accepted, run.refused), (120, 240));
    assert_eq!((run.differing, run.equal_after_ms.is_some()), (0, true));
}

#[test]
fn what_the_emulation_spoils_is_said_in_every_scenario() {
    if !has_namespaces() {
        return;
    }
    let deaf = || {
        Fake::new(Manner {
            tells_reads: true,
            is_deaf: true,
            ..Manner::default()
        })
    };
    let lag = lag(&deaf());
    let (partition, _) = partition(&deaf());
    let soak = soak(&deaf(), Emulation::Namespaces);
    let forwarder = [lag.forwarder, Some(partition.forwarder), soak.forwarder];
    let lost = forwarder.map(|report| report.unwrap().own_fault);
    assert!(lost.iter().all(|&lost| lost > 0), "{lost:?}");
    let said = [lag.bottleneck, partition.bottleneck, soak.bottleneck];
    assert!(said.iter().all(Option::is_some), "{said:?}");
}

#[test]
fn throughput_cpu_and_memory_are_what_the_server_itself_says() {
    let Some(watched) = Watched::new() else {
        return;
    };
    let text = "regions = [\"a\"]\n[local]\n\
        data = { keys = 100000, spread = \"uniform\", value_size = \"100\" }\n\
        connections = 4\nrounds = 2\nturn = \"800ms\"\ncases = [{ mix = \"get\", pipeline = 1 }]\n";
    let tell = |said: String| {
        if said.starts_with("round") {
            watched.look();
        }
    };
    let Outcome::Local(report) = run(&watched, Emulation::Socket, text, &tell) else {
        panic!("it is of the scenario local");
    };
    let looks: [Look; 3] = watched.looks();
    let [empty, full, after] = &looks;
    let memory = &report.memory[0];
    assert_eq!(full.keys, 100_000.0);
    let per_key = (full.resident_bytes - empty.resident_bytes) / full.keys;
    assert!(
        is_within(memory.bytes_per_key, per_key, 0.1),
        "{memory:?}, {looks:?}"
    );
    let turn = &report.turns[0];
    let gets = after.gets - full.gets;
    // The turn is all that lies between two looks, but for the wait until the server is quiet.
    let seconds = gets / turn.per_second;
    let between = after.at - full.at;
    assert!(
        seconds > 0.799 && seconds < between.as_secs_f64(),
        "{turn:?}, {looks:?}"
    );
    let cpu_us = (after.cpu_seconds - full.cpu_seconds) / gets * 1e6;
    assert!(
        is_within(turn.cpu_us_per_command, cpu_us, 0.25),
        "{turn:?}, {looks:?}"
    );
    assert!(between < Duration::from_secs(60) && turn.errors == 0);
}

#[test]
fn updates_and_bytes_are_what_the_server_and_the_kernel_say() {
    if !has_namespaces() {
        return;
    }
    let Some(watched) = Watched::new() else {
        return;
    };
    // The first case lies between two looks. Nearly all of it counts.
    let text = "regions = [\"a\", \"b\"]\n[lag]\n\
        data = { keys = 50, spread = \"uniform\", value_size = \"300\" }\n\
        connections = 1\nlength = \"2s\"\nwarm_up = \"10ms\"\ncases = [\n\
        { rate = 500, network.link = { rtt = \"2ms\" } },\n\
        { rate = 1, network.link = { rtt = \"2ms\" } },\n]\n";
    let tell = |said: String| {
        if said.contains("case") {
            watched.look();
        }
    };
    let Outcome::Lag(report) = run(&watched, Emulation::Namespaces, text, &tell) else {
        panic!("it is of the scenario lag");
    };
    let looks: [Look; 3] = watched.looks();
    let [_, before, after] = &looks;
    let run = &report.runs[0];
    let sets = after.sets - before.sets;
    let answered = run.loads[0].answered as f64;
    let probes = run.directions[0].lag.probes as f64;
    assert!(
        is_within(answered + probes, sets, 0.03),
        "{run:?}, {sets} sets"
    );
    assert!(is_within(run.updates_per_second, 500.0, 0.1), "{run:?}");
    let bytes = (after.link_bytes - before.link_bytes) / sets;
    // Values of loads, and about as much again for keys, commands, headers, acknowledgements and probes.
    let of_values = 300.0 * answered / sets;
    assert!(bytes > of_values && bytes < 3.0 * of_values, "{bytes} B");
    let found = run.bytes_per_update.unwrap();
    assert!(is_within(found, bytes, 0.05), "{found} B, not {bytes} B");
    let lag = &run.directions[0].lag;
    assert!(lag.p50_ms >= 1.0 && lag.p50_ms <= lag.p99_ms, "{lag:?}");
}
