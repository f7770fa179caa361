//! A repair moves what differs, and little else.

use std::time::Duration;

use greenwich_sim::repair::{Case, measure};

const KEYS: usize = 50_000;

#[test]
fn a_repair_moves_little_beside_what_differs() {
    for changed in [0, 10, 1_000, 10_000] {
        let case = Case {
            keys: KEYS,
            changed,
            rate: 12_500_000,
            delay: Duration::from_millis(40),
        };
        let repair = measure(case, &|| Duration::ZERO);
        println!("{changed} of {KEYS}: {repair}");
        assert!(repair.bytes() <= repair.aim_bytes(), "{changed}: {repair}");
        assert!(repair.entries >= repair.differing, "{changed}: {repair}");
        assert!(repair.rounds <= 3, "{changed}: {repair}");
    }
}
