//! Totals of lives that are over, folded into one for each origin.
//!
//! A folded total is *cumulative*: it stands for every total of its origin up to its own incarnation and its own stamp, and
//! covers these wherever it meets them. So it makes no difference who has folded and who has not, nor how much:
//!
//! ```text
//!   not folded      3 ── 4 ── 5 ── 7        each with its own sum; 7 is the present life
//!   folded here     ╰─ up to 4 ─╯─ 5 ── 7
//!   folded there    ╰──── up to 5 ────╯─ 7   covers all of the above but 7
//! ```
//!
//! That holds where nothing is folded that any region may still hear of for the first time. Whoever folds knows that; this
//! module does not.

use super::{TOTAL_BYTES, Total, Totals};
use crate::{
    hlc::{Origin, Stamp},
    slots::fold,
};

/// Bits of an encoded incarnation below the check sum and the mark of a folded total.
const INCARNATION_BITS: u32 = 48;
/// Marks a folded total.
const FOLDED: u64 = 1 << 63;
/// The check sum between the two.
const CHECK_MAX: u16 = (1 << 15) - 1;
/// Any constant that is no small number: keeps parts that are zero from making the product zero.
const PART: u64 = 0x4528_21e6_38d0_1377;

/// The encoded form of an incarnation, and of what was folded.
pub(super) fn mark(total: &Total) -> u64 {
    let mark = |check| FOLDED | u64::from(check) << INCARNATION_BITS;
    total.actor.incarnation | total.folded.map_or(0, mark)
}

/// What [`mark`] puts together.
pub(super) const fn unmark(marked: u64) -> (u64, Option<u16>) {
    if marked & FOLDED == 0 {
        return (marked, None);
    }
    let check = (marked >> INCARNATION_BITS) as u16 & CHECK_MAX;
    (marked & ((1 << INCARNATION_BITS) - 1), Some(check))
}

impl Total {
    /// One for this and another one of the same origin.
    fn and(&self, other: &Self) -> Self {
        Self {
            actor: self.actor.max(other.actor),
            stamp: self.stamp.max(other.stamp),
            sum: self.sum.saturating_add(other.sum),
            folded: Some(self.check().wrapping_add(other.check()) & CHECK_MAX),
        }
    }

    /// Tells totals apart whose sums add up to the same.
    fn check(&self) -> u16 {
        self.folded.unwrap_or_else(|| {
            let sum = self.sum.to_bits();
            let sum = (sum ^ sum >> u64::BITS) as u64;
            fold(self.actor.incarnation ^ PART, self.stamp.0 ^ sum ^ PART) as u16 & CHECK_MAX
        })
    }

    /// Whether what `other` says is in this one.
    fn includes(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.actor, other.actor);
        let is_of_it = match (self.folded, other.folded) {
            (Some(_), _) => theirs.incarnation <= ours.incarnation,
            // The newest of what was folded was there together with the rest.
            (None, Some(_)) => ours.incarnation <= theirs.incarnation,
            (None, None) => ours.incarnation == theirs.incarnation,
        };
        ours.origin == theirs.origin && is_of_it && other.stamp <= self.stamp
    }
}

impl Totals<'_> {
    /// Whether there is a folded total.
    #[must_use]
    pub fn has_folded(&self) -> bool {
        let (totals, _) = self.0.as_chunks::<TOTAL_BYTES>();
        totals.iter().any(|total| total[8] & 0x80 != 0)
    }

    /// Whether what `total` says is counted here, on its own or in a folded one.
    #[must_use]
    pub fn counts(&self, total: &Total) -> bool {
        self.iter().any(|held| held.includes(total))
    }

    /// What each origin has added in all of its lives, the newest stamp and the highest incarnation of these: the same
    /// before totals are folded and afterwards. One that has added in several lives looks like a folded total.
    pub fn shares(&self) -> impl Iterator<Item = Total> {
        let mut totals = self.iter().peekable();
        std::iter::from_fn(move || {
            let mut share = totals.next()?;
            let origin = share.actor.origin;
            while let Some(next) = totals.next_if(|next| next.actor.origin == origin) {
                share = share.and(&next);
            }
            Some(share)
        })
    }

    /// The encoded totals with one in place of those that `is_over` holds for, for each origin; `None` when no two can be
    /// folded. What stands behind one that is not over stays.
    pub fn fold(&self, is_over: impl Fn(&Total) -> bool) -> Option<Vec<u8>> {
        let goes_with =
            |(a, b): (Total, Total)| a.actor.origin == b.actor.origin && is_over(&a) && is_over(&b);
        if !self.iter().zip(self.iter().skip(1)).any(goes_with) {
            return None;
        }
        let totals: Vec<Total> = self.iter().collect();
        let mut out = Vec::with_capacity(self.0.len());
        for of_origin in totals.chunk_by(|a, b| a.actor.origin == b.actor.origin) {
            let count = of_origin.iter().take_while(|total| is_over(total)).count();
            let (over, others) = of_origin.split_at(count);
            match folded(over) {
                Some(total) => total.encode(&mut out),
                None => over.iter().for_each(|total| total.encode(&mut out)),
            }
            others.iter().for_each(|total| total.encode(&mut out));
        }
        (out.len() < self.0.len()).then_some(out)
    }
}

/// One for all of these, of one origin, if there are several and it can be told exactly.
fn folded(totals: &[Total]) -> Option<Total> {
    let [first, second, rest @ ..] = totals else {
        return None;
    };
    let sum = |sum: crate::decimal::Decimal, total: &Total| sum.checked_add(total.sum);
    totals[1..].iter().try_fold(first.sum, sum)?;
    let folded = rest
        .iter()
        .fold(first.and(second), |folded, total| folded.and(total));
    (folded.actor.incarnation >> INCARNATION_BITS == 0).then_some(folded)
}

/// Finds what folded totals cover, from the last total to the first: those that cover one stand behind it.
#[derive(Default)]
struct Cover(Option<(Origin, Stamp)>);

impl Cover {
    fn covers(&mut self, total: &Total) -> bool {
        let origin = total.actor.origin;
        let newest = self.0.filter(|(of, _)| *of == origin);
        let is_covered = newest.is_some_and(|(_, newest)| total.stamp <= newest);
        if total.folded.is_some() && !is_covered {
            self.0 = Some((origin, total.stamp));
        }
        is_covered
    }
}

/// Whether no total is covered by another one.
pub(super) fn is_without_covered(totals: &Totals<'_>) -> bool {
    let mut cover = Cover::default();
    !totals.has_folded() || !totals.iter().rev().any(|total| cover.covers(&total))
}

/// Drops what is covered.
pub(super) fn drop_covered(encoded: &mut Vec<u8>) {
    if is_without_covered(&Totals(encoded)) {
        return;
    }
    let mut cover = Cover::default();
    let kept = Totals(encoded).iter().rev();
    let kept: Vec<Total> = kept.filter(|total| !cover.covers(total)).collect();
    encoded.clear();
    kept.iter().rev().for_each(|total| total.encode(encoded));
}

#[cfg(test)]
mod tests;
