//! A session that panics ends its link and nothing else.

use std::sync::atomic::Ordering;

use greenwich_proto::peer::State;

use crate::common::{Cluster, until};

#[test]
fn a_driver_that_panics_says_so_and_starts_again() {
    let cluster = Cluster::new();
    let east = cluster.start(0, &[1, 2]);
    let west = cluster.start(1, &[0, 2]);
    let south = cluster.start(2, &[0, 1]);
    let nodes = [&east, &west, &south];
    until("the mesh is up", || {
        nodes.iter().all(|node| node.is_up(0) && node.is_up(1))
    });
    west.set("before", b"1");
    until("it arrives", || {
        east.keys.len() == 1 && south.keys.len() == 1
    });

    west.keys.panics_next.store(true, Ordering::SeqCst);
    east.set("key", b"2");
    until("the panic shows", || {
        let (report, view) = west.link(0);
        let reason = view.reason.unwrap_or_default();
        let is_shown = reason.contains("panic") && reason.contains("told to panic");
        is_shown && report.state == State::Down && !view.is_connected
    });
    until("the link is up again and has everything", || {
        west.is_up(0) && west.reason(0).is_empty() && west.keys.since("key").is_some()
    });
    west.set("after", b"3");
    until("the other way, too", || {
        nodes.iter().all(|node| node.keys.len() == 3)
    });
    assert_eq!(west.link(0).0.connects, 2);
    assert_eq!(west.link(1).0.connects, 1, "the other link is untouched");
    assert!(west.is_up(1) && south.is_up(1));
}
