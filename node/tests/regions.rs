//! Regions of processes that are added and removed by command while the others run, and processes that claim one region.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{BINARY, PATIENCE, free_port, greenwich, until};
use serde_json::Value;

const REGIONS: [&str; 4] = ["a", "b", "c", "d"];
const KEYS: usize = 2_000;

/// Files and ports of regions, of which the first three are configured with each other.
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
            if region < 3 {
                let text = cluster.settings(region, name, &[0, 1, 2]);
                fs::write(cluster.config(region), text).unwrap();
            }
        }
        cluster
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn config(&self, region: usize) -> PathBuf {
        self.path(&format!("{}.toml", REGIONS[region]))
    }

    fn replication(&self, region: usize) -> String {
        format!("127.0.0.1:{}", self.ports[region][2])
    }

    fn settings(&self, region: usize, data: &str, all: &[usize]) -> String {
        let (name, [redis, admin, replication]) = (REGIONS[region], self.ports[region]);
        let mut text = format!(
            "cluster = \"test\"\ndata_dir = {data:?}\n\
             [region]\nname = {name:?}\nid = {}\n\
             [client]\nbind = \"127.0.0.1:{redis}\"\n[admin]\nbind = \"127.0.0.1:{admin}\"\n\
             [replication]\nbind = \"127.0.0.1:{replication}\"\nloading_patience = \"5s\"\n\
             ca = \"certs/ca.pem\"\ncert = \"certs/{name}.pem\"\nkey = \"certs/{name}-key.pem\"\n",
            region + 1
        );
        for other in all.iter().copied().filter(|other| *other != region) {
            text += &format!(
                "[[replication.peers]]\nregion = {:?}\nid = {}\naddress = \"{}\"\n",
                REGIONS[other],
                other + 1,
                self.replication(other)
            );
        }
        text
    }

    fn start(&self, region: usize) -> Node {
        Node::start(&self.config(region))
    }

    /// Starts another process of a region, with ports and a data directory of its own, and the same peers.
    fn start_twin(&self, region: usize) -> (Self, Node) {
        let mut twins = Self {
            directory: tempfile::tempdir().unwrap(),
            ports: self.ports.clone(),
        };
        twins.ports[region] = [(); 3].map(|()| free_port());
        let text = twins.settings(region, "twin", &[0, 1, 2]);
        let text = text.replace("certs/", &format!("{}/", self.path("certs").display()));
        fs::write(twins.config(region), text).unwrap();
        let twin = twins.start(region);
        (twins, twin)
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

    /// Names of the regions to which a node has links that are up.
    fn linked(&self, region: usize) -> Vec<String> {
        let status = self.status(region);
        let links = status["links"].as_array().into_iter().flatten();
        let up = links.filter(|link| link["state"] == "up");
        up.map(|link| link["region"].as_str().unwrap().to_owned())
            .collect()
    }

    fn ask(&self, region: usize, request: &str) -> Option<String> {
        let mut client = TcpStream::connect(("127.0.0.1", self.ports[region][0])).ok()?;
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(format!("{request}\r\n").as_bytes()).ok()?;
        let mut lines = BufReader::new(client).lines();
        let head = lines.next()?.ok()?;
        match head.starts_with('$') && head != "$-1" {
            true => lines.next()?.ok(),
            false => Some(head),
        }
    }

    /// The first line of what the admin port answers.
    fn readyz(&self, region: usize) -> String {
        let mut client = TcpStream::connect(self.admin(region)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        client.write_all(request).unwrap();
        let mut answer = BufReader::new(client).lines();
        answer.next().unwrap().unwrap()
    }

    /// Sends requests at once and hears an answer to each.
    fn ask_all(&self, region: usize, requests: impl Iterator<Item = String>) -> Vec<String> {
        let requests: Vec<String> = requests.collect();
        let mut client = TcpStream::connect(("127.0.0.1", self.ports[region][0])).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(requests.concat().as_bytes()).unwrap();
        let lines = BufReader::new(client).lines();
        lines.take(requests.len()).map(Result::unwrap).collect()
    }

    /// How many keys a region shows.
    fn alive(&self, region: usize) -> usize {
        let found = self.ask_all(region, (0..KEYS).map(|key| format!("EXISTS key:{key}\r\n")));
        found.iter().filter(|answer| *answer == ":1").count()
    }

    /// How many dead keys it remembers.
    fn husks(&self, region: usize) -> u64 {
        self.status(region)["husks"].as_u64().unwrap()
    }

    /// Whether all of these have compared, and hold the same.
    fn verify(&self, regions: &[usize]) -> Output {
        let admins = regions.iter().map(|region| self.admin(*region));
        let mut args = vec!["verify".to_owned(), "--admin".to_owned()];
        args.extend(admins);
        args.extend(["--timeout".to_owned(), "60s".to_owned()]);
        run(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn assert_equal(&self, regions: &[usize]) {
        let verified = self.verify(regions);
        let said = String::from_utf8_lossy(&verified.stdout);
        assert!(verified.status.success(), "{said}");
    }

    fn add_d(&self) -> Output {
        let (out, admin) = (self.path("printed.toml"), self.admin(0));
        let out = out.display().to_string();
        let address = self.replication(3);
        let args = ["region", "add", "d", "--id", "4", "--address", &address];
        run(&[
            &args[..],
            &["--out", &out, "--admin", &admin, "--timeout", "20s"],
        ]
        .concat())
    }

    /// Adds the fourth region while every second key is deleted, here and there, and starts its node.
    fn add_while_half_of_the_keys_are_deleted(&self) -> Node {
        let file = self.config(3);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for (turn, key) in (0..KEYS).step_by(2).enumerate() {
                    let deleted = self.ask(turn % 3, &format!("DEL key:{key}"));
                    assert!(deleted.is_some_and(|answer| answer.starts_with(':')));
                }
                is_over.store(true, Ordering::Release);
            });
            let added = self.add_d();
            assert!(added.status.success(), "{added:?}");
            // As printed, but for ports that are free.
            let printed = fs::read_to_string(self.path("printed.toml")).unwrap();
            assert_eq!(
                printed.matches("[[replication.peers]]").count(),
                3,
                "{printed}"
            );
            fs::write(&file, self.settings(3, "d", &[0, 1, 2])).unwrap();
            let d = self.start(3);
            until("the new region", || self.is_ready(3));
            until("the end of the deletions", || {
                is_over.load(Ordering::Acquire)
            });
            d
        })
    }
}

