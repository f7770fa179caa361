//! However a run ends, no server and no namespace stays behind, and what was measured is kept.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::{
    fs,
    net::SocketAddr,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use greenwich_bench::{
    load::{client::Client, mix::put_command},
    server::find_program,
};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);
/// Longer than the test: it ends only when it is ended.
const LOCAL: &str = "servers = [\"redis\"]\nregions = [\"a\", \"b\"]\n[local]\n\
    data = { keys = 1000, spread = \"uniform\", value_size = \"10\" }\n\
    connections = 2\nrounds = 10000\nturn = \"200ms\"\ncases = [{ mix = \"get\", pipeline = 1 }]\n";
const SHORT: &str = "servers = [\"redis\"]\nregions = [\"a\"]\n[local]\n\
    data = { keys = 10, spread = \"uniform\", value_size = \"10\" }\n\
    connections = 1\nrounds = 1\nturn = \"50ms\"\ncases = [{ mix = \"get\", pipeline = 1 }]\n";
const LAG: &str = "servers = [\"redis\"]\nregions = [\"a\", \"b\"]\n[lag]\n\
    data = { keys = 10, spread = \"uniform\", value_size = \"10\" }\n\
    connections = 1\nlength = \"1h\"\nwarm_up = \"1s\"\n\
    cases = [{ rate = 100, network.link = { rtt = \"2ms\" } }]\n";

const BENCH: &str = env!("CARGO_BIN_EXE_greenwich-bench");

/// A running greenwich-bench.
struct Bench {
    child: Child,
    directory: tempfile::TempDir,
}

