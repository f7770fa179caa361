//! Two processes that claim one region.

use greenwich_proto::{
    log::LANES,
    peer::State,
    wire::{
        WIRE_VERSION, WIRE_VERSION_MIN,
        control::{Control, Hello, Resume},
    },
};
use greenwich_replicator::{
    ReplicatorConfig,
    endpoint::Endpoint,
    link::{LinkReceiver, LinkSender},
};

use crate::common::{Cluster, Node, free_socket, until, until_told, wall};

/// Another process with the certificate of region 0: its own port, its own data directory, started later by this much.
fn twin(cluster: &Cluster, later_ms: u64) -> ReplicatorConfig {
    let mut config = cluster.config(0);
    config.endpoint.bind = free_socket().local_addr().unwrap();
    config.endpoint.reset_key = None;
    config.identity.incarnation += later_ms;
    config.peers = vec![cluster.peer(1)];
    config
}

#[test]
fn a_second_process_of_a_region_does_not_take_a_living_link() {
    let cluster = Cluster::new();
    let west = cluster.start(1, &[0]);
    let first = Node::start(twin(&cluster, 0));
    until("the first is linked", || first.is_up(0) && west.is_up(0));
    let second = Node::start(twin(&cluster, 1_000));
    until_told(
        || format!("{:?}", second.link(0)),
        || matches!(&second.link(0).0.state, State::Refused(_)) || second.link(0).1.is_refused,
    );
    assert!(
        second.reason(0).contains("two nodes claim us-east"),
        "{}",
        second.reason(0)
    );
    until("the other side tells of it", || {
        west.reason(0).contains("two nodes claim us-east")
    });
    assert_eq!((west.is_up(0), west.link(0).0.connects), (true, 1));
    assert_eq!((first.is_up(0), first.link(0).0.connects), (true, 1));

    drop(first);
    until("the second takes over when the first is gone", || {
        second.is_up(0) && west.is_up(0) && west.reason(0).is_empty()
    });
    assert_eq!(west.link(0).0.connects, 2);
}

#[test]
fn an_earlier_process_of_a_region_learns_that_it_is_superseded_and_the_later_one_of_it() {
    let cluster = Cluster::new();
    let west = cluster.start(1, &[0]);
    let later = Node::start(twin(&cluster, 1_000));
    until("the later one is linked", || {
        later.is_up(0) && west.is_up(0)
    });
    let at = |incarnation| {
        let mut config = twin(&cluster, 0);
        config.identity.incarnation = incarnation;
        Node::start(config)
    };
    let earlier = at(later.incarnation - 1);
    let superseded = |node: &Node| node.replicator.superseded().borrow().clone();
    until("the earlier one learns of it", || {
        superseded(&earlier).is_some()
    });
    let said = superseded(&earlier).unwrap();
    assert_eq!(said.peer, "eu-west");
    for incarnation in [earlier.incarnation, later.incarnation] {
        assert!(said.reason.contains(&incarnation.to_string()), "{said}");
    }
    let told_of = || later.replicator.reports()[0].twin.clone();
    until("the later one is told", || told_of().is_some());
    assert_eq!(told_of().unwrap().incarnation, earlier.incarnation);
    until("the other side tells of it", || {
        west.reason(0).contains("was heard of before")
    });
    assert_eq!((west.is_up(0), west.link(0).0.connects), (true, 1));
    assert_eq!(superseded(&later), None);

    // Its peers remember it. A process that starts later yet is no twin of anybody.
    let (before, after) = (earlier.incarnation, later.incarnation + 1);
    drop((earlier, later));
    until("the link to end", || !west.is_up(0));
    let earlier = at(before);
    until("a peer without a link to say so as well", || {
        superseded(&earlier).is_some()
    });
    drop(earlier);
    let anew = at(after);
    until("the link", || anew.is_up(0) && west.is_up(0));
    assert_eq!(superseded(&anew), None);
}

/// The link of a process of region 0 that says hello and then no more than QUIC does.
async fn linked(config: ReplicatorConfig) -> (Endpoint, LinkSender, LinkReceiver) {
    let identity = config.identity;
    let address = config.peers[0].address.parse().unwrap();
    let endpoint = Endpoint::bind(config.endpoint).unwrap();
    let connection = endpoint.connect(address, "eu-west").await.unwrap();
    let (mut sender, receiver) = connection.open_link().await.unwrap();
    let hello = Hello {
        wire: WIRE_VERSION,
        wire_min: WIRE_VERSION_MIN,
        cluster: identity.cluster,
        region: identity.region,
        id: identity.origin.0,
        lanes: u32::try_from(LANES).unwrap(),
        rules: identity.rules,
        incarnation: identity.incarnation,
        wall: wall(),
        resume: Resume::default(),
    };
    let hello = Control::Hello(hello).encode();
    sender.send_control(&hello).unwrap();
    (endpoint, sender, receiver)
}

#[test]
fn a_process_that_was_killed_does_not_keep_its_successor_waiting_nor_have_it_refused() {
    let cluster = Cluster::new();
    let west = cluster.start(1, &[0]);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let killed = runtime.block_on(async {
        let link = linked(twin(&cluster, 0)).await;
        while !west.is_up(0) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        link
    });
    // Nothing of it speaks any more, not even to say good-bye.
    drop(runtime);
    let successor = Node::start(twin(&cluster, 1_000));
    until("the successor is linked", || {
        assert!(!successor.link(0).1.is_refused, "{}", successor.reason(0));
        successor.is_up(0) && west.link(0).0.incarnation == successor.incarnation
    });
    assert_eq!(west.link(0).0.connects, 2);
    drop(killed);
}
