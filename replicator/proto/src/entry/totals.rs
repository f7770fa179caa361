//! Running totals of a counter, one per origin and incarnation, in their encoded form.
//!
//! Only the node that owns a total changes it, and every change carries a later stamp, so the newest is the largest
//! in the sense of the join. A restarted node is a new incarnation and starts a new total; those of lives that are over are
//! [`folded`] into one.
//!
//! Their number is bounded by what the layout can count. Of more, the newest stay, by the order of stamp and actor. That
//! keeps the join a semilattice: joins only move totals up in that order, so what is dropped once stays below as many
//! others, and is among the newest of no later join either. Where a folded total takes the place of some that were kept, what was
//! dropped before does not come back: then a join is none, but regions that differ so still come to the same by repair.

mod folded;

use std::cmp::Ordering;

use crate::{
    decimal::Decimal,
    hlc::{Origin, Stamp, Version},
};

/// Short for the size of one encoded total.
const TOTAL_BYTES: usize = Totals::ENTRY_BYTES;

/// Who adds: a region's node, from one start to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Actor {
    /// The region.
    pub origin: Origin,
    /// Start of the process, in milliseconds since the Unix epoch.
    pub incarnation: u64,
}

/// What one actor has added to a base, or all lives of its region up to its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    /// Who.
    pub actor: Actor,
    /// When it last added.
    pub stamp: Stamp,
    /// The sum of everything that it added.
    pub sum: Decimal,
    /// That of one life has none; a folded one has the check sum of what was folded, 15 bits.
    pub folded: Option<u16>,
}

impl Total {
    /// When and where it last added.
    #[must_use]
    pub fn version(&self) -> Version {
        let (stamp, origin) = (self.stamp, self.actor.origin);
        Version { stamp, origin }
    }

    fn decode(bytes: &[u8; TOTAL_BYTES]) -> Self {
        let (origin, rest) = bytes.split_at(1);
        let (incarnation, rest) = rest.split_at(8);
        let (stamp, sum) = rest.split_at(8);
        let (incarnation, folded) = folded::unmark(u64_le(incarnation));
        Self {
            actor: Actor {
                origin: Origin(origin[0]),
                incarnation,
            },
            stamp: Stamp(u64_le(stamp)),
            sum: Decimal::from_bits(i128::from_le_bytes(
                sum.try_into().expect("split to 16 bytes"),
            )),
            folded,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.actor.origin.0);
        out.extend_from_slice(&folded::mark(self).to_le_bytes());
        out.extend_from_slice(&self.stamp.0.to_le_bytes());
        out.extend_from_slice(&self.sum.to_bits().to_le_bytes());
    }

    /// The order of totals: a folded one stands behind that of its actor.
    fn place(&self) -> (Actor, bool) {
        (self.actor, self.folded.is_some())
    }

    /// The order in which a total of one place replaces another. The sum breaks ties that no correct node produces.
    fn replaces(&self, other: &Self) -> bool {
        (self.stamp, self.sum, self.folded) > (other.stamp, other.sum, other.folded)
    }
}

fn u64_le(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("split to 8 bytes"))
}

/// Encoded totals, ordered by actor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Totals<'a>(&'a [u8]);

impl<'a> Totals<'a> {
    /// Bytes of one encoded total: origin, incarnation, stamp, sum.
    pub const ENTRY_BYTES: usize = 1 + 8 + 8 + 16;

    /// The largest number of totals. A region would have to restart as often, and count on one key in each life.
    pub const COUNT_MAX: usize = u16::MAX as usize;

    /// No total: a plain value.
    pub const EMPTY: Self = Self(&[]);

