//! What the core must not depend on, and who alone may name the transport. `clippy.toml` beside it forbids the same.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the check itself reads sources and asks cargo"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Runtimes, sockets, entropy: nothing of this is in the core's dependencies.
const FORBIDDEN_PACKAGES: [&str; 9] = [
    "tokio",
    "quinn",
    "quinn-proto",
    "rustls",
    "getrandom",
    "rand",
    "mio",
    "socket2",
    "async-io",
];

/// Ways to reach the clock, the network, threads or entropy from the standard library.
/// Words rather than paths: `use std::{net::…, time::…}` names no path as a whole.
const FORBIDDEN_NAMES: [&str; 18] = [
    "net",
    "io",
    "os",
    "tokio",
    "rand",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "ToSocketAddrs",
    "thread",
    "Instant",
    "SystemTime",
    "RandomState",
    "HashMap::new",
    "HashSet::new",
    "fs",
    "env",
    "process",
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn the_core_has_no_runtime_network_or_entropy_among_its_dependencies() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "-p",
            "greenwich-proto",
            "-e",
            "normal",
            "--offline",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .current_dir(workspace())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tree = String::from_utf8(output.stdout).expect("names are text");
    let packages: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(
        packages.contains(&"greenwich-proto") && packages.contains(&"hashbrown"),
        "{packages:?}"
    );
    for forbidden in FORBIDDEN_PACKAGES {
        assert!(
            !packages.contains(&forbidden),
            "greenwich-proto depends on {forbidden}"
        );
    }
}

#[test]
fn the_core_names_no_clock_socket_thread_or_entropy() {
    let mut files = 0;
    for path in rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let source = fs::read_to_string(&path).expect("a readable source");
        for forbidden in FORBIDDEN_NAMES {
            assert!(
                !names(&source, forbidden),
                "{} names {forbidden}",
                path.display()
            );
        }
        files += 1;
    }
    assert!(files > 20, "only {files} files were looked at");
}

/// Whether code names something, as a whole word; comments do not count.
fn names(source: &str, wanted: &str) -> bool {
    let is_part = |char: char| char.is_alphanumeric() || char == '_';
    source
        .lines()
        .filter_map(|line| line.split("//").next())
        .any(|code| {
            code.match_indices(wanted).any(|(at, _)| {
                !code[..at].ends_with(is_part) && !code[at + wanted.len()..].starts_with(is_part)
            })
        })
}

#[test]
fn a_forbidden_name_is_seen_however_it_is_imported() {
    let walked_around = "use std::{fs, net::TcpListener, time::Instant as I};";
    for wanted in ["fs", "TcpListener", "Instant"] {
        assert!(names(walked_around, wanted), "{wanted}");
    }
    assert!(!names("let offset = 1; // an Instant", "fs"));
    assert!(!names("let offset = 1; // an Instant", "Instant"));
}

#[test]
fn only_the_replicator_names_the_transport() {
    let mut naming = Vec::new();
    for package in [
        "node",
        "replicator",
        "replicator/proto",
        "replicator/sim",
        "bench",
    ] {
        let Ok(manifest) = fs::read_to_string(workspace().join(package).join("Cargo.toml")) else {
            continue;
        };
        let names = |line: &str| {
            ["quinn", "rustls", "rcgen"]
                .iter()
                .any(|name| line.trim_start().starts_with(name))
        };
        if manifest.lines().any(names) {
            naming.push(package);
        }
    }
    assert_eq!(naming, ["replicator"]);
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for found in fs::read_dir(folder).expect("a readable folder") {
        let path = found.expect("a readable folder").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
