//! A link between two regions that breaks while both have one to a third: what is written at its ends goes around it, once.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{BINARY, PATIENCE, free_port, greenwich, until};
use serde_json::Value;

const REGIONS: [&str; 3] = ["a", "b", "c"];
const A: usize = 0;
const B: usize = 1;
const C: usize = 2;
/// Increments at each end of the broken link.
const COUNTED: usize = 200;

/// Three regions at 80 ms from each other, of which the first and the last find each other through a wire that can be cut.
struct Cluster {
    directory: tempfile::TempDir,
    ports: Vec<[u16; 3]>,
    wire: Wire,
    nodes: Vec<Node>,
}

impl Cluster {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ports = REGIONS.map(|_| [(); 3].map(|()| free_port())).to_vec();
        let wire = Wire::between([A, C].map(|region| loopback(ports[region][2])));
        let mut cluster = Self {
            directory,
            ports,
            wire,
            nodes: Vec::new(),
        };
        let certs = cluster.directory.path().join("certs");
        let certs = certs.display().to_string();
        greenwich(&["certs", "ca", "--cluster", "test", "--out", &certs]);
        for name in REGIONS {
            greenwich(&["certs", "node", "--region", name, "--out", &certs]);
        }
        cluster.nodes = [A, B, C].map(|region| cluster.node(region)).into();
        for region in [A, B, C] {
            until("a region to serve", || {
                let status = cluster.status(region);
                let links = status["links"].as_array().into_iter().flatten();
                status["not_ready"] == Value::Array(Vec::new())
                    && links.filter(|link| link["state"] == "up").count() == 2
            });
        }
        cluster
    }

    fn node(&self, region: usize) -> Node {
        let config = self
            .directory
            .path()
            .join(format!("{}.toml", REGIONS[region]));
        fs::write(&config, self.settings(region)).unwrap();
        let log = File::create(config.with_extension("log")).unwrap();
        let process = Command::new(BINARY)
            .args(["node", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Node(process.expect("the binary was built for this test"))
    }

    fn settings(&self, region: usize) -> String {
        let (name, [redis, admin, replication]) = (REGIONS[region], self.ports[region]);
        let mut text = format!(
            "cluster = \"test\"\ndata_dir = {name:?}\n\
             [region]\nname = {name:?}\nid = {}\n\
             [client]\nbind = \"127.0.0.1:{redis}\"\n[admin]\nbind = \"127.0.0.1:{admin}\"\n\
             [replication]\nbind = \"127.0.0.1:{replication}\"\n\
             ca = \"certs/ca.pem\"\ncert = \"certs/{name}.pem\"\nkey = \"certs/{name}-key.pem\"\n",
            region + 1
        );
        for other in (0..REGIONS.len()).filter(|other| *other != region) {
            let address = match (region, other) {
                (A, C) => self.wire.ends[0],
                (C, A) => self.wire.ends[1],
                _ => loopback(self.ports[other][2]),
            };
            let (peer, id) = (REGIONS[other], other + 1);
            text += &format!(
                "[[replication.peers]]\nregion = {peer:?}\nid = {id}\naddress = \"{address}\"\n\
                 [[emulation]]\npeer = {peer:?}\ndelay = \"40ms\"\n"
            );
        }
        text
    }

    fn admin(&self, region: usize) -> String {
        loopback(self.ports[region][1]).to_string()
    }

    fn status(&self, region: usize) -> Value {
        let asked = Command::new(BINARY)
            .args(["status", "--json", "--admin", &self.admin(region)])
            .output()
            .unwrap();
        let mut all: Value = serde_json::from_slice(&asked.stdout).unwrap();
        all["regions"][0]["status"].take()
    }

    fn link(&self, from: usize, to: usize) -> Value {
        let status = self.status(from);
        let mut links = status["links"].as_array().unwrap().iter();
        let found = links.find(|link| link["region"] == REGIONS[to]);
        found.unwrap().clone()
    }

    fn client(&self, region: usize) -> Client {
        let stream = TcpStream::connect(loopback(self.ports[region][0])).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(BufReader::new(stream))
    }

    /// What `greenwich status`, INFO and `/metrics` say together of one region's links.
    fn texts(&self, region: usize) -> [String; 3] {
        let status = run(&["status", "--admin", &self.admin(region)]);
        let info = self.client(region).bulk("INFO replication");
        let metrics = ask_http(&self.admin(region), "/metrics");
        [status, info.unwrap_or_default(), metrics]
    }

    /// A link that is up has no way around.
    fn assert_direct(&self, from: usize, to: usize) {
        let link = self.link(from, to);
        assert_eq!((&link["state"], &link["via"]), (&"up".into(), &Value::Null));
        until("INFO to follow", || {
            self.texts(from)
                .iter()
                .all(|text| !text.contains(" via ") && !text.contains("via="))
        });
        let [.., metrics] = self.texts(from);
        assert_eq!(metric(&metrics, "greenwich_link_via_regions", to), 0.0);
        assert!(metric(&metrics, "greenwich_link_via_behind_seconds", to).is_nan());
    }

    /// The updates of a region come by way of b, and every place says so.
    fn assert_around(&self, from: usize, to: usize) {
        until("INFO to follow", || {
            self.texts(from)[1].contains(",via=b,via_behind_ms=")
        });
        let [status, _, metrics] = self.texts(from);
        let (here, there) = (REGIONS[from], REGIONS[to]);
        let line = format!("What {there} writes arrives in {here} via b, ");
        assert!(
            status.contains(", via b") && status.contains(&line),
            "{status}"
        );
        assert_eq!(metric(&metrics, "greenwich_link_via_regions", to), 1.0);
        assert!(metric(&metrics, "greenwich_link_via_behind_seconds", to) < 10.0);
        let relayed = |name| metric(&metrics, name, B) as u64;
        let via = &self.link(from, to)["via"]["relayed"];
        let (updates, bytes) = (&via["updates"], &via["bytes"]);
        assert!(
            updates.as_u64() > Some(0) && bytes.as_u64() > updates.as_u64(),
            "{via}"
        );
        assert!(relayed("greenwich_link_relayed_updates_total") > 0);
        assert!(relayed("greenwich_link_relayed_bytes_total") > 0);
    }

    fn until_is(&self, region: usize, count: usize) {
        let mut client = self.client(region);
        until("the count", || {
            client.bulk("GET counter") == Some(count.to_string())
        });
    }

    /// How long it takes from a write in one region until it is read in another.
    fn way(&self, from: usize, to: usize, key: &str) -> Duration {
        let (mut writer, mut reader) = (self.client(from), self.client(to));
        let written = Instant::now();
        writer.ask(&format!("SET {key} there"));
        let read = format!("GET {key}");
        until("a write to arrive", || reader.bulk(&read).is_some());
        written.elapsed()
    }
}

/// A running node; killed when dropped.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    /// The first line of an answer, without its end.
    fn ask(&mut self, request: &str) -> String {
        let sent = self
            .0
            .get_mut()
            .write_all(format!("{request}\r\n").as_bytes());
        sent.unwrap();
        self.line()
    }

    /// A text; none for another answer.
    fn bulk(&mut self, request: &str) -> Option<String> {
        let len = self.ask(request).strip_prefix('$')?.parse().ok()?;
        let mut text = vec![0; len];
        self.0.read_exact(&mut text).unwrap();
        self.line();
        Some(String::from_utf8(text).unwrap())
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

/// Two sockets, each of which stands for the node at the other's side; it carries packets while it is whole.
struct Wire {
    /// Where the first node finds the second, and the second the first.
    ends: [SocketAddr; 2],
    is_cut: Arc<AtomicBool>,
}

impl Wire {
    fn between(nodes: [SocketAddr; 2]) -> Self {
        let sockets = [(); 2].map(|()| Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap()));
        let is_cut = Arc::new(AtomicBool::new(false));
        for (near, far) in [(0, 1), (1, 0)] {
            let (from, to) = (Arc::clone(&sockets[near]), Arc::clone(&sockets[far]));
            let is_cut = Arc::clone(&is_cut);
            // They end with the test.
            thread::spawn(move || {
                let mut packet = [0; 65_536];
                while let Ok(len) = from.recv(&mut packet) {
                    if !is_cut.load(Ordering::Relaxed) {
                        // What a node that has just ended is sent may be refused.
                        let _sent = to.send_to(&packet[..len], nodes[far]);
                    }
                }
            });
        }
        let ends = sockets.map(|socket| socket.local_addr().unwrap());
        Self { ends, is_cut }
    }

    fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::Relaxed);
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// The answer to a GET, with its head.
fn ask_http(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A metric of the link to one region.
fn metric(scraped: &str, name: &str, peer: usize) -> f64 {
    let peer = format!("peer=\"{}\"", REGIONS[peer]);
    let is_it = |line: &&str| line.starts_with(name) && line.contains(&peer);
    let line = scraped.lines().find(is_it).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// What a command says that has to succeed.
fn run(args: &[&str]) -> String {
    let done = Command::new(BINARY).args(args).output().unwrap();
    assert!(done.status.success(), "{args:?}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn what_is_written_at_the_ends_of_a_broken_link_goes_around_it_once() {
    let cluster = Cluster::start();
    cluster.way(A, C, "before");
    for (from, to) in [(A, C), (C, A)] {
        cluster.assert_direct(from, to);
    }

    cluster.wire.cut(true);
    println!("first write after the cut: {:?}", cluster.way(A, C, "cut"));
    thread::scope(|scope| {
        for region in [A, C] {
            let mut client = cluster.client(region);
            scope.spawn(move || {
                for _ in 0..COUNTED {
                    assert!(client.ask("INCR counter").starts_with(':'));
                }
            });
        }
    });
    for region in [A, B, C] {
        cluster.until_is(region, 2 * COUNTED);
    }
    println!(
        "with the link known to be down: {:?}",
        [(A, C), (C, A)].map(|(from, to)| { cluster.way(from, to, &format!("cut:{from}")) })
    );
    for (from, to) in [(A, C), (C, A)] {
        until("the way around the link", || {
            cluster.link(from, to)["via"].is_object()
        });
        println!("{}", cluster.link(from, to)["via"]);
        cluster.assert_around(from, to);
    }

    cluster.wire.cut(false);
    for (from, to) in [(A, C), (C, A)] {
        until("the link", || cluster.link(from, to)["state"] == "up");
        cluster.assert_direct(from, to);
    }
    for region in [A, C] {
        assert!(cluster.client(region).ask("INCR counter").starts_with(':'));
    }
    for region in [A, B, C] {
        cluster.until_is(region, 2 * COUNTED + 2);
    }
}
