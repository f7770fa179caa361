//! A repair moves what differs, and little else, and takes little longer than that takes on its way.

use std::time::Duration;

use greenwich_sim::repair::{Case, measure};

/// A repair of few differences is three or four of these, however few they are.
const ROUND_TRIPS: u32 = 4;

/// So few keys a slot that lists of names are shorter than sketches, and so many that they are not.
const KEYS: [usize; 2] = [50_000, 250_000];

#[test]
fn a_repair_moves_little_beside_what_differs() {
    let cases = KEYS.map(|keys| [0, 10, 1_000, 10_000].map(|changed| (keys, changed)));
    for (keys, changed) in cases.into_iter().flatten() {
        let case = Case {
            keys,
            changed,
            rate: 12_500_000,
            delay: Duration::from_millis(40),
        };
        let repair = measure(case, &|| Duration::ZERO);
        println!("{changed} of {keys}: {repair}");
        assert!(repair.bytes() <= repair.aim_bytes(), "{case:?}: {repair}");
        assert!(repair.entries >= repair.differing, "{case:?}: {repair}");
        let bytes_take = Duration::from_micros(repair.aim_bytes() * 1_000_000 / case.rate);
        let round_trips = 2 * ROUND_TRIPS * case.delay;
        assert!(
            repair.took <= bytes_take.mul_f64(1.5) + round_trips,
            "{case:?}: {repair}"
        );
        assert!(repair.rounds <= 3, "{case:?}: {repair}");
    }
}
