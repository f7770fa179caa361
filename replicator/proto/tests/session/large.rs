//! Large values: what is written after them does not wait.

use std::time::Duration;

use greenwich_proto::peer::{Input, Output};

use super::mem::{Pair, Setup};

/// Large values, all in one lane, each with a small one after it.
fn set_large(pair: &mut Pair) -> String {
    let value = "v".repeat(300_000);
    for key in 0..LARGE {
        pair.sides[0].set(&format!("large{key}"), &value);
        pair.sides[0].set(&format!("little{key}"), "small");
    }
    value
}

const LARGE: usize = 6;

/// What the first side sends of its own accord: small batches and large ones.
fn sent_batches(pair: &mut Pair) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut sent = Vec::new();
    for _ in 0..10 {
        pair.now = pair.now + Duration::from_millis(1);
        sent.extend(pair.sides[0].handle(pair.now, Input::Tick));
    }
    let batches = sent.into_iter().filter_map(|output| match output {
        Output::Batch(batch) => Some(batch),
        Output::Control(_) | Output::Established | Output::Close(_) => None,
    });
    batches.partition(|batch| batch.len() < 300_000)
}

fn assert_all_arrived(pair: &Pair, large: &str) {
    for key in 0..LARGE {
        let held = |name: &str| pair.sides[1].store.value(&format!("{name}{key}"));
        assert!(held("large").as_deref() == Some(large), "large{key}");
        assert_eq!(held("little").as_deref(), Some("small"), "little{key}");
    }
    assert_eq!(pair.sides[0].report().lag_updates, 0);
}

#[test]
fn what_is_written_after_large_values_does_not_wait_for_them() {
    let mut pair = Pair::new(&Setup::default());
    pair.connect();
    let value = set_large(&mut pair);
    let (small, large) = sent_batches(&mut pair);
    assert_eq!(large.len(), 2, "the others wait");
    for batch in &small {
        pair.tell(1, Input::Batch(batch));
    }
    for key in 0..LARGE {
        let arrived = pair.sides[1].store.value(&format!("little{key}"));
        assert_eq!(arrived.as_deref(), Some("small"), "little{key}");
    }
    let owed = pair.sides[0].report().lag_updates;
    assert_eq!(owed, 2 * LARGE as u64, "nothing was acknowledged yet");
    for batch in &large {
        pair.tell(1, Input::Batch(batch));
    }
    pair.settle();
    assert_all_arrived(&pair, &value);
}

#[test]
fn a_large_value_that_is_written_again_while_it_waits_travels_once_in_its_newest_state() {
    let mut pair = Pair::new(&Setup::default());
    pair.connect();
    set_large(&mut pair);
    let (small, first) = sent_batches(&mut pair);
    let newest = "n".repeat(300_000);
    for key in 2..LARGE {
        for _ in 0..3 {
            pair.sides[0].set(&format!("large{key}"), &newest);
            let (none, more) = sent_batches(&mut pair);
            assert!(none.is_empty() && more.is_empty(), "there is no room");
        }
    }
    pair.batches.clear();
    for batch in small.iter().chain(&first) {
        pair.tell(1, Input::Batch(batch));
    }
    pair.settle();
    assert_eq!(pair.batches.len(), LARGE - 2);
    for key in 2..LARGE {
        let arrived = pair.sides[1].store.value(&format!("large{key}"));
        assert!(arrived == Some(newest.clone()), "large{key}");
    }
    assert_eq!(pair.sides[0].report().lag_updates, 0);
}

#[test]
fn a_lost_link_forgets_no_large_value() {
    let mut pair = Pair::new(&Setup::default());
    pair.connect();
    let value = set_large(&mut pair);
    let (small, _) = sent_batches(&mut pair);
    for batch in &small {
        pair.tell(1, Input::Batch(batch));
    }
    pair.disconnect();
    pair.connect();
    pair.settle();
    assert_all_arrived(&pair, &value);
    assert_eq!(pair.sides[0].report().sent.sweeps, 1, "that of the start");
}
