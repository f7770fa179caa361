//! Tests of folding.

use super::*;
use crate::{decimal::Decimal, entry::totals::Actor};

fn total(origin: u8, incarnation: u64, stamp: u64, sum: i64) -> Total {
    Total {
        actor: Actor {
            origin: Origin(origin),
            incarnation,
        },
        stamp: Stamp(stamp),
        sum: Decimal::from(sum),
        folded: None,
    }
}

fn encoded(totals: &[Total]) -> Vec<u8> {
    let mut encoded = Vec::new();
    totals.iter().for_each(|total| total.encode(&mut encoded));
    assert!(Totals::from_bytes(&encoded).is_some());
    encoded
}

fn up_to(incarnation: u64) -> impl Fn(&Total) -> bool {
    move |total| total.actor.incarnation <= incarnation
}

fn joined(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Totals(a).encode_join(&Totals(b), &mut out);
    out
}

#[test]
fn lives_that_are_over_become_one_for_each_origin() {
    let of_two = encoded(&[
        total(1, 3, 10, 4),
        total(1, 5, 20, 6),
        total(1, 7, 30, 1),
        total(2, 4, 25, 9),
        total(2, 8, 40, 2),
    ]);
    let once = Totals(&of_two).fold(up_to(5)).expect("two of the first");
    let seen: Vec<_> = Totals(&once)
        .iter()
        .map(|total| (total.actor.incarnation, total.stamp.0, total.sum))
        .collect();
    let sum = Decimal::from;
    let expected = [
        (5, 20, sum(10)),
        (7, 30, sum(1)),
        (4, 25, sum(9)),
        (8, 40, sum(2)),
    ];
    assert_eq!(seen, expected);
    assert!(Totals(&once).has_folded() && !Totals(&of_two).has_folded());
    assert_eq!(Totals(&once).fold(up_to(5)), None, "there is nothing more");
    let twice = Totals(&once).fold(up_to(8)).expect("all are over");
    assert_eq!(Totals(&of_two).fold(up_to(8)), Some(twice));
}

#[test]
fn a_life_that_is_not_over_stays_and_what_stands_behind_it_too() {
    let lives = encoded(&[
        total(1, 3, 10, 4),
        total(1, 5, 20, 6),
        total(1, 7, 30, 1),
        total(1, 9, 40, 1),
    ]);
    let is_over = |total: &Total| total.actor.incarnation != 5;
    assert_eq!(Totals(&lives).fold(is_over), None);
}

#[test]
fn what_does_not_fit_into_one_number_is_not_folded() {
    let mut large = total(1, 3, 10, 0);
    large.sum = Decimal::from_bits(i128::MAX);
    let lives = encoded(&[large, total(1, 5, 20, 1)]);
    assert_eq!(Totals(&lives).fold(up_to(9)), None);
    let lives = encoded(&[total(1, 3, 10, 1), total(1, 1 << 48, 20, 1)]);
    assert_eq!(Totals(&lives).fold(up_to(u64::MAX)), None);
}

#[test]
fn a_folded_total_covers_what_it_stands_for_and_no_later_life() {
    let before = [total(1, 3, 10, 4), total(1, 5, 20, 6)];
    let folded = Totals(&encoded(&before)).fold(up_to(9)).unwrap();
    let later = encoded(&[total(1, 7, 5, 1), total(2, 4, 5, 1)]);
    let all = joined(&folded, &later);
    assert_eq!(
        all,
        joined(&joined(&encoded(&before[..1]), &later), &folded)
    );
    assert_eq!(Totals(&all).iter().count(), 3);
    // A region that was removed and is back may be in a life that began earlier by its clock.
    let back = encoded(&[total(1, 4, 30, 2)]);
    assert_eq!(Totals(&joined(&back, &folded)).iter().count(), 2);
}

#[test]
fn what_was_counted_before_and_after_folding_is_told_from_what_was_not() {
    let before = [total(1, 3, 10, 4), total(1, 5, 20, 6)];
    let unfolded = encoded(&before);
    let folded = Totals(&unfolded).fold(up_to(9)).unwrap();
    let one = Totals(&folded).iter().next().unwrap();
    assert!(before.iter().all(|total| Totals(&folded).counts(total)));
    assert!(Totals(&unfolded).counts(&one) && Totals(&folded).counts(&one));
    assert!(!Totals(&encoded(&before[..1])).counts(&one));
    assert!(!Totals(&encoded(&[total(1, 7, 30, 1)])).counts(&one));
    assert!(!Totals(&folded).counts(&total(1, 7, 5, 1)));
    assert!(!Totals(&folded).counts(&total(1, 5, 21, 7)));
    assert!(!Totals(&folded).counts(&total(2, 3, 10, 4)));
}

#[test]
fn covered_totals_are_refused() {
    let folded = encoded(&[total(1, 3, 10, 4), total(1, 5, 20, 6)]);
    let mut folded = Totals(&folded).fold(up_to(9)).unwrap();
    let mut bytes = Vec::new();
    total(1, 4, 20, 1).encode(&mut bytes);
    bytes.append(&mut folded);
    assert_eq!(Totals::from_bytes(&bytes), None);
}

#[test]
fn shares_are_the_same_before_and_after_and_others_for_other_lives() {
    let shares = |totals: &[Total]| -> Vec<Total> { Totals(&encoded(totals)).shares().collect() };
    let lives = [total(1, 3, 10, 4), total(1, 5, 20, 6), total(1, 7, 30, 1)];
    let folded = Totals(&encoded(&lives)).fold(up_to(5)).unwrap();
    let of_folded: Vec<Total> = Totals(&folded).shares().collect();
    assert_eq!(of_folded, shares(&lives));
    assert_eq!(shares(&lives[..1]), lives[..1], "one life is as it was");
    let others = [total(1, 3, 12, 5), total(1, 5, 18, 5), total(1, 7, 30, 1)];
    assert_ne!(shares(&others), shares(&lives), "the sums are equal");
}

/// Other values, and nodes of two releases would take equal regions for different ones.
#[test]
fn the_encoded_form_never_changes() {
    let lives = encoded(&[total(1, 3, 10, 4), total(1, 5, 20, 6)]);
    let folded = Totals(&lives).fold(up_to(5)).unwrap();
    let incarnation = u64::from_le_bytes(folded[1..9].try_into().unwrap());
    assert_eq!(incarnation, 0x979e_0000_0000_0005, "{incarnation:#018x}");
}
