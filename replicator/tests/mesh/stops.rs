//! What a node says that stops.

use greenwich_proto::peer::State;

use crate::common::{Cluster, Node, until};

#[test]
fn a_node_that_stops_tells_what_each_peer_lacks_whether_linked_or_not() {
    let cluster = Cluster::new();
    let west = cluster.start(1, &[0]);
    let mut config = cluster.config(0);
    config.peers = vec![cluster.peer(1), cluster.peer(2)];
    let east = Node::start(config);
    until("the link is up", || east.is_up(0) && west.is_up(0));
    for number in 0..312 {
        east.set(&format!("key{number}"), b"value");
    }
    let left = east.replicator.stop();
    assert_eq!(west.keys.len(), 312, "a linked peer is waited for");
    let [south] = &left[..] else {
        panic!("{left:?}")
    };
    assert_eq!(south.to_string(), "ap-south lacked 312 updates (link down)");
    assert_eq!(south.state, State::Down);
}

#[test]
fn a_node_whose_peers_have_everything_has_nothing_to_tell() {
    let cluster = Cluster::new();
    let (east, west) = (cluster.start(0, &[1]), cluster.start(1, &[0]));
    until("the link is up", || east.is_up(0) && west.is_up(0));
    east.set("key", b"value");
    assert_eq!(east.replicator.stop(), []);
    assert_eq!(west.keys.len(), 1);
}
