//! What a node claims, waits for, and counts as settled, as words and proofs arrive.

use super::*;
use crate::{hlc::Version, log::LANES, time::Wall, wire::control::Word};

pub(super) const EU: PeerIndex = PeerIndex(0);
pub(super) const AP: PeerIndex = PeerIndex(1);
pub(super) const NOW: Stamp = Stamp(1_000);

/// us-east, whose peers are eu-west and ap-south.
pub(super) fn us() -> Lives {
    let own = Actor {
        origin: Origin(1),
        incarnation: 10,
    };
    Lives::new(
        own,
        [Origin(2), Origin(3)],
        Time(0),
        Duration::from_secs(10),
    )
}

pub(super) fn known(lives: [u64; 3]) -> Known {
    let life = |(at, incarnation)| Actor {
        origin: Origin(at),
        incarnation,
    };
    (1..).zip(lives).map(life).collect()
}

pub(super) fn word(stamp: u64, holds: u64) -> Watermark {
    Watermark {
        heads: [0; LANES],
        stamp: Stamp(stamp),
        holds: Stamp(holds),
    }
}

/// Both peers are met and have sent everything.
pub(super) fn whole() -> Lives {
    let us = us();
    for (peer, incarnation) in [(EU, 20), (AP, 30)] {
        us.meet(peer, incarnation, Stamp::ZERO);
        us.receive(peer, known([10, 20, 30]));
    }
    us.learn_regions();
    us
}

#[test]
fn comparisons_wait_for_no_peer_that_is_silent() {
    let us = whole();
    us.accept(EU, &word(500, 500));
    assert_eq!(
        us.heard(NOW),
        Stamp::ZERO,
        "nothing was heard from ap-south"
    );
    us.fall_silent(AP, true);
    assert_eq!(us.heard(NOW), Stamp(500));
    us.meet(AP, 30, NOW);
    assert_eq!(us.heard(NOW), Stamp::ZERO, "it has a new link");
}

#[test]
fn nothing_is_claimed_before_everything_was_received() {
    let us = us();
    us.meet(EU, 20, Stamp::ZERO);
    us.accept(EU, &word(500, 500));
    us.receive(EU, known([10, 20, 30]));
    assert_eq!(us.holds(NOW), Stamp::ZERO, "nothing came from ap-south");
    us.meet(AP, 30, Stamp::ZERO);
    us.accept(AP, &word(400, 300));
    assert_eq!(us.holds(NOW), Stamp::ZERO);
    us.receive(AP, known([10, 20, 30]));
    assert_eq!(us.holds(NOW), Stamp(400));
    assert_eq!(us.settled(NOW), Settled::up_to(Stamp(300)));
}

#[test]
fn a_claim_stands_still_until_everybody_has_told_what_a_life_left_behind() {
    let us = whole();
    us.accept(EU, &word(500, 500));
    us.accept(AP, &word(500, 500));
    assert_eq!(us.settled(NOW).stamp(), Stamp(500));
    us.meet(EU, 21, Stamp::ZERO);
    us.accept(EU, &word(900, 0));
    us.accept(AP, &word(900, 500));
    assert_eq!(
        us.holds(NOW),
        Stamp(500),
        "ap-south may hold what is not here"
    );
    us.receive(AP, known([10, 21, 30]));
    assert_eq!(us.holds(NOW), Stamp(900));
    let settled = us.settled(NOW).stamp();
    assert_eq!(settled, Stamp(500), "the new life claims nothing");
}

#[test]
fn what_a_source_knew_when_it_began_is_what_counts() {
    let us = whole();
    us.meet(EU, 21, Stamp::ZERO);
    us.receive(AP, known([10, 20, 30]));
    us.accept(EU, &word(900, 900));
    us.accept(AP, &word(900, 900));
    assert_eq!(us.holds(NOW), Stamp::ZERO);
}

#[test]
fn what_a_repair_brings_puts_what_others_hold_in_doubt() {
    let us = whole();
    us.accept(EU, &word(900, 900));
    us.accept(AP, &word(900, 900));
    us.doubt(EU, Stamp(600));
    assert_eq!(
        (us.holds(NOW), us.in_doubt_until()),
        (Stamp::ZERO, Stamp(600))
    );
    us.receive(AP, known([10, 20, 30]));
    assert_eq!(
        us.holds(NOW),
        Stamp::ZERO,
        "a sweep does not tell what was forgotten"
    );
    proves(&us, AP, 1, None);
    assert_eq!(us.holds(NOW), Stamp(900));
}

#[test]
fn clients_wait_for_every_peer_that_can_be_reached() {
    let us = us();
    us.meet(EU, 20, Stamp::ZERO);
    let awaited = |lives: &Lives, at| lives.loading(Time(at)).map(|loading| loading.awaited);
    assert_eq!(awaited(&us, 0), Some(vec![EU, AP]));
    assert_eq!(awaited(&us, 10_000_000), Some(vec![EU]), "ap-south is away");
    us.receive(EU, known([10, 20, 0]));
    assert_eq!(awaited(&us, 10_000_000), None);
    us.meet(AP, 30, Stamp::ZERO);
    assert_eq!(
        awaited(&us, 10_000_001),
        None,
        "clients are served once and for all"
    );
}

