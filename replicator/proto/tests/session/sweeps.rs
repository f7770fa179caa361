//! Peers that lack what the log cannot tell them.

use greenwich_proto::{
    hlc::Stamp,
    log::PeerIndex,
    peer::{Input, Output},
    time::Wall,
};

use super::mem::{Pair, Setup, Side};

#[test]
fn a_peer_that_falls_off_the_log_is_swept_to() {
    let mut pair = Pair::new(&Setup {
        log_bytes: 0,
        ..Setup::default()
    });
    pair.connect();
    pair.disconnect();
    // Records of one lane beyond what a lane keeps.
    let long = "k".repeat(2_000);
    for key in 0..100 {
        pair.sides[0].set(&format!("{long}{key}"), "1");
    }
    assert!(
        pair.sides[0].log.bytes() < 100 * 2_000,
        "the log is bounded"
    );
    pair.connect();
    pair.settle();
    let report = pair.sides[0].report();
    assert_eq!(
        (report.sent.sweeps, report.lag_updates, report.is_sweeping),
        (2, 0, false)
    );
    for key in 0..100 {
        assert_eq!(
            pair.sides[1]
                .store
                .value(&format!("{long}{key}"))
                .as_deref(),
            Some("1")
        );
    }
}

#[test]
fn who_asks_for_everything_is_told_how_much_it_is() {
    let mut pair = Pair::new(&Setup::default());
    for key in ["a", "b", "c"] {
        pair.sides[0].set(key, "1");
    }
    pair.connect();
    let told = pair.sides.each_ref().map(|side| side.peer.keys_told());
    assert_eq!(told, [Some(0), Some(3)]);
}

#[test]
fn a_sweep_that_is_cut_short_begins_again_on_the_next_link() {
    let mut pair = Pair::new(&Setup::default());
    // The second node's own log is empty: only a sweep brings what it holds.
    pair.sides[0].set("a", "1");
    pair.connect();
    let restarted = Side::new(
        1,
        &Setup {
            incarnation: 2_000,
            ..Setup::default()
        },
    );
    pair.disconnect();
    pair.sides[0] = restarted;
    for side in 0..2 {
        pair.tell(side, Input::Connected);
    }
    pair.deliver_control();
    pair.lose_batches();
    pair.disconnect();
    assert_eq!(pair.sides[0].store.value("a"), None);
    pair.connect();
    assert_eq!(pair.sides[0].store.value("a").as_deref(), Some("1"));
}

#[test]
fn a_restarted_peer_is_swept_to_although_it_has_heard_of_us() {
    let mut pair = Pair::new(&Setup::default());
    // As above, the second node has written nothing itself.
    pair.sides[0].set("a", "1");
    pair.connect();
    pair.disconnect();
    let restarted = Side::new(
        1,
        &Setup {
            incarnation: 2_000,
            ..Setup::default()
        },
    );
    pair.sides[0] = restarted;
    // Its own hello is lost with the link; it remembers ours, and says so in the next one.
    let hello = pair.sides[1].handle(pair.now, Input::Connected);
    let [Output::Control(hello)] = hello.as_slice() else {
        panic!("a link begins with a hello: {hello:?}")
    };
    pair.sides[0].handle(pair.now, Input::Connected);
    pair.sides[0].handle(pair.now, Input::Control(hello));
    pair.disconnect();
    pair.connect();
    assert_eq!(pair.sides[0].store.value("a").as_deref(), Some("1"));
}

#[test]
fn a_new_life_does_not_read_what_was_forgotten() {
    let mut pair = Pair::new(&Setup::default());
    pair.connect();
    pair.sides[0].set_and_forget("a");
    pair.disconnect();
    pair.sides[1] = Side::new(
        2,
        &Setup {
            incarnation: 2_000,
            ..Setup::default()
        },
    );
    pair.connect();
    assert_eq!(pair.sides[1].store.value("a"), None);
    assert_eq!(pair.sides[0].report().lag_updates, 0);
}

#[test]
fn a_peer_that_was_released_does_not_read_what_was_forgotten_without_it() {
    for is_released in [false, true] {
        let mut pair = Pair::new(&Setup::default());
        pair.connect();
        pair.disconnect();
        let us = &pair.sides[0];
        let at = |later_ms| Stamp::at(Wall(us.wall.0 + later_ms));
        us.lives.settled(at(0));
        us.set_and_forget("a");
        if is_released {
            assert_eq!(us.lives.press(at(60_000)), Some(PeerIndex(0)));
        }
        pair.connect();
        let read = pair.sides[1].store.value("a");
        assert_eq!(read.is_none(), is_released, "who is waited for may read it");
        assert_eq!(pair.sides[0].report().lag_updates, 0);
    }
}
