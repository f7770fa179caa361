//! One node as a process: the files that it may open, and what its log says of clients.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);
const FULL: &str = "-ERR max number of clients reached\r\n";

/// A node on its own; killed when dropped.
struct Node {
    child: Child,
    directory: TempDir,
    redis: String,
    admin: String,
}

impl Node {
    /// A node that may open as many files: at first, and at most.
    fn start((soft, hard): (u64, u64)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let held = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [redis, admin, replication] = held
            .each_ref()
            .map(|port| port.local_addr().unwrap().to_string());
        drop(held);
        let config = format!(
            "data_dir = {:?}\n[region]\nname = \"a\"\nid = 1\n[client]\nbind = \"{redis}\"\nthreads = 2\n\
             max_clients = 1000\n[admin]\nbind = \"{admin}\"\n[replication]\nbind = \"{replication}\"\n",
            directory.path().join("data")
        );
        let file = directory.path().join("node.toml");
        fs::write(&file, config).unwrap();
        let child = Command::new("sh")
            .arg("-c")
            .arg(format!(
                "ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" node --config \"$1\""
            ))
            .arg(env!("CARGO_BIN_EXE_greenwich"))
            .arg(&file)
            .stderr(File::create(directory.path().join("log")).unwrap())
            .spawn()
            .expect("there is a shell");
        Self {
            child,
            directory,
            redis,
            admin,
        }
    }

    /// The same, when it serves clients.
    fn serving(limits: (u64, u64)) -> Self {
        let mut node = Self::start(limits);
        until("the node to start", || {
            let ended = node.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", node.log());
            node.log().contains("node started")
        });
        node
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// The lines of the log with these words.
    fn said(&self, words: &str) -> Vec<String> {
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains(words));
        lines.map(str::to_owned).collect()
    }

    fn client(&self) -> BufReader<TcpStream> {
        connect(&self.redis)
    }

    fn open_files(&self) -> u64 {
        let files = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        files.count() as u64
    }

    fn set_soft_limit(&self, files: u64) {
        let limit = Rlimit {
            current: Some(files),
            maximum: Some(files.max(1_000)),
        };
        let pid = Pid::from_child(&self.child);
        prlimit(Some(pid), Resource::Nofile, limit).unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn connect(address: &str) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

fn line(client: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    line
}

/// Sends one request and reads the first line of its reply.
fn ask(client: &mut BufReader<TcpStream>, request: &str) -> String {
    let request = format!("{request}\r\n");
    client.get_mut().write_all(request.as_bytes()).unwrap();
    line(client)
}

fn clients_max(client: &mut BufReader<TcpStream>) -> usize {
    assert_eq!(ask(client, "CONFIG GET maxclients"), "*2\r\n");
    let mut lines = [(); 4].map(|()| line(client));
    lines[3].truncate(lines[3].trim_end().len());
    lines[3].parse().unwrap()
}

#[test]
fn a_node_full_of_clients_refuses_more_and_still_answers_its_operator() {
    let hard = 240;
    let node = Node::serving((64, hard));
    let mut first = node.client();
    let allowed = clients_max(&mut first);
    assert!((1..240).contains(&allowed));
    let [said] = node.said("client.max_clients").try_into().unwrap();
    for word in ["WARN", "1000", &allowed.to_string(), "limit=240"] {
        assert!(said.contains(word), "{said}");
    }

    let mut clients: Vec<_> = (1..allowed).map(|_| node.client()).collect();
    for client in &mut clients {
        assert_eq!(ask(client, "PING"), "+PONG\r\n");
    }
    let refused: Vec<_> = (0..50).map(|_| node.client()).collect();
    for mut client in refused {
        assert_eq!(line(&mut client), FULL);
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "it is hung up on");
    }
    assert!(node.open_files() < hard);
    let mut operator = connect(&node.admin);
    assert_eq!(
        ask(&mut operator, "GET /healthz HTTP/1.0\r\n"),
        "HTTP/1.0 200 OK\r\n"
    );

    assert_eq!(
        ask(&mut first, "CONFIG SET maxclients 1000"),
        format!(
            "-ERR CONFIG SET failed (possibly related to argument 'maxclients') - The operating system is not able to \
             handle the specified number of clients, try with {allowed}\r\n"
        )
    );
    assert_eq!(
        ask(&mut first, &format!("CONFIG SET maxclients {allowed}")),
        "+OK\r\n"
    );
    drop(clients.pop());
    until("a place to be given back", || {
        ask(&mut node.client(), "PING") == "+PONG\r\n"
    });
    assert_eq!(node.said("cannot accept"), [""; 0]);
}

#[test]
fn the_soft_limit_of_files_is_raised_to_the_hard_one() {
    let node = Node::serving((64, 2_000));
    assert_eq!(clients_max(&mut node.client()), 1_000);
    let clients: Vec<_> = (0..100).map(|_| node.client()).collect();
    for mut client in clients {
        assert_eq!(ask(&mut client, "PING"), "+PONG\r\n");
    }
}

#[test]
fn a_limit_of_files_that_leaves_none_for_clients_is_refused() {
    let mut node = Node::start((64, 100));
    until("the node to end", || {
        let ended = node.child.try_wait().unwrap();
        ended
            .inspect(|status| assert_eq!(status.code(), Some(1)))
            .is_some()
    });
    let said = node.said("error: ");
    assert!(
        said.len() == 1 && said[0].contains("may have 100 files open"),
        "{said:?}"
    );
}

#[test]
fn a_client_that_cannot_be_accepted_waits_and_the_log_says_so_once() {
    let node = Node::serving((64, 1_000));
    let mut before = node.client();
    assert_eq!(ask(&mut before, "PING"), "+PONG\r\n");
    node.set_soft_limit(node.open_files());
    let mut clients: Vec<_> = (0..8).map(|_| node.client()).collect();
    until("the log to say it", || {
        !node.said("cannot accept").is_empty()
    });
    assert_eq!(ask(&mut before, "PING"), "+PONG\r\n");
    node.set_soft_limit(1_000);
    for client in &mut clients {
        assert_eq!(ask(client, "PING"), "+PONG\r\n");
    }
    let said = node.said("cannot accept");
    assert_eq!(said.len(), 1, "{said:?}");
}

#[test]
fn http_on_the_redis_port_is_logged_once_with_its_source() {
    let node = Node::serving((64, 1_000));
    for _ in 0..20 {
        let mut browser = node.client();
        let request = "POST / HTTP/1.1\r\nHost: foo\r\n\r\nSET k v";
        assert_eq!(ask(&mut browser, request), "", "it is hung up on");
    }
    let said = node.said("HTTP");
    assert!(
        said.len() == 1 && said[0].contains("address=127.0.0.1:"),
        "{said:?}"
    );
}