impl Bench {
    /// Starts one with these scenarios; `None`, with the reason, where there is no redis-server.
    fn start(scenarios: &[(&str, &str)]) -> Option<Self> {
        if find_program("redis-server").is_none() {
            eprintln!("skipped: redis-server is not installed");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(BENCH);
        command.arg("run");
        for (name, text) in scenarios {
            let file = directory.path().join(name).with_extension("toml");
            fs::write(&file, text).unwrap();
            command.arg(file);
        }
        let error = fs::File::create(directory.path().join("stderr")).unwrap();
        let child = command
            .arg("--out")
            .arg(directory.path().join("out"))
            .stdout(Stdio::null())
            .stderr(error)
            // A test runner that ignores signals must not pass that on.
            .process_group(0)
            .spawn()
            .unwrap();
        Some(Self { child, directory })
    }

    /// Processes that work in the run's directory: redis-server goes to its own.
    fn servers(&self) -> Vec<(u32, PathBuf)> {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let servers = processes.filter_map(|process| {
            let pid = process.file_name().to_str()?.parse().ok()?;
            let place = fs::read_link(process.path().join("cwd")).ok()?;
            let is_ours = place.starts_with(self.directory.path().canonicalize().unwrap());
            is_ours.then_some((pid, place))
        });
        servers.collect()
    }

    fn await_servers(&self, count: usize) -> Vec<(u32, PathBuf)> {
        poll("the servers run", || {
            let servers = self.servers();
            (servers.len() == count).then_some(servers)
        })
    }

    fn await_no_server(&self) {
        poll("no server is left", || {
            self.servers().is_empty().then_some(())
        });
    }

    /// Waits for its end, and returns its exit code, its report and what it said of errors.
    fn end(mut self) -> (Option<i32>, Value, String) {
        let status = poll("the bench ends", || self.child.try_wait().unwrap());
        self.await_no_server();
        let read = |name| fs::read_to_string(self.directory.path().join(name)).unwrap();
        let report = serde_json::from_str(&read("out/report.json")).unwrap();
        (status.code(), report, read("stderr"))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

fn poll<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it does not come to be: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// How many GETs the redis-server of this process has answered.
fn gets(pid: u32) -> Option<u64> {
    // It calls itself `redis-server ADDRESS:PORT`.
    let title = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
    let port = title.rsplit(':').next()?.trim_matches(['\0', ' ']);
    let address = SocketAddr::from(([127, 0, 0, 1], port.parse().ok()?));
    let mut request = Vec::new();
    let count = put_command(&mut request, &[b"INFO", b"commandstats"]);
    let mut info = String::new();
    let keep = |reply: &[u8]| info = String::from_utf8_lossy(reply).into_owned();
    let mut client = Client::connect(address).ok()?;
    client.exchange(&request, count as usize, keep).ok()?;
    let (_, calls) = info.split_once("cmdstat_get:calls=")?;
    calls.split(',').next()?.parse().ok()
}

/// Connections that are open in the network of this process.
fn connections(pid: u32) -> usize {
    let sockets = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let states = sockets
        .lines()
        .filter_map(|line| line.split_whitespace().nth(3));
    states.filter(|state| *state == "01").count()
}

fn has_namespaces() -> bool {
    let has = geteuid().is_root() && Path::new("/dev/net/tun").exists();
    if !has {
        eprintln!("skipped: namespaces need root and TUN devices");
    }
    has
}

#[test]
fn servers_of_a_killed_bench_end() {
    if find_program("setpriv").is_none() {
        eprintln!("skipped: setpriv of util-linux is not installed");
        return;
    }
    let Some(mut bench) = Bench::start(&[("local", LOCAL)]) else {
        return;
    };
    bench.await_servers(2);
    bench.child.kill().unwrap();
    bench.await_no_server();
    let (_, report, _) = bench.end();
    assert_eq!(report["unfinished"][0], "local", "{report}");
}

#[test]
fn an_interrupted_bench_ends_its_servers_and_keeps_what_it_has() {
    let Some(bench) = Bench::start(&[("short", SHORT), ("local", LOCAL), ("more", SHORT)]) else {
        return;
    };
    let servers = bench.await_servers(2);
    poll("a turn begins", || {
        servers.iter().find(|(pid, _)| gets(*pid) > Some(0))
    });
    signal(bench.child.id(), Signal::INT);
    let (code, report, _) = bench.end();
    assert_eq!(code, Some(130));
    assert_eq!(report["scenarios"][0]["partial"], Value::Null);
    let interrupted = &report["scenarios"][1];
    assert_eq!(interrupted["partial"], "interrupted by SIGINT");
    assert_eq!(
        interrupted["outcome"]["local"]["memory"][0]["server"],
        "redis"
    );
    assert_eq!(report["unfinished"], serde_json::json!(["more"]));
}

#[test]
fn an_interrupted_bench_removes_its_namespaces() {
    if !has_namespaces() {
        return;
    }
    let Some(bench) = Bench::start(&[("lag", LAG)]) else {
        return;
    };
    let servers = bench.await_servers(2);
    let namespace = |pid| fs::metadata(format!("/proc/{pid}/ns/net")).unwrap().ino();
    let ours: Vec<u64> = servers.iter().map(|(pid, _)| namespace(*pid)).collect();
    let is_left = || {
        let named = fs::read_dir("/run/netns").into_iter().flatten().flatten();
        let mut named = named.filter_map(|name| Some(name.metadata().ok()?.ino()));
        named.any(|inode| ours.contains(&inode))
    };
    assert!(is_left(), "the servers live in namespaces with names");
    signal(bench.child.id(), Signal::TERM);
    let (code, report, _) = bench.end();
    assert_eq!(code, Some(143));
    assert_eq!(report["scenarios"][0]["partial"], "interrupted by SIGTERM");
    assert!(!is_left());
}

#[test]
fn a_report_says_when_it_ended_what_it_replaces_and_is_not_compared_with_itself() {
    let Some(mut bench) = Bench::start(&[("short", SHORT)]) else {
        return;
    };
    poll("the bench ends", || bench.child.try_wait().unwrap());
    let out = bench.directory.path().join("out");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(BENCH);
        let output = command.args(arguments).arg(&out).output().unwrap();
        (output.status, String::from_utf8(output.stderr).unwrap())
    };
    let report = fs::read_to_string(out.join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let [began, ended] = ["began", "ended"].map(|time| report["provenance"][time].as_str());
    assert!(began.unwrap() <= ended.unwrap(), "{report}");

    let (status, stderr) = run(&["compare", out.to_str().unwrap()]);
    assert!(!status.success());
    assert!(stderr.contains("are the same report"), "{stderr}");

    let file = bench.directory.path().join("short.toml");
    let (status, stderr) = run(&["run", file.to_str().unwrap(), "--out"]);
    assert!(status.success(), "{stderr}");
    let replaced = format!("that began {}", began.unwrap());
    assert!(stderr.contains(&replaced), "{stderr}");
    bench.await_no_server();
}

#[test]
fn nobody_who_listens_to_errors_is_no_panic() {
    let mut command = Command::new(BENCH);
    command.args(["run", "/nowhere.toml"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = command.stdout(Stdio::null()).stderr(writer).status();
    assert_eq!(status.unwrap().code(), Some(1));
}

#[test]
fn tcp_without_namespaces_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("short.toml");
    fs::write(&file, SHORT).unwrap();
    let mut command = Command::new(BENCH);
    command
        .arg("run")
        .arg(file)
        .arg("--out")
        .arg(directory.path().join("out"));
    let output = command
        .args(["--emulation", "socket", "--tcp", "bbr"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("--tcp is for servers in network namespaces"),
        "{stderr}"
    );
    assert!(!directory.path().join("out").exists());
}

#[test]
fn a_server_that_dies_is_named() {
    let Some(bench) = Bench::start(&[("short", SHORT), ("local", LOCAL)]) else {
        return;
    };
    let servers = bench.await_servers(2);
    let (pid, home) = servers
        .iter()
        .find(|(_, home)| home.ends_with("a"))
        .unwrap();
    poll("a turn begins", || (gets(*pid) > Some(0)).then_some(()));
    signal(*pid, Signal::KILL);
    let log = home.join("server.log").display().to_string();
    let (code, report, stderr) = bench.end();
    assert_eq!(code, Some(1));
    assert!(stderr.contains("1 of 2 scenarios ended early"), "{stderr}");
    let reason = report["scenarios"][1]["partial"].as_str().unwrap();
    assert!(
        reason.contains("redis in a ended by itself with signal: 9"),
        "{reason}"
    );
    assert!(reason.contains(&log), "{reason}");
    let outcome = &report["scenarios"][1]["outcome"]["local"];
    assert_eq!(
        outcome["memory"][0]["server"], "redis",
        "what was measured is kept"
    );
    assert_eq!(report["scenarios"][0]["partial"], Value::Null);
}

#[test]
fn a_replica_that_dies_ends_a_lag_long_before_its_time() {
    if !has_namespaces() {
        return;
    }
    let Some(bench) = Bench::start(&[("lag", LAG)]) else {
        return;
    };
    let servers = bench.await_servers(2);
    let of = |region: &str| {
        let mut servers = servers.iter();
        servers.find(|(_, home)| home.ends_with(region)).unwrap().0
    };
    // The replica's, the load's and that of probes.
    poll("the load begins", || {
        (connections(of("a")) >= 3).then_some(())
    });
    signal(of("b"), Signal::KILL);
    let (code, report, _) = bench.end();
    assert_eq!(code, Some(1));
    let reason = report["scenarios"][0]["partial"].as_str().unwrap();
    assert!(
        reason.contains("redis in b ended by itself with signal: 9"),
        "{reason}"
    );
}
