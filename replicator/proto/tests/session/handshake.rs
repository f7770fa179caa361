//! What a handshake refuses, and what is told before and of it.

use std::time::Duration;

use greenwich_proto::{
    hlc::Origin,
    peer::{
        Input, Limits, Output, State,
        handshake::{Sign, TurnedAway, Twin},
    },
    wire::control::{Control, Hello},
};

use super::mem::{Pair, Setup, WALL};

/// Connects two nodes of which the first was changed. Returns why the second refused the first.
fn refusal(change: impl Fn(&mut Pair)) -> String {
    let mut pair = Pair::new(&Setup::default());
    change(&mut pair);
    pair.connect();
    let State::Refused(reason) = pair.sides[1].peer.state() else {
        panic!("{:?}", pair.sides[1].peer.state());
    };
    assert_ne!(
        *pair.sides[0].peer.state(),
        State::Up,
        "the other side is told"
    );
    assert!(pair.sides[1].closed.is_some(), "the link is closed");
    let times_up = pair.sides.each_ref().map(|side| side.times_up);
    assert_eq!(times_up, [0, 0], "neither side says that the link is up");
    reason.clone()
}

fn assert_names(reason: &str, values: &[&str]) {
    assert!(
        values.iter().all(|value| reason.contains(value)),
        "{reason} names {values:?}"
    );
}

#[test]
fn a_refusal_names_both_values() {
    assert_names(
        &refusal(|pair| pair.sides[0].identity.cluster = "prod".into()),
        &["cluster", "prod", "test"],
    );
    assert_names(
        &refusal(|pair| pair.sides[0].identity.rules = 0xabc),
        &["rules", "0abc", "0007"],
    );
    assert_names(
        &refusal(|pair| pair.sides[0].identity.region = "mars".into()),
        &["region", "mars", "region1"],
    );
    assert_names(
        &refusal(|pair| pair.sides[0].identity.origin = Origin(9)),
        &["region", "id 9", "id 1"],
    );
    let ahead = |pair: &mut Pair| pair.sides[0].wall = pair.sides[0].wall + Duration::from_mins(10);
    assert_names(&refusal(ahead), &["clock", "600000 ms", "5000 ms"]);
}

#[test]
fn a_refusal_of_the_hello_itself_names_both_values() {
    let refused = |change: fn(&mut Hello)| {
        let mut pair = Pair::new(&Setup::default());
        let out = pair.sides[0].handle(pair.now, Input::Connected);
        let [Output::Control(bytes)] = out.as_slice() else {
            panic!("{out:?}")
        };
        let Ok(Some(Control::Hello(mut hello))) = Control::decode(bytes) else {
            panic!("a hello comes first")
        };
        change(&mut hello);
        pair.tell(1, Input::Connected);
        pair.tell(1, Input::Control(&Control::Hello(hello).encode()));
        match pair.sides[1].peer.state() {
            State::Refused(reason) => reason.clone(),
            other @ (State::Down | State::Handshaking | State::Up) => panic!("{other:?}"),
        }
    };
    let wire = refused(|hello| (hello.wire, hello.wire_min) = (9, 8));
    assert_names(&wire, &["wire version", "8 to 9", "1 to 3"]);
    assert_names(&refused(|hello| hello.lanes = 32), &["lanes", "32", "16"]);
    let ahead = refused(|hello| {
        hello.resume.incarnation = 1_000;
        hello.resume.applied = vec![5; 16];
    });
    assert_names(&ahead, &["resume", "5", "0"]);
}

#[test]
fn an_earlier_incarnation_is_refused() {
    let mut pair = Pair::new(&Setup::default());
    pair.connect();
    pair.disconnect();
    pair.sides[0].identity.incarnation = 900;
    pair.connect();
    let State::Refused(reason) = pair.sides[1].peer.state() else {
        panic!("it is taken")
    };
    assert_names(reason, &["incarnation", "900", "1000"]);
}

/// What becomes of a process of region 1, started at this incarnation, that dials region 2 while that has a living link with
/// one that started at 1,000.
fn rival(incarnation: u64) -> TurnedAway {
    let mut pair = Pair::new(&Setup::default());
    pair.connect();
    pair.sides[0].identity.incarnation = incarnation;
    let said = pair.sides[0].handle(pair.now, Input::Connected);
    let [Output::Control(hello)] = said.as_slice() else {
        panic!("{said:?}")
    };
    pair.sides[1]
        .contest(hello, Sign::Life)
        .expect_err("its rival lives")
}

#[test]
fn of_two_processes_the_earlier_one_is_superseded_and_the_later_one_is_not() {
    assert_eq!(rival(1_001).twin, Some(Twin::Later(1_001)));
    assert_eq!(rival(999).twin, Some(Twin::Earlier(999)));
    let ahead = Duration::from_hours(24).as_millis();
    let ahead = WALL.0 + u64::try_from(ahead).expect("a day fits");
    assert_eq!(rival(ahead).twin, None, "its clock is wrong");
}

