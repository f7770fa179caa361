//! The regions' processes, and what is asked of them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use crate::common::{BINARY, PATIENCE, free_port, greenwich, until};

pub(crate) const REGIONS: [&str; 3] = ["a", "b", "c"];
pub(crate) const A: usize = 0;
pub(crate) const B: usize = 1;
pub(crate) const C: usize = 2;

/// Three regions, of which the first and the last find each other through a wire that can be cut.
pub(crate) struct Cluster {
    directory: tempfile::TempDir,
    ports: Vec<[u16; 3]>,
    pub(crate) wire: Wire,
    /// What each link does to its packets, as in a configuration.
    emulation: &'static str,
}

impl Cluster {
    pub(crate) fn new(emulation: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ports = REGIONS.map(|_| [(); 3].map(|()| free_port())).to_vec();
        let wire = Wire::between([A, C].map(|region| loopback(ports[region][2])));
        let certs = directory.path().join("certs").display().to_string();
        greenwich(&["certs", "ca", "--cluster", "test", "--out", &certs]);
        for name in REGIONS {
            greenwich(&["certs", "node", "--region", name, "--out", &certs]);
        }
        Self {
            directory,
            ports,
            wire,
            emulation,
        }
    }

    /// Waits until these serve clients, and have links that are up to each other.
    pub(crate) fn until_linked(&self, regions: &[usize]) {
        for region in regions {
            until("a region to serve", || {
                let status = self.status(*region);
                let links = status["links"].as_array().into_iter().flatten();
                let up = links.filter(|link| link["state"] == "up");
                status["not_ready"] == Value::Array(Vec::new()) && up.count() + 1 == regions.len()
            });
        }
    }

    pub(crate) fn start(&self, region: usize) -> Node {
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
             [replication]\nbind = \"127.0.0.1:{replication}\"\nloading_patience = \"1s\"\n\
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
                 [[emulation]]\npeer = {peer:?}\n{}\n",
                self.emulation
            );
        }
        text
    }

    pub(crate) fn admin(&self, region: usize) -> String {
        loopback(self.ports[region][1]).to_string()
    }

    pub(crate) fn status(&self, region: usize) -> Value {
        let asked = Command::new(BINARY)
            .args(["status", "--json", "--admin", &self.admin(region)])
            .output()
            .unwrap();
        let mut all: Value = serde_json::from_slice(&asked.stdout).unwrap();
        all["regions"][0]["status"].take()
    }

    pub(crate) fn client(&self, region: usize) -> Client {
        let stream = TcpStream::connect(loopback(self.ports[region][0])).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(BufReader::new(stream))
    }
}

/// A running node; killed when dropped.
pub(crate) struct Node(Child);

impl Node {
    /// The process stands still, and its sockets stay open.
    pub(crate) fn freeze(&self) {
        let pid = self.0.id().to_string();
        let stopped = Command::new("kill").args(["-STOP", &pid]).status();
        assert!(stopped.unwrap().success());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    /// The first line of an answer, without its end.
    pub(crate) fn ask(&mut self, request: &str) -> String {
        let sent = self
            .0
            .get_mut()
            .write_all(format!("{request}\r\n").as_bytes());
        sent.unwrap();
        self.line()
    }

    /// A text; none for another answer.
    pub(crate) fn bulk(&mut self, request: &str) -> Option<String> {
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
pub(crate) struct Wire {
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

    pub(crate) fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::Relaxed);
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// The answer to a GET, with its head.
pub(crate) fn ask_http(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// What a command says that has to succeed.
pub(crate) fn run(args: &[&str]) -> String {
    let done = Command::new(BINARY).args(args).output().unwrap();
    assert!(done.status.success(), "{args:?}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}
