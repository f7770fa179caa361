//! A repair moves what differs, and little else.

use std::time::Duration;

use greenwich_sim::repair::{Case, measure};

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
        assert!(repair.rounds <= 3, "{case:?}: {repair}");
    }
}