/// A running node; killed when dropped.
struct Node {
    process: Child,
    log: PathBuf,
}

impl Node {
    fn start(config: &Path) -> Self {
        let log = config.with_extension("log");
        let file = File::options().create(true).append(true).open(&log);
        let process = Command::new(BINARY)
            .args(["node", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file.unwrap())
            .spawn()
            .expect("the binary was built for this test");
        Self { process, log }
    }

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

fn set(key: usize) -> String {
    format!("SET key:{key} value\r\n")
}

#[test]
fn a_region_is_added_under_writes_and_removed_without_a_restart() {
    let cluster = Cluster::new();
    let [_a, b, c] = [0, 1, 2].map(|region| cluster.start(region));
    for region in 0..3 {
        until("the links", || cluster.linked(region).len() == 2);
    }
    cluster.ask_all(0, (0..KEYS).map(set));
    cluster.assert_equal(&[0, 1, 2]);
    let d = cluster.add_while_half_of_the_keys_are_deleted();
    assert!(cluster.add_d().status.success(), "once more does no harm");
    cluster.assert_equal(&[0, 1, 2, 3]);
    for region in 0..4 {
        until("deletions to arrive", || cluster.alive(region) == KEYS / 2);
    }
    until("the dead to be forgotten", || {
        (0..4).all(|region| cluster.husks(region) == 0)
    });

    // A node that restarts knows the region without its file.
    drop(b);
    let b = cluster.start(1);
    until("the links", || cluster.linked(1) == ["a", "c", "d"]);
    assert!(b.said().contains("added by command"), "{}", b.said());

    // Without its node, what is deleted is remembered for it; once it is removed, no more.
    drop(d);
    cluster.ask_all(0, (0..KEYS).map(|key| format!("DEL key:{key}\r\n")));
    until("the deletions", || cluster.husks(1) > 0);
    let removed = run(&["region", "remove", "d", "--admin", &cluster.admin(0)]);
    assert!(removed.status.success(), "{removed:?}");
    for region in 0..3 {
        until("the dead to be forgotten", || cluster.husks(region) == 0);
        until("two links", || cluster.linked(region).len() == 2);
        assert_eq!(cluster.status(region)["links"].as_array().unwrap().len(), 2);
    }
    assert_eq!(cluster.ask(0, "WAIT 2 5000").as_deref(), Some(":2"));
    cluster.assert_equal(&[0, 1, 2]);

    a_removed_region_comes_back_only_once_it_is_added(&cluster, c);
}

fn a_removed_region_comes_back_only_once_it_is_added(cluster: &Cluster, c: Node) {
    // Its node is refused and told why; it serves nobody.
    let d = cluster.start(3);
    until("the removed node to hear of it", || {
        cluster.status(3)["removed"] == true
    });
    assert!(
        d.said().contains("d was removed from the cluster"),
        "{}",
        d.said()
    );
    assert!(!cluster.is_ready(3));

    // Who is away hears of it with its next link, and keeps it.
    drop(c);
    let added = cluster.add_d();
    assert_eq!(added.status.code(), Some(1));
    let said = String::from_utf8(added.stdout).unwrap();
    assert!(said.contains("c has not confirmed"), "{said}");
    let _c = cluster.start(2);
    until("all to confirm", || cluster.add_d().status.success());
    drop(d);
    let _d = cluster.start(3);
    until("the links", || cluster.linked(3).len() == 3);
    cluster.ask_all(0, (0..KEYS).map(set));
    cluster.assert_equal(&[0, 1, 2, 3]);
}

#[test]
fn a_second_process_of_a_region_serves_nobody_and_the_first_is_told() {
    let cluster = Cluster::new();
    let nodes = [0, 1, 2].map(|region| cluster.start(region));
    for region in 0..3 {
        until("the links", || cluster.linked(region).len() == 2);
    }
    // Those with the smallest and the largest id: one dials, the other is dialled.
    for region in [0, 2] {
        let (twins, twin) = cluster.start_twin(region);
        until("the first to be told", || {
            let status = cluster.status(region);
            status["twins"]
                .as_array()
                .is_some_and(|twins| !twins.is_empty())
        });
        until("the first to say so", || {
            let said = nodes[region].said();
            said.contains("another process claims this node's region")
        });
        until("the twin to be told", || {
            twin.said().contains("two nodes claim")
                && twins.status(region)["uptime_ms"].as_u64() > Some(8_000)
        });
        assert!(!twins.is_ready(region), "beyond its patience");
        assert!(cluster.is_ready(region));
        drop(twin);
        until("the twin to be forgotten", || {
            cluster.status(region)["twins"]
                .as_array()
                .is_some_and(Vec::is_empty)
        });
    }
}

/// A client in the middle of a transaction.
struct Transaction(BufReader<TcpStream>);

impl Transaction {
    fn begin(cluster: &Cluster, region: usize) -> Self {
        let client = TcpStream::connect(("127.0.0.1", cluster.ports[region][0])).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut begun = Self(BufReader::new(client));
        assert_eq!(begun.ask("MULTI"), "+OK\r\n");
        assert_eq!(begun.ask("SET lost value"), "+QUEUED\r\n");
        begun
    }

    fn ask(&mut self, request: &str) -> String {
        let (mut line, request) = (String::new(), format!("{request}\r\n"));
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        self.0.read_line(&mut line).unwrap();
        line
    }
}

#[test]
fn a_process_that_was_frozen_while_another_took_its_place_serves_nobody_any_more() {
    // As above: one dials its peers, the other is dialled.
    for region in [0, 2] {
        let cluster = Cluster::new();
        let nodes = [0, 1, 2].map(|region| cluster.start(region));
        let mut nodes = Vec::from(nodes);
        for region in 0..3 {
            until("the links", || cluster.linked(region).len() == 2);
        }
        until("clients to be served", || cluster.is_ready(region));
        let transaction = Transaction::begin(&cluster, region);
        nodes[region].signal("STOP");
        let (twins, twin) = cluster.start_twin(region);
        until("the twin to take its place", || {
            twins.linked(region).len() == 2 && twins.is_ready(region)
        });
        nodes[region].signal("CONT");
        until("the first to learn of it", || {
            cluster.status(region)["superseded"] == true
        });
        serves_nobody(&cluster, region, transaction);
        let peers = [0, 1, 2].into_iter().filter(|peer| *peer != region);
        let peers: Vec<usize> = peers.collect();
        the_twin_serves_and_is_told(&cluster, &peers, &twins, region);
        for &peer in &peers {
            until("each peer to say so", || {
                let said = nodes[peer].said();
                said.contains("an earlier process of this region was refused")
            });
        }
        let said = nodes[region].said();
        let times = said.matches("clients are not served any more").count();
        assert_eq!(times, 1, "it knocks again and again: {said}");

        // The other way to mend it: the later one is stopped, and the first is started anew.
        drop((twin, nodes.remove(region)));
        let _anew = cluster.start(region);
        until("the one that was started anew", || {
            cluster.is_ready(region) && cluster.linked(region).len() == 2
        });
        let kept = cluster.ask(region, "GET kept");
        assert_eq!(kept.as_deref(), Some("value"));
    }
}

fn serves_nobody(cluster: &Cluster, region: usize, mut transaction: Transaction) {
    assert!(cluster.readyz(region).contains("503"));
    let not_ready = cluster.status(region)["not_ready"].to_string();
    assert!(
        not_ready.contains("superseded: another process of this region started later"),
        "{not_ready}"
    );
    for request in ["SET lost value", "GET lost", "MGET lost lost"] {
        let answer = cluster.ask(region, request).unwrap();
        assert!(answer.starts_with("-MASTERDOWN "), "{request}: {answer}");
    }
    let answer = transaction.ask("EXEC");
    assert!(
        answer.starts_with("-EXECABORT ") && answer.contains("MASTERDOWN"),
        "{answer}"
    );
    let config = cluster.ask(region, "CONFIG GET maxclients");
    assert_eq!(config.as_deref(), Some("*2"), "operators are served");
}

fn the_twin_serves_and_is_told(cluster: &Cluster, peers: &[usize], twins: &Cluster, region: usize) {
    until("the twin to be told", || {
        let status = twins.status(region);
        let told = status["twins"].as_array();
        told.is_some_and(|told| !told.is_empty())
    });
    assert!(twins.is_ready(region) && twins.linked(region).len() == 2);
    let set = twins.ask(region, "SET kept value");
    assert_eq!(set.as_deref(), Some("+OK"));
    for &peer in peers {
        until("what it writes", || {
            cluster.ask(peer, "GET kept").as_deref() == Some("value")
        });
        assert_eq!(cluster.ask(peer, "GET lost").as_deref(), Some("$-1"));
    }
}
