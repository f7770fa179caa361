//! `greenwich up` from start to end: regions as processes, linked, recorded, and gone with it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_greenwich");
/// What `up` writes to standard output and standard error, in the data directory.
const SAID: &str = "said";
const COMPLAINED: &str = "complained";
const PATIENCE: Duration = Duration::from_secs(40);
const VALUE_BYTES: usize = 10_000;
const LARGE_BYTES: usize = 48 << 20;

/// A running `up` with two regions; killed when dropped, and its nodes with it.
struct Up {
    process: Child,
    data: PathBuf,
}

impl Up {
    /// Starts and waits until up.json is there.
    fn start(data: &Path, first_port: u16, extra: &[&str]) -> Self {
        let ports = free_ports(first_port);
        let mut process = command(data, &ports)
            .args(extra)
            .stdout(output_file(data, SAID))
            .stderr(output_file(data, COMPLAINED))
            .spawn()
            .expect("the binary was built for this test");
        let record = data.join("up.json");
        until("up.json", || {
            if let Some(status) = process.try_wait().expect("a child can be asked") {
                panic!("up ended with {status}: {}", read(data, COMPLAINED));
            }
            record.exists()
        });
        Self {
            process,
            data: data.to_owned(),
        }
    }

    fn record(&self) -> Value {
        let text = read(&self.data, "up.json");
        serde_json::from_str(&text).expect("up.json is JSON")
    }

    fn pids(&self) -> Vec<u64> {
        let record = self.record();
        let regions = record["regions"].as_array().expect("regions are a list");
        regions
            .iter()
            .map(|region| region["pid"].as_u64().expect("a pid is a number"))
            .collect()
    }

    fn status(&self) -> Output {
        run(&[
            "status",
            "--json",
            "--data",
            &self.data.display().to_string(),
        ])
    }

    fn said(&self) -> String {
        read(&self.data, SAID)
    }

    fn complained(&self) -> String {
        read(&self.data, COMPLAINED)
    }

    /// Sends a signal to `up` and returns how it ended.
    fn end(&mut self, signal: &str) -> ExitStatus {
        kill(signal, self.process.id().into());
        self.process.wait().expect("a child can be waited for")
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn command(data: &Path, ports: &[u16; 3]) -> Command {
    let mut command = Command::new(BINARY);
    command
        .args(["up", "--regions", "a,b", "--data"])
        .arg(data)
        .args(["--port", &ports[0].to_string()])
        .args(["--admin-port", &ports[1].to_string()])
        .args(["--replication-port", &ports[2].to_string()]);
    command
}

fn run(args: &[&str]) -> Output {
    Command::new(BINARY)
        .args(args)
        .output()
        .expect("the binary was built for this test")
}

fn kill(signal: &str, pid: u64) {
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -{signal} {pid}")])
        .status();
    assert!(
        sent.expect("there is a shell").success(),
        "kill -{signal} {pid}"
    );
}

fn output_file(data: &Path, name: &str) -> File {
    File::create(data.join(name)).expect("the test owns its directory")
}

fn read(data: &Path, name: &str) -> String {
    fs::read_to_string(data.join(name)).expect("the file is there and holds text")
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process is there and is not a zombie.
fn runs(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, state)| !state.starts_with('Z'))
}

/// First ports of three pairs of neighbours that are free, for Redis, admin and replication.
fn free_ports(start: u16) -> [u16; 3] {
    let free = |port: u16| {
        (port..port + 2).all(|port| {
            TcpListener::bind(("127.0.0.1", port)).is_ok()
                && UdpSocket::bind(("127.0.0.1", port)).is_ok()
        })
    };
    let mut pairs = (start..start + 1000).step_by(2).filter(|port| free(*port));
    [(); 3].map(|()| {
        pairs
            .next()
            .expect("a thousand ports hold three free pairs")
    })
}

fn connect(address: &str) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

/// Sends one request and reads the first line of its reply.
fn ask(client: &mut BufReader<TcpStream>, request: &[u8]) -> String {
    client.get_mut().write_all(request).unwrap();
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    line
}

/// Writes so much at once that it does not fit into one flight of a link, and returns when the region has it.
fn write_values(address: &str, count: usize) {
    let value = "v".repeat(VALUE_BYTES);
    let requests: String = (0..count)
        .map(|key| format!("*3\r\n$3\r\nSET\r\n$4\r\nk{key:03}\r\n${VALUE_BYTES}\r\n{value}\r\n"))
        .collect();
    let mut client = connect(address);
    client.get_mut().write_all(requests.as_bytes()).unwrap();
    let mut replies = vec![0; count * "+OK\r\n".len()];
    client.read_exact(&mut replies).unwrap();
    assert_eq!(replies, "+OK\r\n".repeat(count).as_bytes());
}

fn resident_bytes(pid: u64) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    1024 * kib.unwrap().trim().parse::<u64>().unwrap()
}

