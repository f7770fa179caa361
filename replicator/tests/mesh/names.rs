//! Peers whose names lead nowhere, or not where they should.

use greenwich_proto::peer::State;

use crate::common::{Cluster, Node, until};

#[test]
fn a_node_starts_though_a_peers_name_does_not_resolve() {
    let cluster = Cluster::new();
    let west = cluster.start(1, &[0]);
    let mut config = cluster.config(0);
    config.peers = vec![cluster.peer(1), cluster.peer_at(2, "a..b:7500".to_owned())];
    let east = Node::start(config);
    until("the other peer is linked", || {
        east.is_up(0) && west.is_up(0)
    });
    until("the reason shows", || {
        east.reason(1).contains("cannot resolve a..b:7500")
    });
    let (report, view) = east.link(1);
    assert_eq!((report.state, report.connects), (State::Down, 0));
    assert!(!view.is_refused);
}

#[test]
fn localhost_leads_to_a_peer_that_listens_on_one_family() {
    let cluster = Cluster::new();
    let west = cluster.start(1, &[0]);
    for bind in ["0.0.0.0:0", "[::]:0"] {
        let mut config = cluster.config(0);
        config.endpoint.bind = bind.parse().unwrap();
        let name = format!("localhost:{}", cluster.addresses[1].port());
        config.peers = vec![cluster.peer_at(1, name)];
        let east = Node::start(config);
        until("the link is up", || east.is_up(0) && west.is_up(0));
    }
}
