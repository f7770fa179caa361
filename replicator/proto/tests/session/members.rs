//! Regions that are added and removed while nodes run, as two sessions tell each other.

use greenwich_proto::{
    hlc::{Origin, Stamp},
    log::PeerIndex,
    members::{Member, Members},
    peer::{Input, Output, State, handshake::Expected},
    time::Wall,
    wire::control::{Control, Regions, Twin},
};

use super::mem::{Pair, Setup, Side, WALL};

fn add(side: &Side, name: &str, id: u8) {
    let region = Expected {
        region: name.to_owned(),
        origin: Origin(id),
    };
    let stamp = side.log.clock().stamp(side.wall);
    let address = format!("{name}:7401");
    let added = side
        .roster
        .add(region, address, stamp, &side.log, &side.lives);
    assert_eq!(added, Ok(true));
}

#[test]
fn what_one_is_told_the_other_confirms() {
    let mut pair = Pair::new(&Setup::default());
    pair.connect();
    let is_informed = |pair: &Pair| pair.sides[0].peer.is_informed(&pair.sides[0].roster);
    assert!(is_informed(&pair), "there is nothing to know");
    add(&pair.sides[0], "us-west", 4);
    assert!(!is_informed(&pair), "it was not told yet");
    pair.settle();
    assert!(is_informed(&pair));
    let log_peers = pair.sides.each_ref().map(|side| side.log.peers());
    assert_eq!(log_peers, [2, 2]);
    assert_eq!(pair.sides[0].peer.reached_at(), Some("region1:7401"));
    pair.disconnect();
    assert!(!is_informed(&pair), "it may have another life");
}

#[test]
fn who_was_away_learns_it_with_the_link() {
    let mut pair = Pair::new(&Setup::default());
    pair.connect();
    pair.disconnect();
    add(&pair.sides[1], "us-west", 4);
    add(&pair.sides[0], "us-north", 5);
    pair.connect();
    assert_eq!(
        pair.sides[0].roster.members(),
        pair.sides[1].roster.members()
    );
    assert_eq!(pair.sides[0].roster.seats().len(), 3);
}

#[test]
fn a_region_that_was_added_is_waited_for_by_all() {
    let mut pair = Pair::new(&Setup::default());
    pair.connect();
    add(&pair.sides[0], "us-west", 4);
    pair.settle();
    let missing = pair.sides[1].lives.missing();
    assert_eq!(missing, [PeerIndex(1)], "the other side waits for it, too");
}

#[test]
fn a_region_that_was_removed_is_refused_and_told_why() {
    let mut pair = Pair::new(&Setup::default());
    pair.connect();
    let side = &pair.sides[0];
    let stamp = side.log.clock().stamp(side.wall);
    side.roster
        .remove("region2", stamp, &side.log, &side.lives)
        .unwrap();
    pair.settle();
    for side in &pair.sides {
        let State::Refused(reason) = side.peer.state() else {
            panic!("{:?}", side.peer.state());
        };
        assert!(
            reason.contains("region2 was removed from the cluster"),
            "{reason}"
        );
    }
    assert_eq!(pair.sides[0].log.peers(), 0);
    pair.disconnect();
    pair.connect();
    assert!(matches!(pair.sides[0].peer.state(), State::Refused(_)));
    // It is back, but its node began before that.
    let side = &pair.sides[0];
    let region = Expected {
        region: "region2".to_owned(),
        origin: Origin(2),
    };
    let stamp = side.log.clock().stamp(side.wall);
    side.roster
        .add(
            region,
            "region2:1".to_owned(),
            stamp,
            &side.log,
            &side.lives,
        )
        .unwrap();
    pair.disconnect();
    pair.connect();
    let State::Refused(reason) = pair.sides[0].peer.state() else {
        panic!("{:?}", pair.sides[0].peer.state());
    };
    assert!(reason.contains("restart it"), "{reason}");
}

/// Has the second side say something to the first.
fn said(pair: &mut Pair, frame: &Control) -> State {
    pair.connect();
    pair.tell(0, Input::Control(&frame.encode()));
    pair.sides[0].peer.state().clone()
}

#[test]
fn a_register_that_no_node_makes_ends_the_link() {
    let with = |change: &dyn Fn(&mut Member)| {
        let mut member = Member {
            removals: 0,
            stamp: Stamp::at(WALL),
            id: 9,
            region: "mars".to_owned(),
            address: Some("mars:1".to_owned()),
            since: Stamp::ZERO,
        };
        change(&mut member);
        let mut members = Members::default();
        members.put(member);
        let mut pair = Pair::new(&Setup::default());
        let reached_at = String::new();
        said(
            &mut pair,
            &Control::Regions(Regions {
                members,
                reached_at,
            }),
        )
    };
    assert_eq!(with(&|_| {}), State::Up);
    assert!(matches!(with(&|member| member.id = 99), State::Refused(_)));
    let ahead = Stamp::at(Wall(WALL.0 + 60_000));
    let far = with(&|member| member.stamp = ahead);
    assert!(
        matches!(far, State::Refused(_)),
        "its clock is ahead: {far:?}"
    );
}

#[test]
fn who_is_not_new_enough_is_told_nothing_of_regions_and_twins() {
    let twin = Twin {
        incarnation: 7,
        address: "192.0.2.1:7401".to_owned(),
    };
    let mut pair = Pair::new(&Setup::default());
    pair.connect();
    let frame = pair.sides[0].peer.tell_twin(twin.clone()).unwrap();
    pair.tell(1, Input::Control(&frame));
    assert_eq!(pair.sides[1].peer.twin().map(|(_, twin)| twin), Some(&twin));

    let mut pair = Pair::new(&Setup::default());
    let hello = pair.sides[1].handle(pair.now, Input::Connected).remove(0);
    let Output::Control(bytes) = hello else {
        panic!("a hello comes first");
    };
    let Ok(Some(Control::Hello(mut hello))) = Control::decode(&bytes) else {
        panic!("a hello comes first");
    };
    hello.wire = 2;
    pair.sides[0].handle(pair.now, Input::Connected);
    let hello = Control::Hello(hello).encode();
    let answer = pair.sides[0].handle(pair.now, Input::Control(&hello));
    assert_eq!(*pair.sides[0].peer.state(), State::Up);
    let is_news = |output: &Output| match output {
        Output::Control(bytes) => matches!(Control::decode(bytes), Ok(Some(Control::Regions(_)))),
        Output::Batch(_) | Output::Established | Output::Close(_) => false,
    };
    assert!(!answer.iter().any(is_news));
    assert_eq!(pair.sides[0].peer.tell_twin(twin), None);
}
