//! What a faulty peer may say of a comparison.

use std::ops::Range;

use super::*;
use crate::{
    peer::descent::PARTS_AT_ONCE,
    slots::{KeyHash, SLOTS},
    store::stub::Stub,
    wire::control::{Listing, Sketches},
};

type Nothing = Stub<
    fn(&[&[u8]], &mut dyn FnMut(&[u8])),
    fn(u64, &mut dyn FnMut(&[u8])) -> Option<u64>,
    fn(Range<usize>, &mut dyn FnMut(KeyHash, &[u8])),
>;

/// A keyspace that holds nothing.
const NOTHING: Nothing = Stub {
    export: |_, _| {},
    sweep: |_, _| None,
    list: |_, _| {},
};

/// As many as the one who asks has under way, and not one more: nothing grows with what a faulty peer sends.
#[test]
fn no_more_listings_and_wishes_are_heard_than_may_be_under_way() {
    let (mut pushes, mut out) = (Pushes::default(), Vec::new());
    let mut with = Surroundings {
        pushes: &mut pushes,
        found: 0,
        has_sketches: true,
        out: &mut out,
    };
    let listing = Listing { lists: Vec::new() };
    let sketches = Sketches {
        rest: 0,
        slots: Vec::new(),
    };
    let mut answer = Answer::begin(7, vec![0; SLOTS]);
    for _ in 0..PARTS_AT_ONCE / 2 {
        assert_eq!(answer.hear_listing(&listing, &NOTHING, &mut with), Ok(()));
        assert_eq!(answer.hear_sketches(&sketches, &NOTHING, &mut with), Ok(()));
    }
    let one_more = answer.hear_listing(&listing, &NOTHING, &mut with);
    assert_eq!(one_more, Err(OutOfTurn));
    let one_more = answer.hear_sketches(&sketches, &NOTHING, &mut with);
    assert_eq!(one_more, Err(OutOfTurn));
    for _ in 0..PARTS_AT_ONCE / 2 {
        assert_eq!(answer.hear_choice(&listing, &mut with), Ok(()));
    }
    assert_eq!(answer.hear_choice(&listing, &mut with), Err(OutOfTurn));
}

#[test]
fn slots_that_differ_and_look_alike_are_not_taken_for_equal() {
    let (mut pushes, mut out) = (Pushes::default(), Vec::new());
    let mut with = Surroundings {
        pushes: &mut pushes,
        found: 0,
        has_sketches: true,
        out: &mut out,
    };
    let mut theirs = vec![0; SLOTS];
    theirs[5] = 7;
    let rest = groups::all(&theirs);
    let missed = |slots: Vec<u8>, ours: Vec<u64>, with: &mut Surroundings<'_>| {
        let mut answer = Answer::begin(7, ours);
        assert!(
            !answer.has_missed_something(),
            "nothing was said of the rest"
        );
        let sketches = Sketches { rest, slots };
        answer.hear_sketches(&sketches, &NOTHING, with).unwrap();
        answer.has_missed_something()
    };
    assert!(!missed(Vec::new(), theirs.clone(), &mut with));
    assert!(missed(Vec::new(), vec![0; SLOTS], &mut with));
    // Slot 3 differs, too, and is told: an empty list.
    let mut ours = theirs.clone();
    ours[3] = 9;
    assert!(!missed(vec![3, 0, 0, 0], ours.clone(), &mut with));
    assert!(missed(Vec::new(), ours, &mut with));
}
