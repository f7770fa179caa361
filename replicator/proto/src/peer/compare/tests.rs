//! What a faulty peer may say of a comparison.

use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::{
    entry::totals::Actor,
    hlc::{Clock, Origin},
    lives::Lives,
    log::Log,
    peer::{Builder, descent::PARTS_AT_ONCE, handshake::Identity},
    slots::SLOTS,
    store::stub::Stub,
    time::Time,
    wire::control::{Listing, Sketches},
};

/// As many as the one who asks has under way, and not one more: nothing grows with what a faulty peer sends.
#[test]
fn no_more_listings_and_wishes_are_heard_than_may_be_under_way() {
    let own = Actor {
        origin: Origin(2),
        incarnation: 1,
    };
    let identity = Identity {
        cluster: "test".into(),
        region: "region2".into(),
        origin: own.origin,
        incarnation: own.incarnation,
        rules: 0,
    };
    let store = Stub {
        export: |_: &[&[u8]], _: &mut dyn FnMut(&[u8])| {},
        sweep: |_, _: &mut dyn FnMut(&[u8])| None,
    };
    let node = Node {
        identity: &identity,
        log: &Log::new(Clock::new(Duration::from_secs(5)), 1, 1 << 20),
        store: &store,
        lives: &Lives::new(own, [Origin(1)], Time(0), Duration::ZERO),
        builder: &Mutex::<Builder>::default(),
    };
    let (mut pushes, mut out) = (Pushes::default(), Vec::new());
    let mut with = Surroundings {
        pushes: &mut pushes,
        found: 0,
        has_sketches: true,
        out: &mut out,
    };
    let listing = Listing { lists: Vec::new() };
    let sketches = Sketches {
        rest: 0,
        slots: Vec::new(),
    };
    let mut answer = Answer::begin(7, vec![0; SLOTS]);
    for _ in 0..PARTS_AT_ONCE / 2 {
        assert_eq!(answer.hear_listing(&listing, node.store, &mut with), Ok(()));
        assert_eq!(
            answer.hear_sketches(&sketches, node.store, &mut with),
            Ok(())
        );
    }
    let one_more = answer.hear_listing(&listing, node.store, &mut with);
    assert_eq!(one_more, Err(OutOfTurn));
    let one_more = answer.hear_sketches(&sketches, node.store, &mut with);
    assert_eq!(one_more, Err(OutOfTurn));
    for _ in 0..PARTS_AT_ONCE / 2 {
        assert_eq!(answer.hear_choice(&listing, &mut with), Ok(()));
    }
    assert_eq!(answer.hear_choice(&listing, &mut with), Err(OutOfTurn));
}
