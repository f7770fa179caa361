//! A process that stands still or was killed: what is said of it.

use std::process::Command;

use serde_json::Value;

use crate::cluster::{A, B, C, Cluster};
use crate::common::{BINARY, until};

#[test]
fn a_region_that_is_frozen_is_named_by_verify_with_the_reason() {
    let cluster = Cluster::new("delay = \"1ms\"");
    let nodes = [A, B, C].map(|region| cluster.start(region));
    cluster.until_linked(&[A, B, C]);
    nodes[C].freeze();
    let admins = [A, B, C].map(|region| cluster.admin(region));
    let verify = |more: &[&str]| {
        let mut asked = Command::new(BINARY);
        asked.args(["verify", "--timeout", "1ms"]).args(more);
        asked.arg("--admin").args(&admins).output().unwrap()
    };
    let said = verify(&[]);
    let text = String::from_utf8(said.stdout).unwrap();
    let line = format!("c does not answer on {}: nothing came within", admins[C]);
    assert!(
        said.status.code() == Some(2) && text.contains(&line),
        "{text}"
    );
    let said = verify(&["--json"]);
    let all: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(said.status.code(), Some(2));
    assert_eq!(
        (&all["outcome"], &all["equal"]),
        (&"unknown".into(), &false.into())
    );
    let silent = &all["silent"][0];
    assert_eq!(silent["regions"], serde_json::json!(["c"]), "{all}");
    assert_eq!(silent["admin"], admins[C].as_str());
    assert!(
        silent["reason"]
            .as_str()
            .is_some_and(|why| why.contains("frozen")),
        "{all}"
    );
}

#[test]
fn wait_does_not_count_a_peer_that_was_killed_once_it_is_silent() {
    let cluster = Cluster::new("delay = \"1ms\"");
    let [_a, b] = [A, B].map(|region| cluster.start(region));
    cluster.until_linked(&[A, B]);
    let mut client = cluster.client(A);
    assert_eq!(client.ask("SET key value"), "+OK");
    assert_eq!(client.ask("WAIT 1 0"), ":1");
    drop(b);
    until("the silence to be noticed", || {
        let status = cluster.status(A);
        let mut links = status["links"].as_array().unwrap().iter();
        let link = links.find(|link| link["region"] == "b").unwrap();
        link["silent"] == true || link["state"] != "up"
    });
    assert_eq!(client.ask("WAIT 1 100"), ":0");
}
