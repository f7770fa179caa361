//! What a node does without regions that stay away.

use std::time::Duration;

use greenwich_proto::{hlc::Stamp, store::Store};

use crate::{
    common::{Cluster, Node, until, wall},
    keys::HUSK_BYTES,
};

#[test]
fn a_node_whose_peers_are_all_away_settles_without_them_and_waits_for_whoever_is_back() {
    let cluster = Cluster::new();
    let mut config = cluster.config(0);
    config.peers = vec![cluster.peer(1), cluster.peer(2)];
    config.horizon.absence = Duration::from_secs(1);
    let east = Node::start(config);
    let is_released = |peer: usize| east.replicator.reports()[peer].is_released;
    until("nobody is waited for", || is_released(0) && is_released(1));
    let now = Stamp::at(wall());
    until("the dead may be forgotten", || {
        east.keys.settled().stamp() > now
    });
    let west = cluster.start(1, &[0]);
    until("the link is up", || east.is_up(0) && west.is_up(0));
    assert!(!is_released(0) && is_released(1));
}

#[test]
fn a_node_whose_memory_is_short_waits_for_nobody_who_stays_away() {
    let cluster = Cluster::new();
    let mut config = cluster.config(0);
    config.peers = vec![cluster.peer(1), cluster.peer(2)];
    config.horizon.husk_bytes = HUSK_BYTES - 1;
    let east = Node::start(config);
    let _west = cluster.start(1, &[0]);
    until("ap-south is not waited for", || {
        east.replicator.reports()[1].is_released
    });
    assert!(!east.replicator.reports()[0].is_released, "it has a link");
}