#[test]
fn regions_start_linked_and_stop_together() {
    let directory = tempfile::tempdir().unwrap();
    let mut up = Up::start(
        directory.path(),
        25_000,
        &["--wan", "metro", "--loss", "1%"],
    );
    let record = up.record();
    let pids = up.pids();
    assert_eq!(record["version"], 1);
    assert_eq!(record["regions"][1]["region"], "b");
    assert!(pids.iter().all(|pid| runs(*pid)));

    let asked = up.status();
    assert!(asked.status.success());
    let status: Value = serde_json::from_slice(&asked.stdout).unwrap();
    for region in 0..2 {
        let link = &status["regions"][region]["status"]["links"][0];
        assert_eq!(link["state"], "up", "{status:#}");
        assert_eq!(link["emulation"]["loss_percent"], 1.0, "{status:#}");
    }

    let ended = up.end("TERM");
    let said = up.said();
    assert!(ended.success(), "{ended}");
    let redis = record["regions"][0]["redis"].as_str().unwrap();
    let port = redis.rsplit_once(':').unwrap().1;
    assert!(
        said.contains(&format!("redis-cli -p {port} SET greeting hello")),
        "{said}"
    );
    for line in [
        "REHEARSAL: --loss as given, --rtt and --jitter as --wan metro has it; what that comes to:",
        "REHEARSAL: a to b is impaired on purpose, each way: 1ms delay, 50us jitter, 1% loss, unlimited rate",
    ] {
        assert!(said.lines().any(|said| said == line), "{said}");
    }
    assert!(pids.iter().all(|pid| !runs(*pid)), "nodes outlived up");
    assert!(!directory.path().join("up.json").exists());
}

#[test]
fn nodes_end_when_up_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut up = Up::start(directory.path(), 26_000, &[]);
    let pids = up.pids();
    up.end("KILL");
    until("the nodes to end", || pids.iter().all(|pid| !runs(*pid)));
}

#[test]
fn a_killed_node_is_reported_and_can_be_started_by_hand() {
    let directory = tempfile::tempdir().unwrap();
    let mut up = Up::start(directory.path(), 27_000, &[]);
    let record = up.record();
    let pids = up.pids();
    let mut client = connect(record["regions"][1]["redis"].as_str().unwrap());
    assert_eq!(ask(&mut client, b"SET k v\r\n"), "+OK\r\n");
    assert_eq!(ask(&mut client, b"WAIT 1 0\r\n"), ":1\r\n");
    kill("KILL", pids[0]);
    until("WAIT to count no dead region", || {
        ask(&mut client, b"WAIT 1 1\r\n") == ":0\r\n"
    });
    let answers = |up: &Up| -> Value { serde_json::from_slice(&up.status().stdout).unwrap() };
    until("the report", || {
        up.complained().contains("It comes back empty")
    });
    let complained = up.complained();
    assert!(
        complained.contains(&format!("region a (pid {}) ended: signal: 9", pids[0])),
        "{complained}"
    );
    assert!(
        complained.contains("the other regions go on"),
        "{complained}"
    );
    assert!(complained.contains("node --config"), "{complained}");
    until("region a to be gone", || {
        answers(&up)["regions"][0]["status"].is_null()
    });
    assert!(
        answers(&up)["regions"][1]["status"].is_object(),
        "the other region goes on"
    );

    let config = record["regions"][0]["config"].as_str().unwrap();
    let mut by_hand = Command::new(BINARY)
        .args(["node", "--config", config])
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary was built for this test");
    until("region a to link up again", || {
        let all = answers(&up);
        all["regions"][0]["status"]["links"][0]["state"] == "up"
            && all["regions"][1]["status"]["links"][0]["state"] == "up"
    });
    kill("TERM", by_hand.id().into());
    assert!(by_hand.wait().unwrap().success());

    let ended = up.end("INT");
    assert!(ended.success(), "{ended}");
    assert!(complained.contains("region a (pid"), "{complained}");
    assert!(
        complained.contains("the other regions go on"),
        "{complained}"
    );
    assert!(complained.contains("node --config"), "{complained}");
}

