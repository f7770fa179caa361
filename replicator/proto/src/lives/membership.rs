//! Tests of lives whose regions come and go.

use super::{
    tests::{AP, EU, NOW, known, ms, us, whole, word},
    *,
};
use crate::{hlc::Version, time::Wall};

fn settled(us: &Lives) -> Stamp {
    us.settled(NOW).stamp()
}

#[test]
fn nothing_more_is_forgotten_until_a_region_that_was_added_is_whole() {
    const WEST: PeerIndex = PeerIndex(2);
    let us = whole();
    for peer in [EU, AP] {
        us.accept(peer, &word(500, 500));
    }
    assert_eq!(settled(&us), Stamp(500));
    us.add(Origin(4));
    for peer in [EU, AP] {
        us.accept(peer, &word(900, 900));
    }
    let forgettable = |why: &str| {
        let settled = settled(&us);
        assert!(settled <= Stamp(500), "{settled:?} {why}");
    };
    forgettable("although it was never met");
    us.meet(WEST, 40, Stamp(600));
    us.accept(WEST, &word(900, 0));
    us.receive(WEST, known([10, 20, 30]));
    forgettable("although others may hold what it lacks");
    let all = |west| known([10, 20, 30]).0.into_iter().chain([(4, west)]);
    for peer in [EU, AP] {
        us.receive(peer, Known(all(40).collect()));
    }
    assert_eq!(us.holds(NOW), Stamp(900));
    forgettable("although it is not whole");
    us.accept(WEST, &word(900, 700));
    assert_eq!(settled(&us), Stamp(700));
}

#[test]
fn a_region_that_was_removed_is_not_waited_for_once_what_it_left_behind_is_here() {
    let us = whole();
    us.accept(EU, &word(900, 900));
    us.accept(AP, &word(500, 400));
    assert_eq!(settled(&us), Stamp(400));
    us.unseat(AP, 1, Stamp(600));
    assert_eq!(
        us.in_doubt_until(),
        Stamp(600),
        "comparisons before prove nothing"
    );
    assert_eq!(
        settled(&us),
        Stamp(500),
        "eu-west may hold what only it was told"
    );
    us.receive(EU, known([10, 20, 30]));
    assert_eq!(settled(&us), Stamp(500), "it had not heard of the removal");
    let removed = 1 << INCARNATION_BITS;
    us.receive(EU, known([10, 20, removed]));
    assert_eq!(settled(&us), Stamp(900));
    assert_eq!(us.known().of(Origin(3)), removed, "others are told");
    assert!(us.missing().is_empty());
    // It is back, with a life that began earlier by its clock.
    us.seat(AP, 1, Stamp(940), Stamp(940));
    us.meet(AP, 25, Stamp(950));
    us.accept(EU, &word(990, 990));
    assert_eq!(us.holds(NOW), Stamp(900), "nothing was told since");
    us.receive(AP, known([10, 20, 0]));
    us.accept(AP, &word(990, 0));
    us.receive(EU, known([10, 20, removed]));
    assert_eq!(us.holds(NOW), Stamp(900));
    us.receive(EU, known([10, 20, removed | 25]));
    assert_eq!(us.holds(NOW), Stamp(990));
}

#[test]
fn what_a_region_that_is_away_may_have_received_of_a_removed_one_is_news() {
    let us = whole().with_horizon(Duration::from_secs(10));
    us.accept(EU, &word(ms(1_000).0, 0));
    us.accept(AP, &word(ms(900).0, 0));
    us.settled(ms(1_000));
    us.part(EU);
    us.unseat(AP, 1, ms(1_000));
    let late = |since: Stamp| {
        Settled::up_to(ms(20_000))
            .but_for(Origin(2), (ms(1_000), Stamp(u64::MAX)))
            .but_for(Origin(3), (ms(900), since))
    };
    assert_eq!(us.settled(ms(20_000)), late(Stamp(u64::MAX)));
    // It is back: what it writes from then on is heard from itself.
    us.seat(AP, 1, ms(19_000), ms(19_000));
    us.meet(AP, 25, ms(19_500));
    us.part(AP);
    us.unseat(AP, 2, ms(20_000));
    let settled = us.settled(ms(20_000));
    let of_ap = |at| {
        settled.is_late(Version {
            stamp: ms(at),
            origin: Origin(3),
        })
    };
    assert!(of_ap(901) && of_ap(25_000));
    // With what eu-west and this node hold compared, nothing is missing.
    us.meet(EU, 20, ms(20_100));
    let theirs = Standing {
        known: known([10, 20, 2 << INCARNATION_BITS]),
        in_doubt_until: Stamp::ZERO,
        flushed: Version::ZERO,
    };
    us.prove(EU, 29, theirs, None);
    us.accept(EU, &word(ms(30_100).0, 0));
    us.settled(ms(30_100));
    us.part(EU);
    let eu_alone = Settled::up_to(ms(60_000)).but_for(Origin(2), (ms(30_100), Stamp(u64::MAX)));
    assert_eq!(us.settled(ms(60_000)), eu_alone);
}

#[test]
fn a_node_that_was_met_before_the_news_that_its_region_was_added_again_is_not_met_anew() {
    let us = whole();
    us.accept(EU, &word(900, 900));
    us.accept(AP, &word(900, 900));
    let removed = 1 << INCARNATION_BITS;
    assert!(!us.seat(AP, 1, Stamp::at(Wall(30)), Stamp(950)));
    assert_eq!(us.known().of(Origin(3)), removed | 30);
    us.receive(EU, known([10, 20, 30]));
    assert_eq!(
        us.holds(NOW),
        Stamp::ZERO,
        "eu-west may hold what an earlier node left"
    );
    us.receive(EU, known([10, 20, removed | 30]));
    assert_eq!(us.holds(NOW), Stamp(900));
    assert!(us.in_doubt_until() < Stamp(960));
    let is_another = us.seat(AP, 2, Stamp::at(Wall(31)), Stamp(960));
    assert!(is_another, "the one that was met began before");
    assert_eq!(us.in_doubt_until(), Stamp(960), "it wrote until then");
    assert_eq!(us.known().of(Origin(3)), 2 * removed);
}

#[test]
fn nobody_waits_for_the_keys_of_a_region_that_was_removed() {
    let us = us();
    us.meet(EU, 20, Stamp::ZERO);
    us.receive(EU, known([10, 20, 0]));
    assert!(us.loading(Time(0)).is_some());
    us.unseat(AP, 1, Stamp(600));
    assert_eq!(us.loading(Time(0)), None);
}

#[test]
fn who_agrees_with_nobody_whom_it_reaches_does_not_serve() {
    let lonely = us();
    let late = Time(20_000_000);
    lonely.refuse(EU, true);
    assert!(lonely.loading(late).is_some());
    lonely.refuse(EU, false);
    assert_eq!(lonely.loading(late), None, "it cannot be reached any more");
    let us = us();
    us.refuse(EU, true);
    us.meet(AP, 30, Stamp::ZERO);
    us.receive(AP, known([10, 0, 30]));
    assert_eq!(us.loading(late), None, "eu-west is the one that is wrong");
}

#[test]
fn who_is_turned_away_does_not_serve_without_the_one_that_has_its_place() {
    let us = us();
    us.turn_away(EU, true);
    us.turn_away(AP, true);
    let late = Time(20_000_000);
    assert!(us.loading(late).is_some());
    us.turn_away(EU, false);
    us.turn_away(AP, false);
    assert_eq!(us.loading(late), None, "neither can be reached");
}
