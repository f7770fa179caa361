//! Fingerprints of slots, and of groups of them: what is compared first.

use std::ops::Range;

use crate::{slots::SLOTS, store::Store};

/// Slots that are compared together at first, and how many such groups there are.
pub(super) const GROUP_SLOTS: usize = 128;
pub(super) const GROUPS: usize = SLOTS / GROUP_SLOTS;

/// Every slot's fingerprint at the end of an epoch, unless that is too long ago for one of them.
pub(super) fn prints<S: Store>(store: &S, epoch: u64) -> Option<Vec<u64>> {
    let mut prints = Vec::with_capacity(SLOTS);
    store.prints(epoch, &mut |_, print| prints.extend(print));
    (prints.len() == SLOTS).then_some(prints)
}

/// The fingerprints of groups: which slot has which fingerprint matters.
pub(super) fn groups(prints: &[u64]) -> Vec<u64> {
    let of_group = |slots: &[u64]| {
        slots
            .iter()
            .fold(0, |all: u64, print| all.rotate_left(1) ^ print)
    };
    prints.chunks(GROUP_SLOTS).map(of_group).collect()
}

pub(super) fn slots_of(group: usize) -> Range<usize> {
    group * GROUP_SLOTS..(group + 1) * GROUP_SLOTS
}

/// As much of a fingerprint as crosses.
pub(super) fn short(print: u64) -> u32 {
    (print ^ (print >> 32)) as u32
}
