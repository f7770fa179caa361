//! What a faulty peer may say of a comparison.

use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::{
    entry::totals::Actor,
    hlc::{Clock, Origin},
    lives::Lives,
    log::Log,
    members::Members,
    peer::{
        Builder,
        handshake::{Expected, Identity},
    },
    roster::Roster,
    store::stub::Stub,
    time::Time,
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
    let region = Expected {
        region: identity.region.clone(),
        origin: own.origin,
    };
    let roster = Roster::new(region, [], Members::default());
    let node = Node {
        identity: &identity,
        log: &Log::new(Clock::new(Duration::from_secs(5)), 1, 1 << 20),
        store: &store,
        lives: &Lives::new(own, [Origin(1)], Time(0), Duration::ZERO),
        roster: &roster,
        builder: &Mutex::<Builder>::default(),
    };
    let (mut pushes, mut out) = (Pushes::default(), Vec::new());
    let mut with = Surroundings {
        pushes: &mut pushes,
        found: 0,
        out: &mut out,
    };
    let listing = Listing { lists: Vec::new() };
    let round = Round::begin(7, 0);
    let mut comparison = Comparison {
        phase: Phase::Answering(Answer {
            round: round.clone(),
            unpushed: 0,
        }),
        ..Comparison::default()
    };
    for _ in 0..LISTINGS_AT_ONCE {
        assert_eq!(comparison.hear_listing(&listing, &node, &mut with), Ok(()));
    }
    let one_more = comparison.hear_listing(&listing, &node, &mut with);
    assert_eq!(one_more, Err(OutOfTurn));
    comparison.phase = Phase::Asking(Descent {
        round,
        slots: VecDeque::new(),
        listings_under_way: 1,
        unanswered: 1,
    });
    assert_eq!(comparison.hear_wish(&listing, &mut with), Ok(()));
    assert_eq!(comparison.hear_wish(&listing, &mut with), Err(OutOfTurn));
}
