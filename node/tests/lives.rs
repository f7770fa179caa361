//! Lives of nodes as processes: what their clocks and their disks did to an earlier one does not keep the next one away.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{BINARY, PATIENCE, free_port, greenwich, until};
use serde_json::Value;

const REGIONS: [&str; 3] = ["a", "b", "c"];
const DAY: Duration = Duration::from_secs(86_400);
/// Where distributions have it; a test that needs it fails where it is not.
const FAKETIME: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
];

/// Three regions' files, and the ports that they use.
struct Cluster {
    directory: tempfile::TempDir,
    ports: Vec<[u16; 3]>,
}

impl Cluster {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ports = REGIONS.map(|_| [(); 3].map(|()| free_port())).to_vec();
        let cluster = Self { directory, ports };
        let certs = cluster.path("certs").display().to_string();
        greenwich(&["certs", "ca", "--cluster", "test", "--out", &certs]);
        for (region, name) in REGIONS.iter().enumerate() {
            greenwich(&["certs", "node", "--region", name, "--out", &certs]);
            fs::create_dir(cluster.data(region)).unwrap();
            fs::write(cluster.config(region), cluster.settings(region)).unwrap();
        }
        cluster
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn data(&self, region: usize) -> PathBuf {
        self.path(REGIONS[region])
    }

    fn config(&self, region: usize) -> PathBuf {
        self.path(&format!("{}.toml", REGIONS[region]))
    }