    /// Checks that `bytes` are whole totals in strictly increasing order of their actors, not too many, and none that another
    /// one covers.
    #[must_use]
    pub fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        let totals = Self(bytes);
        let whole =
            bytes.len().is_multiple_of(TOTAL_BYTES) && bytes.len() / TOTAL_BYTES <= Self::COUNT_MAX;
        let is_sound = whole
            && totals.iter().is_sorted_by(|a, b| a.place() < b.place())
            && folded::is_without_covered(&totals);
        is_sound.then_some(totals)
    }

    /// `bytes` that [`Self::from_bytes`] accepted before.
    pub(crate) const fn trusted(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The encoded form.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Whether nobody added anything.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The totals in the order of their actors.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Total> + use<'a> {
        let (totals, _) = self.0.as_chunks::<TOTAL_BYTES>();
        totals.iter().map(Total::decode)
    }

    /// What `actor` has added, as far as that was not folded.
    #[must_use]
    pub fn of(&self, actor: Actor) -> Decimal {
        self.iter()
            .find(|total| total.place() == (actor, false))
            .map_or(Decimal::ZERO, |total| total.sum)
    }

    /// Writes these totals with `total`, which is newer than all of them, in place of its actor's.
    pub fn encode_with(&self, total: &Total, out: &mut Vec<u8>) {
        self.encode_all_with(total, out);
        keep_newest(out, Self::COUNT_MAX);
    }

    fn encode_all_with(&self, total: &Total, out: &mut Vec<u8>) {
        let mut pending = Some(total);
        for kept in self.iter() {
            if pending.is_some_and(|total| total.place() <= kept.place()) {
                total.encode(out);
                pending = None;
                if kept.place() == total.place() {
                    continue;
                }
            }
            kept.encode(out);
        }
        if let Some(total) = pending {
            total.encode(out);
        }
    }

    /// The encoded totals that are later than `stamp`.
    #[must_use]
    pub fn after(&self, stamp: Stamp) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.len());
        let later = self.iter().filter(|total| total.stamp > stamp);
        later.for_each(|total| total.encode(&mut out));
        out
    }

    /// Writes the newest total of every actor of either side that no folded one covers; of too many, the newest.
    pub(crate) fn encode_join(&self, other: &Self, out: &mut Vec<u8>) {
        self.encode_join_within(other, Self::COUNT_MAX, out);
    }

    fn encode_join_within(&self, other: &Self, count_max: usize, out: &mut Vec<u8>) {
        self.encode_all_joined(other, out);
        folded::drop_covered(out);
        keep_newest(out, count_max);
    }

    fn encode_all_joined(&self, other: &Self, out: &mut Vec<u8>) {
        let (mut left, mut right) = (self.iter().peekable(), other.iter().peekable());
        loop {
            let order = match (left.peek(), right.peek()) {
                (Some(a), Some(b)) => a.place().cmp(&b.place()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return,
            };
            let total = match order {
                Ordering::Less => left.next(),
                Ordering::Greater => right.next(),
                Ordering::Equal => left
                    .next()
                    .zip(right.next())
                    .map(|(a, b)| if b.replaces(&a) { b } else { a }),
            };
            total.expect("peeked").encode(out);
        }
    }
}

/// Of more than `count_max` encoded totals, leaves the newest, in the order of their actors.
fn keep_newest(encoded: &mut Vec<u8>, count_max: usize) {
    let count = encoded.len() / TOTAL_BYTES;
    if count <= count_max {
        return;
    }
    let age = |total: Total| (total.stamp, total.actor);
    let mut ages: Vec<_> = Totals(encoded).iter().map(age).collect();
    let (_, &mut oldest_kept, _) = ages.select_nth_unstable(count - count_max);
    let mut kept = Vec::with_capacity(count_max * TOTAL_BYTES);
    Totals(encoded)
        .iter()
        .filter(|&total| age(total) >= oldest_kept)
        .for_each(|total| total.encode(&mut kept));
    *encoded = kept;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As many totals as the tests keep.
    const FEW: usize = 3;

    fn encoded(totals: &[(u8, u64, i64)]) -> Vec<u8> {
        let mut encoded = Vec::new();
        for &(origin, stamp, sum) in totals {
            let actor = Actor {
                origin: Origin(origin),
                incarnation: 1,
            };
            let total = Total {
                actor,
                stamp: Stamp(stamp),
                sum: Decimal::from(sum),
                folded: None,
            };
            let mut one = Vec::new();
            total.encode(&mut one);
            encoded = joined(&encoded, &one);
        }
        encoded
    }

    fn joined(a: &[u8], b: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Totals(a).encode_join_within(&Totals(b), FEW, &mut out);
        out
    }

    fn any_totals() -> impl Strategy<Value = Vec<u8>> {
        let total = (1u8..9, 1u64..6, -2i64..3);
        prop::collection::vec(total, 0..8).prop_map(|totals| encoded(&totals))
    }

    proptest! {
        #[test]
        fn a_join_of_too_many_totals_is_a_semilattice(a in any_totals(), b in any_totals(), c in any_totals()) {
            let both = joined(&a, &b);
            prop_assert!(Totals::from_bytes(&both).is_some());
            prop_assert!(both.len() <= FEW * TOTAL_BYTES);
            prop_assert_eq!(&both, &joined(&b, &a));
            prop_assert_eq!(joined(&both, &c), joined(&a, &joined(&b, &c)));
            prop_assert_eq!(&joined(&both, &a), &both);
            prop_assert_eq!(&joined(&a, &a), &a);
        }
    }

    #[test]
    fn of_too_many_totals_the_newest_stay() {
        let kept = encoded(&[(1, 4, 10), (2, 1, 20), (3, 3, 30), (4, 2, 40)]);
        let origins: Vec<u8> = Totals(&kept)
            .iter()
            .map(|total| total.actor.origin.0)
            .collect();
        assert_eq!(origins, [1, 3, 4]);
    }
}
