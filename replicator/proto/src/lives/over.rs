//! Tests of which lives are over for good.

use super::{
    tests::{AP, EU, known, ms, us, word},
    *,
};
use crate::{decimal::Decimal, entry::totals::Total, hlc::Version};

const US: Origin = Origin(1);
const EU_WEST: Origin = Origin(2);

/// Both peers have sent everything, and can read what is folded.
fn reading() -> Lives {
    let us = us();
    for (peer, incarnation) in [(EU, 20), (AP, 30)] {
        meet(&us, peer, incarnation);
        us.receive(peer, known([10, 20, 30]));
    }
    us
}

fn meet(us: &Lives, peer: PeerIndex, incarnation: u64) {
    us.meet(peer, incarnation, Stamp::ZERO);
    us.reads_folded(peer, true);
}

/// Both peers have heard, and hold, everything up to here.
fn hear(us: &Lives, stamp: Stamp) {
    us.accept(EU, &word(stamp.0, stamp.0));
    us.accept(AP, &word(stamp.0, stamp.0));
}

/// Whether what a life counted at the start of time is final.
fn is_final(settled: &Settled, origin: Origin, incarnation: u64) -> bool {
    settled.is_final(&Total {
        actor: Actor {
            origin,
            incarnation,
        },
        stamp: Stamp(1),
        sum: Decimal::ZERO,
        folded: None,
    })
}

#[test]
fn lives_are_over_once_all_hold_what_was_held_when_nothing_of_them_was_missing() {
    let us = reading();
    hear(&us, ms(1_000));
    assert!(!is_final(&us.settled(ms(2_000)), EU_WEST, 19), "not there");
    hear(&us, ms(2_000));
    let settled = us.settled(ms(3_000));
    assert!(is_final(&settled, EU_WEST, 19) && is_final(&settled, US, 9));
    assert!(!is_final(&settled, EU_WEST, 20) && !is_final(&settled, US, 10));
    let unheard = Settled::up_to(Stamp::ZERO).with_ended(us.inner.lock().ended.clone());
    assert!(!is_final(&unheard, EU_WEST, 19), "its stamp is later");
}

#[test]
fn a_life_is_not_over_while_others_may_hold_more_of_it() {
    let us = reading();
    hear(&us, ms(2_000));
    us.settled(ms(2_000));
    meet(&us, EU, 21);
    hear(&us, ms(5_000));
    us.settled(ms(5_000));
    hear(&us, ms(6_000));
    let settled = us.settled(ms(6_000));
    assert!(!is_final(&settled, EU_WEST, 20), "ap-south may have more");
    assert!(
        is_final(&settled, EU_WEST, 19),
        "of that nothing was missing"
    );
    us.receive(AP, known([10, 21, 30]));
    us.settled(ms(7_000));
    hear(&us, ms(7_000));
    assert!(is_final(&us.settled(ms(8_000)), EU_WEST, 20));
}

#[test]
fn no_life_is_over_while_a_region_is_away_that_may_have_more() {
    let us = reading().with_horizon(Duration::from_secs(1));
    us.settled(ms(1_000));
    meet(&us, EU, 21);
    us.part(AP);
    us.settled(ms(2_500));
    let standing = Standing {
        known: known([10, 21, 30]),
        in_doubt_until: Stamp::ZERO,
        flushed: Version::ZERO,
    };
    us.prove(EU, 4, standing, None);
    for at in [5_000, 6_000] {
        us.accept(EU, &word(ms(at).0, ms(at).0));
        us.settled(ms(at));
    }
    assert_eq!(us.released(), [AP]);
    let settled = us.settled(ms(6_000));
    assert!(settled.stamp() >= ms(5_000), "others are not held up");
    assert!(!is_final(&settled, EU_WEST, 20) && !is_final(&settled, EU_WEST, 19));
}

#[test]
fn nothing_is_folded_for_a_peer_that_cannot_read_it() {
    let us = reading();
    let settle = |at| {
        us.settled(ms(at));
        hear(&us, ms(at + 1_000));
        us.settled(ms(at + 1_000))
    };
    us.reads_folded(EU, false);
    assert!(!is_final(&settle(1_000), EU_WEST, 19));
    us.reads_folded(EU, true);
    assert!(is_final(&settle(3_000), EU_WEST, 19), "it was upgraded");
    us.reads_folded(EU, false);
    assert!(!is_final(&settle(5_000), EU_WEST, 19), "and went back");
}

#[test]
fn a_region_that_was_removed_may_come_back_with_an_earlier_life() {
    let us = reading();
    us.settled(ms(1_000));
    hear(&us, ms(2_000));
    assert!(is_final(&us.settled(ms(2_000)), EU_WEST, 19));
    us.unseat(EU, 1, ms(2_000));
    assert!(!is_final(&us.settled(ms(2_000)), EU_WEST, 19));
    let removed = 1 << INCARNATION_BITS;
    us.receive(AP, known([10, removed, 30]));
    us.settled(ms(3_000));
    us.accept(AP, &word(ms(4_000).0, ms(4_000).0));
    let settled = us.settled(ms(4_000));
    assert!(!is_final(&settled, EU_WEST, 19) && is_final(&settled, Origin(3), 29));
}
