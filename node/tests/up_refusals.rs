//! `greenwich up` when something is in the way: one sentence, a failure, and nothing left running.

use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Output};

/// Ports of two regions: Redis, admin and replication.
struct Ports {
    redis: u16,
    admin: u16,
    replication: u16,
}

/// Finds three pairs of neighbouring free ports, away from those that the system hands out.
fn free_ports(start: u16) -> Ports {
    let free = |port: u16| {
        (port..port + 2).all(|port| {
            TcpListener::bind(("127.0.0.1", port)).is_ok()
                && UdpSocket::bind(("127.0.0.1", port)).is_ok()
        })
    };
    let mut pairs = (start..start + 1000).step_by(2).filter(|port| free(*port));
    let mut next = || {
        pairs
            .next()
            .expect("a thousand ports hold three free pairs")
    };
    Ports {
        redis: next(),
        admin: next(),
        replication: next(),
    }
}

fn up(data: &Path, ports: &Ports) -> Output {
    Command::new(env!("CARGO_BIN_EXE_greenwich"))
        .args(["up", "--regions", "a,b", "--data"])
        .arg(data)
        .args(["--port", &ports.redis.to_string()])
        .args(["--admin-port", &ports.admin.to_string()])
        .args(["--replication-port", &ports.replication.to_string()])
        .output()
        .expect("the binary was built for this test")
}

/// The one line on standard error of a start that must fail.
fn refusal(data: &Path, ports: &Ports) -> String {
    let done = up(data, ports);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(!data.join("up.json").exists());
    said
}

/// A node that was started opens its log first.
fn no_node_was_started(data: &Path) -> bool {
    !data.join("a/node.log").exists() && !data.join("b/node.log").exists()
}

#[test]
fn a_port_in_use_is_named_whatever_its_purpose() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let ports = free_ports(21_000);
    {
        let _taken = TcpListener::bind(("127.0.0.1", ports.redis + 1)).unwrap();
        let said = refusal(&data, &ports);
        let named = format!(
            "TCP 127.0.0.1:{} (Redis port of b) is already in use",
            ports.redis + 1
        );
        assert!(
            said.contains(&named) && said.contains("choose other ports with --port"),
            "{said}"
        );
    }
    {
        let _taken = TcpListener::bind(("127.0.0.1", ports.admin)).unwrap();
        let said = refusal(&data, &ports);
        assert!(
            said.contains("(admin port of a) is already in use"),
            "{said}"
        );
    }
    let _taken = UdpSocket::bind(("127.0.0.1", ports.replication)).unwrap();
    let said = refusal(&data, &ports);
    assert!(
        said.contains("UDP") && said.contains("(replication port of a) is already in use"),
        "{said}"
    );
    assert!(no_node_was_started(&data));
}

#[test]
fn a_second_up_on_the_same_data_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    fs::create_dir(&data).unwrap();
    let lock = File::create(data.join("up.lock")).unwrap();
    lock.try_lock().unwrap();
    let said = refusal(&data, &free_ports(22_000));
    assert!(said.contains("another `greenwich up` runs on"), "{said}");
    assert!(
        said.contains("choose another directory with --data"),
        "{said}"
    );
    assert!(no_node_was_started(&data));
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let said = refusal(&file, &free_ports(23_000));
    assert!(
        said.contains("cannot write to the data directory"),
        "{said}"
    );
    assert!(said.contains("choose another with --data"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "in the way");
}

#[test]
fn a_bad_certificate_directory_leaves_nothing_running() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("certs"), "in the way").unwrap();
    let said = refusal(&data, &free_ports(24_000));
    assert!(said.contains("certs"), "{said}");
    assert!(no_node_was_started(&data));
}
