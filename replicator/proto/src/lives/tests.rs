//! What a node claims, waits for, and counts as settled, as words and proofs arrive.

use super::*;
use crate::log::LANES;

const EU: PeerIndex = PeerIndex(0);
const AP: PeerIndex = PeerIndex(1);
const NOW: Stamp = Stamp(1_000);

/// us-east, whose peers are eu-west and ap-south.
fn us() -> Lives {
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

fn known(lives: [u64; 3]) -> Known {
    let life = |(at, incarnation)| Actor {
        origin: Origin(at),
        incarnation,
    };
    (1..).zip(lives).map(life).collect()
}

fn word(stamp: u64, holds: u64) -> Watermark {
    Watermark {
        heads: [0; LANES],
        stamp: Stamp(stamp),
        holds: Stamp(holds),
    }
}

/// Both peers are met and have sent everything.
fn whole() -> Lives {
    let us = us();
    for (peer, incarnation) in [(EU, 20), (AP, 30)] {
        us.meet(peer, incarnation, Stamp::ZERO);
        us.receive(peer, known([10, 20, 30]));
    }
    us
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