#[test]
fn a_life_alone_has_nothing_to_wait_for() {
    let own = Actor {
        origin: Origin(1),
        incarnation: 10,
    };
    let alone = Lives::new(own, [], Time(0), Duration::from_secs(10));
    assert_eq!(alone.loading(Time(0)), None);
    assert_eq!(alone.settled(NOW).stamp(), NOW);
}

/// A stamp so many milliseconds after the start.
pub(super) fn ms(ms: u64) -> Stamp {
    Stamp::at(Wall(ms))
}

fn hears(us: &Lives, peer: PeerIndex, of: [(u8, u64); 2], settled: Stamp) -> Hearsay {
    let words = of.map(|(id, heard_ms)| Word {
        id,
        incarnation: u64::from(id) * 10,
        heard: ms(heard_ms),
        holds: ms(heard_ms),
        gap: Gap::CLOSED,
    });
    let hearsay = Hearsay {
        settled,
        words: words.to_vec(),
    };
    us.listen(peer, &hearsay, ms(0), Wall(1_000));
    hearsay
}

fn proves(us: &Lives, peer: PeerIndex, epoch: u64, hearsay: Option<&Hearsay>) {
    let theirs = Standing {
        known: known([10, 20, 30]),
        in_doubt_until: Stamp::ZERO,
        flushed: Version::ZERO,
    };
    us.prove(peer, epoch, theirs, hearsay);
}

#[test]
fn a_region_without_a_link_is_heard_of_through_another_as_far_as_both_are_equal() {
    let us = whole();
    us.part(AP);
    us.accept(AP, &word(ms(500).0, ms(500).0));
    us.accept(EU, &word(ms(9_000).0, ms(9_000).0));
    let hearsay = hears(&us, EU, [(1, 9_000), (3, 2_500)], ms(0));
    assert_eq!(us.holds(ms(9_000)), ms(500), "nothing is proved");
    proves(&us, EU, 1, Some(&hearsay));
    assert_eq!(us.holds(ms(9_000)), ms(2_000), "the end of epoch 1");
    assert_eq!(
        us.settled(ms(9_000)).stamp(),
        ms(500),
        "ap-south's word came after that"
    );
    let hearsay = hears(&us, EU, [(1, 9_000), (3, 4_500)], ms(0));
    proves(&us, EU, 2, Some(&hearsay));
    assert_eq!(us.settled(ms(9_000)).stamp(), ms(2_500));
}

#[test]
fn a_life_that_others_have_met_puts_what_is_held_in_doubt() {
    let us = whole();
    us.part(AP);
    us.accept(EU, &word(900, 900));
    us.accept(AP, &word(900, 900));
    assert_eq!(us.holds(NOW), Stamp(900));
    us.accept(EU, &word(950, 950));
    us.accept(AP, &word(950, 950));
    let newer = Word {
        id: 3,
        incarnation: 31,
        heard: Stamp::ZERO,
        holds: Stamp::ZERO,
        gap: Gap::CLOSED,
    };
    let of = |word| Hearsay {
        settled: Stamp::ZERO,
        words: vec![word],
    };
    let beyond = Word {
        incarnation: 2_000,
        ..newer
    };
    us.listen(EU, &of(beyond), ms(7), Wall(1_000));
    assert_eq!(us.known().of(Origin(3)), 30, "it is not yet so late");
    us.listen(EU, &of(newer), ms(7), Wall(1_000));
    assert_eq!(us.known().of(Origin(3)), 31);
    assert_eq!((us.holds(NOW), us.in_doubt_until()), (Stamp(900), ms(7)));
}

#[test]
fn nobody_waits_for_a_region_beyond_the_horizon_and_what_it_writes_then_is_news() {
    let us = whole().with_horizon(Duration::from_secs(5));
    us.accept(EU, &word(ms(1_000).0, ms(1_000).0));
    us.accept(AP, &word(ms(1_000).0, ms(1_000).0));
    assert_eq!(us.settled(ms(1_000)), Settled::up_to(ms(1_000)));
    us.part(AP);
    us.accept(EU, &word(ms(6_000).0, ms(6_000).0));
    assert_eq!(us.settled(ms(6_000)), Settled::up_to(ms(1_000)));
    assert_eq!(
        us.settled(ms(6_001)),
        Settled::up_to(ms(1_000)),
        "what eu-west alone heard of it must be here first"
    );
    us.accept(EU, &word(ms(8_000).0, ms(8_000).0));
    proves(&us, EU, 7, None);
    let behind = Settled::up_to(ms(8_000)).but_for(Origin(3), (ms(1_000), Stamp(u64::MAX)));
    assert_eq!(us.settled(ms(8_000)), behind);
    us.meet(AP, 30, ms(8_000));
    assert_eq!(us.holds(ms(8_000)), ms(1_000), "it waits for it again");
    assert_eq!(us.settled(ms(8_000)), behind, "and takes nothing back");
    hears(&us, AP, [(1, 1_000), (2, 1_000)], ms(7_000));
    us.accept(AP, &word(ms(9_000).0, ms(9_000).0));
    us.accept(EU, &word(ms(9_000).0, ms(9_000).0));
    assert_eq!(us.settled(ms(9_000)), behind, "until both are equal");
    proves(&us, AP, 8, None);
    // That it has forgotten so much was known before both were found equal.
    hears(&us, AP, [(1, 1_000), (2, 1_000)], ms(7_000));
    assert_eq!(us.settled(ms(9_000)), Settled::up_to(ms(9_000)));
}
