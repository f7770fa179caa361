//! Fingerprints of slots, and of groups of them: what is compared first.

use std::ops::Range;

use crate::{
    slots::{SLOTS, fold},
    store::Store,
};

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

/// As much of a slot's fingerprint as crosses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shortened {
    /// Two bytes, which are others in each epoch: two that look alike are told apart the next time.
    Two,
    /// Four bytes, for a peer that knows no shorter ones.
    Four,
}

impl Shortened {
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    pub(super) fn put(self, print: u64, epoch: u64, out: &mut Vec<u8>) {
        let salted = match self {
            Self::Two => fold(print, (epoch << 1 | 1).wrapping_mul(SALT)),
            Self::Four => print ^ (print >> 32),
        };
        out.extend_from_slice(&salted.to_le_bytes()[..self.bytes()]);
    }
}

/// Any odd constant with as many ones as zeros.
const SALT: u64 = 0xbe54_66cf_34e9_0c6d;

/// One fingerprint of all slots.
pub(super) fn all(prints: &[u64]) -> u64 {
    groups(prints)
        .into_iter()
        .fold(0, |all, group| fold(all ^ SALT, group ^ SALT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_that_look_alike_in_one_epoch_do_not_in_the_next() {
        let short = |print: u64, epoch: u64| {
            let mut bytes = Vec::new();
            Shortened::Two.put(print, epoch, &mut bytes);
            bytes
        };
        let first = 0x1234_5678_9abc_def0;
        let alike: Vec<u64> = (0..500_000)
            .filter(|print| short(*print, 7) == short(first, 7))
            .collect();
        assert!(!alike.is_empty());
        let stay_alike = alike
            .iter()
            .filter(|print| short(**print, 8) == short(first, 8));
        assert_eq!(stay_alike.count(), 0);
    }
}
