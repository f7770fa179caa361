//! A node that loads says how far it is, wherever it is asked.

use serde_json::Value;

use crate::cluster::{A, B, C, Cluster, ask_http, run};
use crate::common::until;

const KEYS: usize = 20_000;

/// A number that a line of text names.
fn number(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.rsplit([':', ' ']).next()?.trim().parse().ok()
}

#[test]
fn a_node_that_loads_says_how_far_it_is_and_how_long_it_takes() {
    // Slow enough that it is seen while it loads.
    let cluster = Cluster::new("rate = \"2mbit\"");
    let _others = [A, B].map(|region| cluster.start(region));
    cluster.until_linked(&[A, B]);
    let value = "v".repeat(100);
    let mut client = cluster.client(A);
    for key in 0..KEYS {
        client.ask(&format!("SET key:{key} {value}"));
    }
    let keys = |region: usize| cluster.status(region)["keys"] == KEYS;
    until("the keys in b", || keys(B));

    let _c = cluster.start(C);
    let admin = cluster.admin(C);
    until("an estimate", || {
        cluster.status(C)["loading"]["seconds_left"].is_number()
    });
    let loading = cluster.status(C)["loading"].take();
    assert_eq!(loading["total_keys"], KEYS, "{loading}");
    assert!(loading["keys"].as_u64() < Some(KEYS as u64), "{loading}");
    assert!(loading["keys_per_second"].as_f64() > Some(0.0), "{loading}");
    assert_eq!(loading["awaited"], serde_json::json!(["a", "b"]));

    let info = cluster.client(C).bulk("INFO persistence").unwrap();
    let field = |name| number(&info, name);
    assert_eq!(field("loading:"), Some(1.0), "{info}");
    assert_eq!(field("loading_total_keys:"), Some(KEYS as f64), "{info}");
    let percent = field("loading_loaded_perc:").unwrap();
    assert!((0.0..100.0).contains(&percent), "{info}");
    assert!(field("loading_loaded_keys:") > Some(0.0), "{info}");
    for name in [
        "loading_start_time:",
        "loading_keys_per_second:",
        "loading_eta_seconds:",
    ] {
        assert!(field(name) > Some(0.0), "{name} in {info}");
    }

    let ready = ask_http(&admin, "/readyz");
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    let text = run(&["status", "--admin", &admin]);
    for said in [&ready, &text] {
        assert!(
            said.contains(&format!(" of about {KEYS} keys have arrived (")),
            "{said}"
        );
        assert!(said.contains(" s left; not all of a, b yet"), "{said}");
    }
    assert!(text.contains("loading, "), "{text}");
    let metrics = ask_http(&admin, "/metrics");
    assert_eq!(number(&metrics, "greenwich_node_loading{"), Some(1.0));
    let total = number(&metrics, "greenwich_node_loading_total_keys{");
    assert_eq!(total, Some(KEYS as f64), "{metrics}");
    for name in [
        "greenwich_node_loading_keys_per_second{",
        "greenwich_node_loading_seconds_left{",
    ] {
        assert!(number(&metrics, name) > Some(0.0), "{name} in {metrics}");
    }

    cluster.until_linked(&[A, B, C]);
    assert!(keys(C));
    assert_eq!(cluster.status(C)["loading"], Value::Null);
    let info = cluster.client(C).bulk("INFO persistence").unwrap();
    assert_eq!(number(&info, "loading:"), Some(0.0), "{info}");
    assert!(!info.contains("loading_start_time"), "{info}");
}