#[test]
fn a_second_start_is_refused_and_a_later_one_keeps_the_certificates() {
    let directory = tempfile::tempdir().unwrap();
    let mut up = Up::start(directory.path(), 28_000, &[]);
    let second = command(directory.path(), &free_ports(29_000))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("another `greenwich up` (pid {})", up.process.id())),
        "{said}"
    );
    up.end("TERM");

    let authority = fs::read(directory.path().join("certs/ca.pem")).unwrap();
    let mut again = Up::start(directory.path(), 28_000, &[]);
    again.end("TERM");
    assert_eq!(
        fs::read(directory.path().join("certs/ca.pem")).unwrap(),
        authority
    );
}

#[test]
fn a_node_that_is_stopped_at_once_after_writes_delivers_them() {
    let directory = tempfile::tempdir().unwrap();
    let mut up = Up::start(directory.path(), 31_000, &["--rtt", "50ms"]);
    let record = up.record();
    let address = |region: usize| record["regions"][region]["redis"].as_str().unwrap();
    write_values(address(0), 200);
    kill("TERM", up.pids()[0]);
    until("the node to end", || !runs(up.pids()[0]));

    let keys = ask(&mut connect(address(1)), b"DBSIZE\r\n");
    assert_eq!(keys, ":200\r\n", "{}", read(directory.path(), "a/node.log"));
    up.end("TERM");
}

#[test]
fn an_idle_region_gives_the_memory_of_a_large_value_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut up = Up::start(directory.path(), 32_000, &[]);
    let (record, pid) = (up.record(), up.pids()[1]);
    let client = |region: usize| connect(record["regions"][region]["redis"].as_str().unwrap());
    let (mut here, mut there) = (client(0), client(1));
    let empty = resident_bytes(pid);
    let mut set = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${LARGE_BYTES}\r\n").into_bytes();
    set.resize(set.len() + LARGE_BYTES, b'v');
    set.extend_from_slice(b"\r\n");
    assert_eq!(ask(&mut here, &set), "+OK\r\n");
    let length = format!(":{LARGE_BYTES}\r\n");
    until("the value", || ask(&mut there, b"STRLEN k\r\n") == length);
    assert!(resident_bytes(pid) > empty + LARGE_BYTES as u64);

    assert_eq!(ask(&mut here, b"DEL k\r\n"), ":1\r\n");
    until("the deletion", || {
        ask(&mut there, b"EXISTS k\r\n") == ":0\r\n"
    });
    drop((here, there));
    until("the memory", || {
        resident_bytes(pid) < empty + LARGE_BYTES as u64 / 2
    });
    up.end("TERM");
}

/// Bytes of the batches that a region sent, as they were built and as they were encoded.
fn batch_bytes(up: &Up, region: usize) -> (u64, u64) {
    let status: Value = serde_json::from_slice(&up.status().stdout).unwrap();
    let batches = &status["regions"][region]["status"]["links"][0]["batches"];
    let bytes = |name: &str| batches[name].as_u64().expect("bytes are a number");
    (bytes("sent_bytes"), bytes("sent_encoded_bytes"))
}

