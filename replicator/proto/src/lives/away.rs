//! Tests of lives whose regions are away, and of which one is released first when memory is short.

use super::{
    tests::{AP, EU, ms, us, whole, word},
    *,
};
use crate::hlc::Version;

/// Both peers have been heard of up to these times, and are away.
fn away(eu_ms: u64, ap_ms: u64) -> Lives {
    let us = whole();
    for (peer, heard) in [(EU, ms(eu_ms)), (AP, ms(ap_ms))] {
        us.accept(peer, &word(heard.0, heard.0));
        us.part(peer);
    }
    // Absences count from when somebody looked first.
    us.settled(ms(1_000));
    us
}

#[test]
fn when_memory_is_short_the_region_that_was_away_for_longest_is_released_first() {
    let us = away(3_000, 2_000);
    assert_eq!(us.press(ms(11_999)), None, "both may be back at once");
    assert_eq!(us.press(ms(12_000)), Some(AP));
    assert_eq!(us.released(), [AP]);
    assert_eq!(
        us.press(ms(21_999)),
        None,
        "what it frees is yet to be seen"
    );
    assert_eq!(us.press(ms(22_000)), Some(EU));
    assert_eq!(us.released(), [EU, AP]);
    assert_eq!(us.press(ms(60_000)), None, "there is nobody else");
    let behind = Settled::up_to(ms(60_000)).but_for(Origin(2), (ms(3_000), Stamp(u64::MAX)));
    let behind = behind.but_for(Origin(3), (ms(2_000), Stamp(u64::MAX)));
    assert_eq!(us.settled(ms(60_000)), behind);
    us.meet(AP, 30, ms(61_000));
    assert_eq!(us.released(), [EU]);
}

#[test]
fn no_region_with_a_link_and_none_that_was_removed_is_released() {
    let us = away(2_000, 2_000);
    us.meet(EU, 20, ms(3_000));
    us.unseat(AP, 1, ms(3_000));
    assert_eq!(us.press(ms(60_000)), None);
    us.settled(ms(60_000));
    assert_eq!(us.released(), []);
}

#[test]
fn before_a_node_is_told_of_regions_whatever_any_of_them_wrote_is_news() {
    let us = us().with_horizon(Duration::from_secs(1));
    us.settled(ms(1_000));
    let is_late = |origin: u8, at: u64| {
        let version = Version {
            stamp: ms(at),
            origin: Origin(origin),
        };
        let settled = us.settled(ms(3_000));
        assert_eq!(settled.stamp(), ms(3_000), "nobody is waited for");
        settled.is_late(version)
    };
    assert!((2..=Origin::MAX).all(|origin| is_late(origin, 2_000)));
    assert!(!is_late(1, 2_000), "its own is not");
    us.learn_regions();
    let news: Vec<u8> = (1..=Origin::MAX).filter(|at| is_late(*at, 2_000)).collect();
    assert_eq!(news, [2, 3], "there are no others");
}