#[test]
fn who_was_superseded_is_told_so_also_once_the_later_process_is_gone() {
    let mut pair = Pair::new(&Setup::default());
    pair.connect();
    pair.disconnect();
    let closed_for = |pair: &mut Pair, incarnation| {
        pair.sides[0].identity.incarnation = incarnation;
        pair.sides[1].closed = None;
        pair.connect();
        let closed = pair.sides[1].closed.take();
        pair.disconnect();
        closed.map(|turned_away| turned_away.twin)
    };
    assert_eq!(closed_for(&mut pair, 999), Some(Some(Twin::Earlier(999))));
    assert_eq!(closed_for(&mut pair, 1_000), None, "it dials again");
    assert_eq!(closed_for(&mut pair, 1_001), None, "it started anew");
    assert_eq!(
        closed_for(&mut pair, 1_000),
        Some(Some(Twin::Earlier(1_000)))
    );
    pair.sides[0].identity.cluster = "another".to_owned();
    assert_eq!(
        closed_for(&mut pair, 999),
        Some(None),
        "nothing is known of it"
    );
}

#[test]
fn an_incarnation_that_lies_ahead_is_refused_and_not_remembered() {
    let mut pair = Pair::new(&Setup::default());
    let day = Duration::from_hours(24);
    let right = pair.sides[0].identity.incarnation;
    // Its clock is right by now; it was a day ahead when it started.
    pair.sides[0].identity.incarnation = (pair.sides[0].wall + day).0;
    pair.connect();
    let State::Refused(reason) = pair.sides[1].peer.state() else {
        panic!("it is taken")
    };
    assert_names(
        reason,
        &["incarnation", "87400000", "86400000 ms", "5000 ms"],
    );
    pair.disconnect();
    pair.sides[0].identity.incarnation = right + 1;
    pair.connect();
    assert_eq!(*pair.sides[1].peer.state(), State::Up);
}

#[test]
fn how_far_a_peers_clock_is_off_is_seen_while_the_link_lasts_and_when_it_is_refused() {
    let mut pair = Pair::new(&Setup::default());
    let lead_of_other = |pair: &Pair, side: usize| pair.sides[side].report().clock_lead_ms;
    assert_eq!(lead_of_other(&pair, 1), None);
    pair.sides[0].wall = pair.sides[0].wall + Duration::from_millis(700);
    pair.connect();
    assert_eq!(
        [0, 1].map(|side| lead_of_other(&pair, side)),
        [Some(-700), Some(700)]
    );
    // It is set while the link is up; what was heard before counts for some seconds more.
    pair.sides[0].wall = pair.sides[1].wall;
    (0..30).for_each(|_| pair.settle());
    assert_eq!(
        [0, 1].map(|side| lead_of_other(&pair, side)),
        [Some(0), Some(0)]
    );
    pair.disconnect();
    pair.sides[0].wall = pair.sides[1].wall + Duration::from_mins(1);
    pair.connect();
    assert!(matches!(pair.sides[1].peer.state(), State::Refused(_)));
    assert_eq!(lead_of_other(&pair, 1), Some(60_000));
}

/// What a node tells a peer that speaks a wire version, and then says this.
fn told_to(wire: u32, frame: Control) -> Vec<Control> {
    let mut pair = Pair::new(&Setup::default());
    let out = pair.sides[0].handle(pair.now, Input::Connected);
    let [Output::Control(bytes)] = out.as_slice() else {
        panic!("{out:?}")
    };
    let Ok(Some(Control::Hello(mut hello))) = Control::decode(bytes) else {
        panic!("a hello comes first")
    };
    hello.wire = wire;
    let mut told = pair.sides[1].handle(pair.now, Input::Connected);
    for frame in [Control::Hello(hello), Control::Ready, frame] {
        told.extend(pair.sides[1].handle(pair.now, Input::Control(&frame.encode())));
    }
    assert_eq!(*pair.sides[1].peer.state(), State::Up);
    let frames = told.iter().filter_map(|output| match output {
        Output::Control(bytes) => Control::decode(bytes).expect("nodes send frames"),
        Output::Batch(_) | Output::Established | Output::Close(_) => None,
    });
    frames.collect()
}

#[test]
fn a_peer_of_the_first_wire_version_is_not_told_what_it_does_not_know() {
    let is_new = |frame: &Control| {
        matches!(
            frame,
            Control::Clock(_) | Control::Want | Control::Sent(_) | Control::Compare(_)
        )
    };
    assert!(!told_to(1, Control::Ack(Vec::new())).iter().any(is_new));
}

#[test]
fn a_peer_is_told_how_much_there_is_from_the_third_wire_version_on() {
    let is_told = |wire| {
        let told = told_to(wire, Control::Want);
        told.iter().any(|frame| matches!(frame, Control::Count(_)))
    };
    assert_eq!([2, 3].map(is_told), [false, true]);
}

#[test]
fn a_link_without_a_hello_is_given_up() {
    let mut pair = Pair::new(&Setup::default());
    pair.tell(0, Input::Connected);
    pair.now = pair.now + Limits::default().hello_timeout;
    pair.tell(0, Input::Tick);
    assert!(
        matches!(pair.sides[0].peer.state(), State::Refused(reason) if reason.contains("no hello within 5s"))
    );
}
