//! A node as a process that is told to stop: what it says of the writes that others lack.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

const BINARY: &str = env!("CARGO_BIN_EXE_greenwich");
const PATIENCE: Duration = Duration::from_secs(40);

/// A node that is killed when the test fails.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn run(program: &str, args: &[&str]) {
    let done = Command::new(program).args(args).output().unwrap();
    assert!(done.status.success(), "{args:?}: {done:?}");
}

/// The configuration of a node whose only peer has a name that leads nowhere.
fn configuration(directory: &Path, ports: [SocketAddr; 3]) -> String {
    let certificates = directory.join("certs").display().to_string();
    run(
        BINARY,
        &["certs", "ca", "--out", &certificates, "--cluster", "shop"],
    );
    run(
        BINARY,
        &[
            "certs",
            "node",
            "--out",
            &certificates,
            "--region",
            "us-east",
        ],
    );
    let [client, admin, replication] = ports;
    let data = directory.join("data").display().to_string();
    format!(
        r#"
cluster = "shop"
data_dir = "{data}"
region = {{ name = "us-east", id = 1 }}
client = {{ bind = "{client}" }}
admin = {{ bind = "{admin}" }}
[replication]
bind = "{replication}"
ca = "{certificates}/ca.pem"
cert = "{certificates}/us-east.pem"
key = "{certificates}/us-east-key.pem"
[[replication.peers]]
region = "eu-west"
id = 2
address = "a..b:7401"
[[emulation]]
peer = "eu-west"
delay = "10ms"
"#
    )
}

#[test]
fn a_node_starts_without_its_peers_and_says_at_its_end_what_they_lack() {
    let directory = tempfile::tempdir().unwrap();
    let free = [0; 3].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let ports = free.map(|listener| listener.local_addr().unwrap());
    let file = directory.path().join("node.toml");
    fs::write(&file, configuration(directory.path(), ports)).unwrap();
    let log = directory.path().join("log");
    let node = Command::new(BINARY)
        .args(["node", "--config"])
        .arg(&file)
        .stderr(File::create(&log).unwrap())
        .spawn();
    let mut node = Node(node.unwrap());
    let said = || fs::read_to_string(&log).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let client = loop {
        if let Ok(client) = TcpStream::connect(ports[0]) {
            break client;
        }
        assert!(node.0.try_wait().unwrap().is_none(), "{}", said());
        assert!(Instant::now() < deadline, "{}", said());
        std::thread::sleep(Duration::from_millis(10));
    };
    let mut answers = BufReader::new(&client).lines();
    for key in ["a", "b", "c"] {
        (&client)
            .write_all(format!("SET {key} 1\r\n").as_bytes())
            .unwrap();
        assert_eq!(answers.next().unwrap().unwrap(), "+OK");
    }
    run("sh", &["-c", &format!("kill -TERM {}", node.0.id())]);
    assert!(node.0.wait().unwrap().success(), "{}", said());
    let said = said();
    for line in [
        "cannot resolve a..b:7401",
        "stopped: eu-west lacked 3 updates (link down)",
        "node stopped",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
}