    fn settings(&self, region: usize) -> String {
        let name = REGIONS[region];
        let [redis, admin, replication] = self.ports[region];
        let mut text = format!(
            "cluster = \"test\"\ndata_dir = {name:?}\n\
             [region]\nname = {name:?}\nid = {}\n\
             [client]\nbind = \"127.0.0.1:{redis}\"\n\
             [admin]\nbind = \"127.0.0.1:{admin}\"\n\
             [replication]\nbind = \"127.0.0.1:{replication}\"\n\
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
        self.start_with(region, &[])
    }

    fn start_with(&self, region: usize, environment: &[(&str, String)]) -> Node {
        let log = self.path(&format!("{}.log", REGIONS[region]));
        let process = Command::new(BINARY)
            .args(["node", "--config"])
            .arg(self.config(region))
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .expect("the binary was built for this test");
        Node { process, log }
    }

    /// How the links of a region are.
    fn links(&self, region: usize) -> Value {
        let admin = format!("127.0.0.1:{}", self.ports[region][1]);
        let asked = Command::new(BINARY)
            .args(["status", "--json", "--admin", &admin])
            .output()
            .unwrap();
        let mut all: Value = serde_json::from_slice(&asked.stdout).unwrap();
        all["regions"][0]["status"]["links"].take()
    }

    fn is_linked(&self, region: usize) -> bool {
        let links = self.links(region);
        let mut links = links.as_array().into_iter().flatten().peekable();
        links.peek().is_some() && links.all(|link| link["state"] == "up")
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

    /// A value that one region is given arrives at all.
    fn replicates(&self, from: usize, key: &str) {
        until("the write to be taken", || {
            self.ask(from, &format!("SET {key} value")).as_deref() == Some("+OK")
        });
        for region in 0..REGIONS.len() {
            until("the value to arrive", || {
                self.ask(region, &format!("GET {key}")).as_deref() == Some("value")
            });
        }
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

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// The clock of one process, which is as far off as `file` says.
fn clock_of(file: &Path) -> Vec<(&'static str, String)> {
    let mut variables = clock_ahead(Duration::ZERO);
    variables.retain(|(name, _)| *name != "FAKETIME");
    variables.push(("FAKETIME_TIMESTAMP_FILE", file.display().to_string()));
    variables.push(("FAKETIME_CACHE_DURATION", "1".to_owned()));
    variables
}

/// A clock that is so far ahead, for one process.
fn clock_ahead(by: Duration) -> Vec<(&'static str, String)> {
    let library = FAKETIME.iter().find(|path| Path::new(path).exists());
    let library = library.unwrap_or_else(|| {
        panic!(
            "this test sets the clock of a node with libfaketime, which is in none of {FAKETIME:?}: apt-get install faketime"
        )
    });
    vec![
        ("LD_PRELOAD", (*library).to_owned()),
        ("FAKETIME", format!("+{}", by.as_secs())),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

#[test]
fn a_node_that_booted_a_day_ahead_joins_once_its_clock_is_right() {
    let ahead = clock_ahead(DAY);
    let cluster = Cluster::new();
    let _others = [cluster.start(1), cluster.start(2)];
    let fast = cluster.start_with(0, &ahead);
    until("the fast node to be refused", || {
        let links = cluster.links(1);
        links[0]["state"] == "refused"
            && links[0]["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains("clock skew"))
    });
    fast.kill();
    let right = cluster.start(0);
    until("the links", || {
        (0..3).all(|region| cluster.is_linked(region))
    });
    cluster.replicates(0, "from-a");
    cluster.replicates(1, "from-b");
    let said = right.said();
    assert!(
        said.contains("the clock was ahead in an earlier life"),
        "{said}"
    );
    // Nor does the day come back with the next life.
    right.kill();
    let next = cluster.start(0);
    until("the links", || cluster.is_linked(0));
    cluster.replicates(0, "from-a-again");
    let said = next.said();
    assert!(!said.contains("the clock was ahead"), "{said}");
}

#[test]
fn a_clock_that_is_a_little_ahead_is_shown_and_said_once() {
    let ahead = clock_ahead(Duration::from_secs(2));
    let cluster = Cluster::new();
    let _fast = cluster.start_with(0, &ahead);
    let nodes = [cluster.start(1), cluster.start(2)];
    until("the links", || {
        (0..3).all(|region| cluster.is_linked(region))
    });
    let skew_seconds = |region: usize, link: usize| {
        let links = cluster.links(region);
        (links[link]["clock_skew_ms"].as_f64().unwrap() / 1e3).round()
    };
    let skews = || [skew_seconds(0, 0), skew_seconds(1, 0), skew_seconds(1, 1)];
    until("right figures", || skews() == [-2.0, 2.0, 0.0]);
    for node in &nodes {
        let said = || node.said().matches("the peer's clock differs").count();
        until("a warning", || said() > 0);
        assert_eq!(said(), 1, "{}", node.said());
    }
}

#[test]
fn a_clock_that_is_set_an_hour_forward_expires_nothing_and_ends_no_link() {
    let cluster = Cluster::new();
    let file = cluster.path("clock");
    fs::write(&file, "+0\n").unwrap();
    let clock = clock_of(&file);
    let node = cluster.start_with(0, &clock);
    let _others = [cluster.start(1), cluster.start(2)];
    until("the links", || {
        (0..3).all(|region| cluster.is_linked(region))
    });
    // A node with links may still be loading.
    until("the write to be taken", || {
        cluster.ask(0, "SET mortal value EX 1800").as_deref() == Some("+OK")
    });
    fs::write(&file, "+3600\n").unwrap();
    until("the node to notice", || {
        node.said().contains("the system's clock was set")
    });
    assert_eq!(cluster.ask(0, "GET mortal").as_deref(), Some("value"));
    cluster.replicates(0, "after-it");
    let links = cluster.links(0);
    for link in links.as_array().unwrap() {
        assert_eq!(
            (&link["state"], &link["reconnects"]),
            (&Value::from("up"), &Value::from(0)),
            "{links}"
        );
    }
}

#[test]
fn an_incarnation_of_the_release_before_that_lies_a_day_ahead_is_left_behind() {
    let cluster = Cluster::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let ahead = (now + DAY).as_millis();
    fs::write(cluster.data(0).join("incarnation"), format!("{ahead}\n")).unwrap();
    let _nodes = [cluster.start(0), cluster.start(1), cluster.start(2)];
    until("the links", || {
        (0..3).all(|region| cluster.is_linked(region))
    });
    cluster.replicates(0, "from-a");
}

/// A directory on a small disk of its own, gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this may not be done.
    fn mount(at: &Path) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16k", "tmpfs"])
            .arg(at)
            .output()
            .ok()?;
        mounted.status.success().then(|| Self(at.to_owned()))
    }

    /// Takes all of its room, until the file is removed.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filling");
        let mut file = File::create(&path).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

#[test]
fn a_node_whose_disk_was_full_starts_again_once_there_is_room() {
    let cluster = Cluster::new();
    let data = cluster.data(0);
    let Some(disk) = SmallDisk::mount(&data) else {
        return eprintln!("skipped: this user may not mount a file system");
    };
    // What an earlier release left on a full disk.
    for name in ["incarnation", "reset.key"] {
        File::create(data.join(name)).unwrap();
    }
    let filling = disk.fill();
    let mut refused = cluster.start(0);
    assert!(!refused.process.wait().unwrap().success());
    let said = refused.said();
    assert!(
        said.contains("life.toml") && said.contains("No space left"),
        "{said}"
    );
    assert!(
        !data.join("life.toml").exists(),
        "nothing is left half written"
    );
    fs::remove_file(filling).unwrap();
    let _others = [cluster.start(1), cluster.start(2)];
    let node = cluster.start(0);
    until("the links", || cluster.is_linked(0));
    assert_eq!(fs::read(data.join("reset.key")).unwrap().len(), 64);
    let said = node.said();
    assert!(
        said.contains("damaged reset key") && said.contains("is not known"),
        "{said}"
    );
    // A disk that fills while a node runs stops nothing, and leaves what the next life needs.
    let filling = disk.fill();
    until("the node to notice", || {
        node.said().contains("stamps are not recorded")
    });
    cluster.replicates(0, "on-a-full-disk");
    node.kill();
    fs::remove_file(filling).unwrap();
    let _node = cluster.start(0);
    until("the links", || cluster.is_linked(0));
    cluster.replicates(0, "after-it");
}
