//! A region that stays away for longer than the others wait: they forget what was deleted, and it comes back to that.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_greenwich");
const PATIENCE: Duration = Duration::from_secs(60);
const REGIONS: [&str; 3] = ["a", "b", "c"];
const A: usize = 0;
const B: usize = 1;
const C: usize = 2;
const KEYS: usize = 200;

/// Three regions that wait for each other for two seconds.
struct Cluster {
    directory: tempfile::TempDir,
    ports: Vec<[u16; 3]>,
}

impl Cluster {
    fn new() -> Self {
        let cluster = Self {
            directory: tempfile::tempdir().unwrap(),
            ports: REGIONS.map(|_| [(); 3].map(|()| free_port())).to_vec(),
        };
        let certs = cluster.path("certs").display().to_string();
        greenwich(&["certs", "ca", "--cluster", "test", "--out", &certs]);
        for (region, name) in REGIONS.iter().enumerate() {
            greenwich(&["certs", "node", "--region", name, "--out", &certs]);
            fs::write(cluster.config(region), cluster.settings(region)).unwrap();
        }
        cluster
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn config(&self, region: usize) -> PathBuf {
        self.path(&format!("{}.toml", REGIONS[region]))
    }

    fn settings(&self, region: usize) -> String {
        let (name, [redis, admin, replication]) = (REGIONS[region], self.ports[region]);
        let mut text = format!(
            "cluster = \"test\"\ndata_dir = {name:?}\n\
             [region]\nname = {name:?}\nid = {}\n\
             [client]\nbind = \"127.0.0.1:{redis}\"\n[admin]\nbind = \"127.0.0.1:{admin}\"\n\
             [replication]\nbind = \"127.0.0.1:{replication}\"\nhorizon = \"2s\"\n\
             ca = \"certs/ca.pem\"\ncert = \"certs/{name}.pem\"\nkey = \"certs/{name}-key.pem\"\n",
            region + 1
        );
        for other in (0..REGIONS.len()).filter(|other| *other != region) {
            text += &format!(
                "[[replication.peers]]\nregion = {:?}\nid = {}\naddress = \"127.0.0.1:{}\"\n",
                REGIONS[other],
                other + 1,
                self.ports[other][2]
            );
        }
        text
    }

    fn start(&self, region: usize) -> Node {
        let log = self.path(&format!("{}.log", REGIONS[region]));
        let process = Command::new(BINARY)
            .args(["node", "--config"])
            .arg(self.config(region))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .expect("the binary was built for this test");
        Node { process, log }
    }

    /// Nodes of all regions, linked, with all keys.
    fn start_full(&self) -> [Node; 3] {
        let nodes = [A, B, C].map(|region| self.start(region));
        self.assert_linked();
        for region in [A, B, C] {
            until("the node to serve clients", || self.is_ready(region));
        }
        self.ask(A, (0..KEYS).map(|key| format!("SET key:{key} value")));
        self.assert_equal();
        assert_eq!(self.alive(C).len(), KEYS);
        nodes
    }

    fn assert_linked(&self) {
        for region in [A, B, C] {
            until("the links", || self.is_linked(region));
        }
    }

    fn admin(&self, region: usize) -> String {
        format!("127.0.0.1:{}", self.ports[region][1])
    }

    fn status(&self, region: usize) -> Value {
        let asked = run(&["status", "--json", "--admin", &self.admin(region)]);
        let mut all: Value = serde_json::from_slice(&asked.stdout).unwrap();
        all["regions"][0]["status"].take()
    }

    fn is_ready(&self, region: usize) -> bool {
        let not_ready = &self.status(region)["not_ready"];
        not_ready.as_array().is_some_and(Vec::is_empty)
    }

    /// Whether a region has links to all others.
    fn is_linked(&self, region: usize) -> bool {
        let status = self.status(region);
        let mut links = status["links"].as_array().into_iter().flatten().peekable();
        links.peek().is_some() && links.all(|link| link["state"] == "up")
    }

    /// Whether a region waits for another no longer.
    fn has_released(&self, region: usize, other: usize) -> bool {
        let status = self.status(region);
        let mut links = status["links"].as_array().into_iter().flatten();
        links.any(|link| link["region"] == REGIONS[other] && link["released"] == true)
    }

    /// Sends requests at once and hears an answer of one line to each.
    fn ask(&self, region: usize, requests: impl Iterator<Item = String>) -> Vec<String> {
        let requests: Vec<String> = requests.map(|request| request + "\r\n").collect();
        let mut client = TcpStream::connect(("127.0.0.1", self.ports[region][0])).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(requests.concat().as_bytes()).unwrap();
        let lines = BufReader::new(client).lines();
        lines.take(requests.len()).map(Result::unwrap).collect()
    }

    /// Which of the keys a region shows.
    fn alive(&self, region: usize) -> Vec<usize> {
        let found = self.ask(region, (0..KEYS).map(|key| format!("EXISTS key:{key}")));
        let found = found.iter().enumerate();
        found
            .filter_map(|(key, answer)| (answer == ":1").then_some(key))
            .collect()
    }

    /// Waits until a region remembers nothing of the dead.
    fn forgets(&self, region: usize) {
        until("the dead to be forgotten", || {
            let status = self.status(region);
            status["husks"] == 0 && status["husk_bytes"] == 0
        });
    }

    /// All regions have compared, and hold the same.
    fn assert_equal(&self) {
        let admins = [A, B, C].map(|region| self.admin(region));
        let mut args = vec!["verify", "--timeout", "60s", "--admin"];
        args.extend(admins.iter().map(String::as_str));
        let verified = run(&args);
        let said = String::from_utf8_lossy(&verified.stdout);
        assert!(verified.status.success(), "{said}");
    }
}

/// A running node; killed when dropped.
struct Node {
    process: Child,
    log: PathBuf,
}

impl Node {
    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Sends it a signal, as `kill` names it.
    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn run(args: &[&str]) -> Output {
    Command::new(BINARY).args(args).output().unwrap()
}

fn greenwich(args: &[&str]) {
    let done = run(args);
    assert!(done.status.success(), "{args:?}: {done:?}");
}

fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = tcp.local_addr().unwrap().port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_the_others_forgot_is_gone_where_a_region_is_back_after_the_horizon() {
    let cluster = Cluster::new();
    let [a, _b, c] = cluster.start_full();

    c.signal("STOP");
    let deleted = (0..KEYS).filter(|key| key % 2 == 0);
    cluster.ask(B, deleted.map(|key| format!("DEL key:{key}")));
    for region in [A, B] {
        until("c to be released", || cluster.has_released(region, C));
        until("the deletions", || {
            cluster.status(region)["keys"] == KEYS / 2
        });
        cluster.forgets(region);
    }
    until("the node to say so", || {
        a.said().contains("longer than replication.horizon")
    });

    c.signal("CONT");
    cluster.assert_linked();
    cluster.assert_equal();
    let kept: Vec<usize> = (0..KEYS).filter(|key| key % 2 == 1).collect();
    for region in [A, B, C] {
        assert_eq!(cluster.alive(region), kept, "in {}", REGIONS[region]);
        let others = [A, B, C].into_iter().filter(|other| *other != region);
        for other in others {
            assert!(!cluster.has_released(region, other));
        }
    }
    until("the node to say so", || {
        a.said().contains("the region is waited for again")
    });

    for region in [A, B, C] {
        let own = format!("from:{}", REGIONS[region]);
        cluster.ask(region, [format!("SET {own} value")].into_iter());
        for other in [A, B, C] {
            until("a write to arrive", || {
                let found = cluster.ask(other, [format!("EXISTS {own}")].into_iter());
                found == [":1"]
            });
        }
    }
    cluster.assert_equal();
}

#[test]
fn a_forgotten_deletion_loses_against_what_was_written_away_from_it_and_wins_against_what_was_not()
{
    let cluster = Cluster::new();
    let [a, b, c] = cluster.start_full();
    let tell = |region: usize, request: &str| {
        let answers = cluster.ask(region, [request.to_owned()].into_iter());
        assert!(["+OK", ":1"].contains(&answers[0].as_str()), "{answers:?}");
    };
    for node in [&a, &b] {
        node.signal("STOP");
    }
    until("the others to be released", || {
        cluster.has_released(C, A) && cluster.has_released(C, B)
    });
    tell(C, "SET key:0 away");
    tell(C, "DEL key:1");
    cluster.forgets(C);

    c.signal("STOP");
    for node in [&a, &b] {
        node.signal("CONT");
    }
    for region in [A, B] {
        until("c to be released", || cluster.has_released(region, C));
    }
    tell(A, "DEL key:0");
    tell(A, "DEL key:2");
    for region in [A, B] {
        until("the deletions", || {
            cluster.status(region)["keys"] == KEYS - 2
        });
        cluster.forgets(region);
    }

    c.signal("CONT");
    cluster.assert_linked();
    cluster.assert_equal();
    let expected: Vec<usize> = (0..KEYS).filter(|key| ![1, 2].contains(key)).collect();
    for region in [A, B, C] {
        assert_eq!(cluster.alive(region), expected, "in {}", REGIONS[region]);
    }
}
