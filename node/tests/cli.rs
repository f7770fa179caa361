//! The binary from outside: what it prints, and how it fails.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn greenwich(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_greenwich"))
        .args(args)
        .output()
        .expect("the binary was built for this test")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command that must fail with one line on standard error.
fn refusal(args: &[&str]) -> String {
    let done = greenwich(args);
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{args:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
    assert!(said.starts_with("error: "), "{args:?}: {said}");
    said
}

fn success(args: &[&str]) -> String {
    let done = greenwich(args);
    assert!(done.status.success(), "{args:?}: {}", text(&done.stderr));
    text(&done.stdout)
}

fn path(directory: &Path, name: &str) -> String {
    directory.join(name).display().to_string()
}

#[test]
fn help_names_every_command() {
    let help = success(&["--help"]);
    for command in ["up", "node", "status", "certs"] {
        assert!(
            help.lines()
                .any(|line| line.trim_start().starts_with(command)),
            "{help}"
        );
    }
    assert!(!success(&["node", "--help"]).contains("exit-with-stdin"));
}

#[test]
fn a_wrong_unit_on_the_command_line_says_what_is_allowed() {
    let done = greenwich(&["up", "--rtt", "80"]);
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(
        said.contains("\"80\" is not a duration such as \"80ms\""),
        "{said}"
    );
}

#[test]
fn the_printed_configuration_is_accepted_as_a_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let file = path(directory.path(), "node.toml");
    let defaults = success(&["node", "--print-config"]);
    assert!(defaults.contains("max_skew = \"5s\""), "{defaults}");
    fs::write(
        &file,
        defaults.replace("max_skew = \"5s\"", "max_skew = \"7s\""),
    )
    .unwrap();
    let printed = success(&["node", "--print-config", "--config", &file]);
    assert!(printed.contains("max_skew = \"7s\""), "{printed}");
}

#[test]
fn a_bad_configuration_is_refused_with_file_and_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = path(directory.path(), "node.toml");
    fs::write(
        &file,
        "[region]\nname = \"a\"\nid = 1\n[client]\nprot = 5\n",
    )
    .unwrap();
    let said = refusal(&["node", "--config", &file]);
    assert!(
        said.contains("node.toml:5: unknown field `prot`, expected one of `bind`"),
        "{said}"
    );
}

#[test]
fn what_the_system_says_is_printed_once() {
    let directory = tempfile::tempdir().unwrap();
    let missing = path(directory.path(), "none.toml");
    let said = refusal(&["node", "--config", &missing]);
    assert!(
        said.contains(&format!("cannot read the configuration {missing}: ")),
        "{said}"
    );
    assert_eq!(said.matches("No such file").count(), 1, "{said}");

    // A node that finds no certificates.
    let file = path(directory.path(), "node.toml");
    let any_port = "bind = \"127.0.0.1:0\"";
    let sections = ["client", "admin", "replication"].map(|it| format!("[{it}]\n{any_port}\n"));
    let peer = "[[replication.peers]]\nregion = \"b\"\nid = 2\naddress = \"127.0.0.1:9\"\n";
    let config = format!(
        "[region]\nname = \"a\"\nid = 1\n{}{peer}",
        sections.concat()
    );
    fs::write(&file, config).unwrap();
    let done = greenwich(&["node", "--config", &file]);
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("error: cannot use "), "{said}");
    assert_eq!(said.matches("No such file").count(), 1, "{said}");
}

#[test]
fn certificates_are_made_and_not_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let out = path(directory.path(), "certs");
    let said = refusal(&["certs", "node", "--out", &out, "--region", "eu-west"]);
    assert!(
        said.contains("make one first with `greenwich certs ca --out"),
        "{said}"
    );
    let said = success(&["certs", "ca", "--out", &out, "--cluster", "shop"]);
    assert!(said.contains("greenwich certs node --out"), "{said}");
    let said = success(&["certs", "node", "--out", &out, "--region", "eu-west"]);
    assert!(
        said.contains("for region eu-west of cluster shop"),
        "{said}"
    );
    let said = refusal(&["certs", "node", "--out", &out, "--region", "eu-west"]);
    assert!(
        said.contains("exists already: give --force to replace it"),
        "{said}"
    );
    success(&[
        "certs", "node", "--out", &out, "--region", "eu-west", "--force",
    ]);
    let said = refusal(&["certs", "node", "--out", &out, "--region", "EU"]);
    assert!(said.contains("`EU` is no name"), "{said}");
}

#[test]
fn status_of_nothing_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let said = refusal(&["status", "--data", &path(directory.path(), "none")]);
    assert!(said.contains("run `greenwich up`"), "{said}");
}

#[test]
fn status_without_an_answer_fails_and_shows_the_region() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let done = greenwich(&["status", "--admin", &free.to_string()]);
    assert_eq!(done.status.code(), Some(1));
    assert!(
        text(&done.stdout).contains("no answer"),
        "{}",
        text(&done.stdout)
    );
    let done = greenwich(&["status", "--json", "--admin", &free.to_string()]);
    assert_eq!(done.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(json["regions"][0]["admin"], free.to_string());
    assert!(json["regions"][0]["status"].is_null() && json["regions"][0]["error"].is_string());
}
