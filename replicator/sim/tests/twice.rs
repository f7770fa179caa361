//! The same seed tells the same story, byte for byte.

use greenwich_sim::{Trace, run};

fn story(seed: u64) -> String {
    let mut trace = Trace::on();
    let result = run(seed, &mut trace).map_err(|failure| failure.to_string());
    format!("{}{result:?}", trace.text())
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [1, 7, 43, 69, 204] {
        let (first, second) = (story(seed), story(seed));
        assert!(first.lines().count() > 100, "seed {seed} tells a story");
        let difference = first
            .lines()
            .zip(second.lines())
            .find(|(first, second)| first != second);
        assert_eq!(difference, None, "seed {seed}");
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}

#[test]
fn another_seed_gives_another_trace() {
    assert_ne!(story(1), story(2));
}