#[test]
fn regions_that_compress_hold_the_same_and_send_less() {
    const KEYS: usize = 500;
    let directory = tempfile::tempdir().unwrap();
    let mut up = Up::start(directory.path(), 33_000, &["--compression", "zstd"]);
    let record = up.record();
    let mut clients =
        [0, 1].map(|region| connect(record["regions"][region]["redis"].as_str().unwrap()));
    let mut round = 0;
    // One at a time, so that batches are too small to shrink without a dictionary.
    until("both regions to send less than two thirds", || {
        round += 1;
        for key in 0..KEYS {
            for (region, client) in clients.iter_mut().enumerate() {
                let score = (key * 7919 + round * 31 + region) % 100_000;
                let value = format!(r#"{{"user":"user-{key}","state":"active","score":{score}}}"#);
                let set = format!(
                    "*3\r\n$3\r\nSET\r\n$4\r\nk{key:03}\r\n${}\r\n{value}\r\n",
                    value.len()
                );
                assert_eq!(ask(client, set.as_bytes()), "+OK\r\n");
            }
        }
        [0, 1].into_iter().all(|region| {
            let (bytes, encoded_bytes) = batch_bytes(&up, region);
            3 * encoded_bytes < 2 * bytes
        })
    });
    let mut values = |region: usize| {
        let client = &mut clients[region];
        let mut get = |key: usize| {
            let length = ask(client, format!("GET k{key:03}\r\n").as_bytes());
            let value = ask(client, b"");
            assert_eq!(length, format!("${}\r\n", value.trim_end().len()));
            value
        };
        (0..KEYS).map(&mut get).collect::<Vec<_>>()
    };
    until("both regions to hold the same", || values(0) == values(1));
    up.end("TERM");
}

/// Runs a transaction that writes and asks for INFO, and returns what INFO said.
fn info_inside_exec(client: &mut BufReader<TcpStream>, key: &str) -> String {
    let request = format!("MULTI\r\nSET {key} v\r\nINCR n\r\nINFO replication\r\nEXEC\r\n");
    let sent = client.get_mut().write_all(request.as_bytes());
    sent.expect("the node reads");
    let mut line = String::new();
    while !line.starts_with('$') {
        line.clear();
        let read = client.read_line(&mut line);
        assert!(
            read.expect("EXEC answers") > 0 && !line.starts_with('-'),
            "{line}"
        );
    }
    let len: usize = line[1..].trim_end().parse().expect("a bulk has a length");
    let mut info = vec![0; len + 2];
    client.read_exact(&mut info).expect("INFO comes whole");
    String::from_utf8(info).expect("INFO is text")
}

#[test]
fn info_inside_exec_shows_the_link_while_writes_flow() {
    let directory = tempfile::tempdir().unwrap();
    let mut up = Up::start(directory.path(), 30_000, &[]);
    let record = up.record();
    let write = |region: usize, writer: usize| {
        let address = record["regions"][region]["redis"].as_str().unwrap();
        let mut client = connect(address);
        let other = ["b", "a"][region];
        let (mut rounds, mut is_measured) = (0, false);
        until("a measured link", || {
            for _ in 0..100 {
                let info = info_inside_exec(&mut client, &format!("k{writer}"));
                let mut links = info.lines().filter(|line| line.starts_with("link"));
                let link = links.next().unwrap_or_default();
                assert_eq!(links.next(), None, "{info}");
                let is_up = link.starts_with(&format!("link0:region={other},state=up,rtt_ms="));
                is_measured = is_up && !link.contains("rtt_ms=-1") && link.contains(",lag_ms=");
                rounds += 1;
            }
            is_measured && rounds >= 500
        });
    };
    thread::scope(|scope| {
        for writer in 0..4 {
            let write = &write;
            scope.spawn(move || write(writer % 2, writer));
        }
    });
    up.end("TERM");
}
