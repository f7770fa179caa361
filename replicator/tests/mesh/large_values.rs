//! What a large value does to everything else on its link.

use std::time::{Duration, Instant};

use greenwich_proto::netem::LinkProfile;
use greenwich_replicator::emulation::EmulationConfig;

use crate::common::{Cluster, Node, REGIONS, until};

const LARGE: usize = 8;
const LARGE_BYTES: usize = 20_000_000;

/// How much later the small updates may be: what waits for a large value is later by hundreds of times, what shares a busy
/// machine with it by a few.
const STRETCH_MAX: u32 = 10;

/// 50 Mbit/s over 20 ms.
fn narrow() -> LinkProfile {
    LinkProfile {
        rate_bytes_per_s: Some(50_000_000 / 8),
        ..LinkProfile::with_rtt_us(40_000)
    }
}

/// Lags of small updates from one node to the other, sorted.
fn lags(from: &Node, to: &Node, prefix: &str) -> Vec<Duration> {
    const UPDATES: u32 = 300;
    const PACE: Duration = Duration::from_millis(5);
    let keys: Vec<String> = (0..UPDATES).map(|n| format!("{prefix}{n}")).collect();
    let start = Instant::now();
    let mut written = Vec::new();
    for (number, key) in (0..).zip(&keys) {
        std::thread::sleep((start + number * PACE).saturating_duration_since(Instant::now()));
        from.set(key, &[7; 100]);
        written.push(Instant::now());
    }
    until("every small update arrived", || {
        keys.iter().all(|key| to.keys.since(key).is_some())
    });
    let lags = keys.iter().zip(written);
    let mut lags: Vec<Duration> = lags
        .map(|(key, at)| to.keys.since(key).unwrap().saturating_duration_since(at))
        .collect();
    lags.sort_unstable();
    lags
}

#[test]
fn small_updates_do_not_wait_for_large_values() {
    let cluster = Cluster::new();
    let mut config = cluster.config(0);
    config.peers = vec![cluster.peer(1)];
    config.endpoint.emulation = Some(EmulationConfig {
        links: vec![(REGIONS[1].to_owned(), narrow())],
        seed: 1,
    });
    let east = Node::start(config);
    let west = cluster.start(1, &[0]);
    until("the link is up", || east.is_up(0) && west.is_up(0));
    let alone = lags(&east, &west, "alone");
    for number in 0..LARGE {
        east.set(&format!("large{number}"), &vec![7; LARGE_BYTES]);
    }
    let beside = lags(&east, &west, "beside");
    let of = |lags: &[Duration], share: usize| lags[lags.len() * share / 100];
    println!(
        "p50 {:?} alone, {:?} beside; p90 {:?} alone, {:?} beside; worst {:?} alone, {:?} beside",
        of(&alone, 50),
        of(&beside, 50),
        of(&alone, 90),
        of(&beside, 90),
        of(&alone, 99),
        of(&beside, 99),
    );
    for share in [50, 90] {
        let (alone, beside) = (of(&alone, share), of(&beside, share));
        assert!(
            beside < STRETCH_MAX * alone,
            "p{share} {alone:?} alone, {beside:?} beside"
        );
    }
    let arrived = (0..LARGE).filter(|n| west.keys.since(&format!("large{n}")).is_some());
    assert!(arrived.count() < LARGE, "the link was too fast to tell");
}
