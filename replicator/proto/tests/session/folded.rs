//! A peer that would count folded totals twice is sent none.

use greenwich_proto::{
    decimal::Decimal,
    entry::{
        EntryRef,
        totals::{Actor, Total, Totals},
    },
    hlc::{Origin, Stamp, Version},
    peer::{Input, Output, State},
    settled::Settled,
    store::Store,
    wire::control::Control,
};

use super::mem::{Pair, Setup, WALL};

/// Has the second side hold a counter with totals of several lives in one.
fn fold(pair: &Pair) {
    let actor = Actor {
        origin: Origin(1),
        incarnation: 5,
    };
    let total = Total {
        actor,
        stamp: Stamp::at(WALL),
        sum: Decimal::from(7),
        folded: Some(1),
    };
    let mut totals = Vec::new();
    Totals::EMPTY.encode_with(&total, &mut totals);
    let entry = EntryRef {
        totals: Totals::from_bytes(&totals).expect("one is in order"),
        ..EntryRef::absent(b"n", Version::ZERO)
    };
    pair.sides[1].store.join(&[entry], Settled::NOTHING, WALL);
}

/// The first side says hello to the second, as one of another wire version.
fn greet(pair: &mut Pair, wire: u32) {
    let out = pair.sides[0].handle(pair.now, Input::Connected);
    let [Output::Control(bytes)] = out.as_slice() else {
        panic!("{out:?}")
    };
    let Ok(Some(Control::Hello(mut hello))) = Control::decode(bytes) else {
        panic!("a hello comes first")
    };
    hello.wire = wire;
    pair.tell(1, Input::Connected);
    pair.tell(1, Input::Control(&Control::Hello(hello).encode()));
}

fn is_refused(pair: &Pair) -> bool {
    match pair.sides[1].peer.state() {
        State::Refused(reason) => {
            assert!(reason.contains("speaks 2"), "{reason}");
            true
        }
        State::Down | State::Handshaking | State::Up => false,
    }
}

#[test]
fn a_peer_of_the_version_before_is_refused_once_something_is_folded() {
    let mut pair = Pair::new(&Setup::default());
    greet(&mut pair, 2);
    assert_eq!(*pair.sides[1].peer.state(), State::Up);
    fold(&pair);
    pair.tell(1, Input::Tick);
    assert!(is_refused(&pair), "the link that it has");
    let mut pair = Pair::new(&Setup::default());
    fold(&pair);
    greet(&mut pair, 2);
    assert!(is_refused(&pair), "a new link");
}

#[test]
fn a_peer_of_this_version_is_not() {
    let mut pair = Pair::new(&Setup::default());
    fold(&pair);
    pair.connect();
    pair.settle();
    assert_eq!(*pair.sides[1].peer.state(), State::Up);
    assert!(pair.sides[0].store.has_folded(), "it was swept");
}
