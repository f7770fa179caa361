//! Fingerprints of slots: equal in two regions when these hold the same, and kept up with every write in a few
//! instructions.
//!
//! A slot's fingerprint is the exclusive or of its entries' fingerprints, so the order of writes is of no consequence.
//! Only what clients see counts: deleted keys, and those whose deadline has passed, add nothing, whether they are still
//! remembered or not.
//!
//! Regions never hold the same at one moment while they are written to. They compare what they held at the end of an
//! *epoch*, in the order of stamps: a slot remembers its fingerprint at the end of a few epochs past (its *cuts*), and a
//! write that arrives late is put into those that it belongs to.
//!
//! ```text
//!   epochs        7       8       9      10      11
//!   an entry      ·   from├───────────────┤until ·        written in epoch 8, with a deadline in epoch 10:
//!   counts at the end of  8       9                       the end of an entry is a change of epoch 10 like any other
//! ```
//!
//! What a slot does not know is what a key was before: a write that is older than an epoch's end, of a key that was
//! written again after it, is missing in that cut. The next cut is right again, as each begins with the present.
//!
//! Knows neither maps nor locks; whoever calls says what was there before.

use crate::{
    entry::{Body, EntryRef, totals::Totals},
    hlc::{Stamp, Version},
    slots::{KeyHash, fold},
    time::Wall,
};

/// Milliseconds of stamps that make an epoch. All regions must agree on it.
pub const EPOCH_MS: u64 = 1_000;

/// Epochs past whose fingerprint a slot remembers.
pub const CUTS: usize = 4;

/// After every epoch: when what has no deadline ends.
const NEVER: u64 = u64::MAX;

/// Any constant that is no small number: keeps parts that are zero from making the product zero.
const PART: u64 = 0x082e_fa98_ec4e_6c89;

/// The epoch of a stamp.
#[inline]
#[must_use]
pub const fn epoch_of(stamp: Stamp) -> u64 {
    epoch_at(stamp.wall())
}

/// The first stamp after an epoch.
#[must_use]
pub const fn end_of(epoch: u64) -> Stamp {
    // A number that a peer made up must not wrap around.
    Stamp::at(Wall(epoch.saturating_add(1).saturating_mul(EPOCH_MS)))
}

/// The epoch of a time. What expires at that time is gone at the epoch's end.
#[inline]
#[must_use]
pub const fn epoch_at(wall: Wall) -> u64 {
    wall.0 / EPOCH_MS
}

/// A hash of all registers of an entry: it differs after every write. The bytes of the value are left out, because their
/// version stands for them, and so is the version of a base that is no value, and of the deadline that was taken from it:
/// regions forget both at different times. Of a counter, what an origin has added in all of its lives counts: some regions
/// have folded that of lives that are over, and others have not yet.
#[inline]
#[must_use]
pub fn fingerprint(key: KeyHash, entry: &EntryRef<'_>) -> u64 {
    let EntryRef {
        version,
        body,
        deadline,
        totals,
        ..
    } = entry;
    let is_dead = *body == Body::Dead;
    let base = if is_dead { Version::ZERO } else { *version };
    let is_forgettable = is_dead && deadline.at.is_none();
    let has_own_version = deadline.version != *version && !is_forgettable;
    let shape = u64::from(has_own_version) | u64::from(deadline.at.is_some()) << 1;
    let mut print = mix(key.0, base.stamp.0, u64::from(base.origin.0) | shape << 8);
    if has_own_version {
        print = mix(
            print,
            deadline.version.stamp.0,
            u64::from(deadline.version.origin.0),
        );
    }
    if let Some(at) = deadline.at {
        print = mix(print, at.0, 0);
    }
    if totals.is_empty() {
        print
    } else {
        with_totals(print, totals)
    }
}

fn with_totals(print: u64, totals: &Totals<'_>) -> u64 {
    totals.shares().fold(print, |print, share| {
        let sum = share.sum.to_bits().cast_unsigned();
        let several = |check| 1 << 8 | u64::from(check) << 16;
        let origin = u64::from(share.actor.origin.0) | share.folded.map_or(0, several);
        let print = mix(print, share.actor.incarnation, origin);
        let print = mix(print, share.stamp.0, sum as u64);
        mix(print, (sum >> u64::BITS) as u64, 0)
    })
}

/// As [`fingerprint`], of an entry of any kind: deleted keys differ by when they were deleted.
#[must_use]
pub fn identity(key: KeyHash, entry: &EntryRef<'_>) -> u64 {
    let print = fingerprint(key, entry);
    if entry.has_value() {
        return print;
    }
    let version = entry.version;
    mix(print, version.stamp.0, u64::from(version.origin.0))
}

#[inline]
fn mix(print: u64, first: u64, second: u64) -> u64 {
    fold(print ^ first, second ^ PART)
}

/// What an entry adds to its slot, and at the end of which epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Zero when it adds nothing.
    print: u64,
    /// The epoch of its newest write, the first in which it counts.
    from: u64,
    /// The epoch of its deadline, the first in which it counts no more.
    until: u64,
}

impl Presence {
    /// That of a key that is not held.
    pub const ABSENT: Self = Self::none_since(0);

    const fn none_since(from: u64) -> Self {
        let (print, until) = (0, NEVER);
        Self { print, from, until }
    }

    /// What is left of an entry that a flush removed.
    #[must_use]
    pub const fn flushed(stamp: Stamp) -> Self {
        Self::none_since(epoch_of(stamp))
    }

    /// That of an entry.
    #[inline]
    #[must_use]
    pub fn of(key: KeyHash, entry: &EntryRef<'_>) -> Self {
        let from = epoch_of(entry.newest());
        let until = entry.deadline.at.map_or(NEVER, epoch_at);
        if !entry.has_value() {
            return Self::none_since(from);
        }
        let print = fingerprint(key, entry);
        Self { print, from, until }
    }
}

/// The fingerprints of `N` slots that are changed under one lock, now and at the end of recent epochs.
///
/// Entries do not say when they end: deadlines are taken out of the fingerprints by [`Self::account`], up to the end of an
/// epoch.
// Slots share an epoch, and their cuts lie elsewhere: a write changes one word of few, which stay in the processor's cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotPrints<const N: usize> {
    now: [u64; N],
    /// The newest epoch of a change.
    epoch: u64,
    /// Deadlines up to the end of this epoch are accounted for.
    accounted: u64,
    /// No other deadline lies in an earlier epoch.
    next_end: u64,
    /// The slots at the end of each epoch before the newest; epoch `e` at `e % CUTS`.
    cuts: Box<[[u64; N]; CUTS]>,
}

impl<const N: usize> Default for SlotPrints<N> {
    fn default() -> Self {
        Self {
            now: [0; N],
            epoch: 0,
            accounted: 0,
            next_end: NEVER,
            cuts: Box::new([[0; N]; CUTS]),
        }
    }
}

impl<const N: usize> SlotPrints<N> {
    /// An entry in a slot has become another one.
    #[inline]
    pub fn change(&mut self, slot: usize, old: Presence, new: Presence) {
        // Where the newest write of the old one is not in the new one, what was there before both is not known.
        let at = old.from.max(new.from);
        if at == self.epoch && old.until.min(new.until) == NEVER {
            // What nearly every write comes to.
            self.now[slot] ^= old.print ^ new.print;
        } else {
            self.next_end = self.next_end.min(new.until);
            self.flip(slot, old, at);
            self.flip(slot, new, at);
        }
    }

    /// The fingerprint changes by what `presence` adds from the end of an epoch on, but not beyond its deadline.
    fn flip(&mut self, slot: usize, presence: Presence, from: u64) {
        self.toggle(slot, from.min(presence.until), presence.print);
        if presence.until <= self.accounted {
            self.toggle(slot, presence.until, presence.print);
        }
    }

    fn toggle(&mut self, slot: usize, from: u64, print: u64) {
        self.advance(from);
        self.now[slot] ^= print;
        for epoch in from.max(self.oldest())..self.epoch {
            self.cuts[cut_of(epoch)][slot] ^= print;
        }
    }

    /// Comes to an epoch, unless it was there before.
    fn advance(&mut self, epoch: u64) {
        if epoch > self.epoch {
            self.cut(epoch);
        }
    }

    /// Remembers the present as the end of every epoch before `next`.
    fn cut(&mut self, next: u64) {
        for epoch in self.epoch.max(next.saturating_sub(CUTS as u64))..next {
            self.cuts[cut_of(epoch)] = self.now;
        }
        self.epoch = next;
    }

    /// Accounts for deadlines up to the end of an epoch. `held` is asked only if there are any: it must be every entry that
    /// has a deadline, with its slot.
    pub fn account(&mut self, up_to: u64, held: impl Iterator<Item = (usize, Presence)>) {
        if up_to <= self.accounted {
            return;
        }
        if self.next_end <= up_to {
            self.next_end = NEVER;
            for (slot, held) in held {
                if held.until > up_to {
                    self.next_end = self.next_end.min(held.until);
                } else if held.until > self.accounted {
                    self.toggle(slot, held.until, held.print);
                }
            }
        }
        self.accounted = up_to;
    }

    /// Everything was flushed, and deadlines are accounted for up to the epoch before that of the flush.
    pub fn flush(&mut self, stamp: Stamp) {
        self.advance(epoch_of(stamp));
        self.now = [0; N];
        self.next_end = NEVER;
    }

    /// No deadline that is not accounted for lies in an earlier epoch.
    #[must_use]
    pub const fn next_end(&self) -> u64 {
        self.next_end
    }

    /// What an entry with this presence adds to its slot at present.
    #[must_use]
    pub const fn share_of(&self, presence: Presence) -> u64 {
        if presence.until > self.accounted {
            presence.print
        } else {
            0
        }
    }

    /// The fingerprint of a slot at the end of `epoch`, up to which deadlines must be accounted for; `None` when that is
    /// too long ago.
    #[must_use]
    pub fn as_of(&self, slot: usize, epoch: u64) -> Option<u64> {
        if epoch >= self.epoch {
            return Some(self.now[slot]);
        }
        (epoch >= self.oldest()).then(|| self.cuts[cut_of(epoch)][slot])
    }

    /// The present of all slots, with what was written in the epoch that is not over.
    #[must_use]
    pub const fn now(&self) -> [u64; N] {
        self.now
    }

    const fn oldest(&self) -> u64 {
        self.epoch.saturating_sub(CUTS as u64)
    }
}

const fn cut_of(epoch: u64) -> usize {
    (epoch % CUTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decimal::Decimal,
        entry::{
            Deadline,
            totals::{Actor, Total},
        },
        hlc::Origin,
    };

    const STAMP: u64 = Stamp::at(Wall(1_800_000_000_000)).0 + 5;

    fn version(later: u64, origin: u8) -> Version {
        let (stamp, origin) = (Stamp(STAMP + later), Origin(origin));
        Version { stamp, origin }
    }

    /// Two regions' totals, the second behind the first.
    fn totals() -> Vec<u8> {
        let mut totals = Vec::new();
        for (origin, incarnation, later, sum) in [(1, 9, 1, 5_i64), (2, 8, 2, -5)] {
            let Version { stamp, origin } = version(later, origin);
            let actor = Actor {
                origin,
                incarnation,
            };
            let total = Total {
                actor,
                stamp,
                sum: Decimal::from(sum),
                folded: None,
            };
            Totals::EMPTY.encode_with(&total, &mut totals);
        }
        totals
    }

    /// Other values, and nodes of two releases would take equal regions for different ones.
    #[test]
    fn the_fingerprint_of_an_entry_never_changes() {
        let at = Some(Wall(1_800_000_060_000));
        let totals = totals();
        let totals =
            |count| Totals::from_bytes(&totals[..count * Totals::ENTRY_BYTES]).expect("in order");
        let absent = EntryRef::absent(b"user:1000", version(0, 3));
        let plain = EntryRef {
            body: Body::Bytes(b"any"),
            ..absent
        };
        let until = |version, at| EntryRef {
            deadline: Deadline { version, at },
            ..plain
        };
        let golden = [
            (plain, 0xc214_4078_c2f2_a539),
            (until(plain.version, at), 0xb49e_e090_5d2b_06ba),
            (until(version(7, 2), at), 0x27be_5d73_a6c7_c57f),
            (until(version(7, 2), None), 0xba9e_2177_3a8b_8a55),
            (
                EntryRef {
                    totals: totals(2),
                    ..plain
                },
                0x98c6_46db_e8cd_b4af,
            ),
            (
                EntryRef {
                    totals: totals(1),
                    ..absent
                },
                0xd9e1_5747_a946_faeb,
            ),
        ];
        for (entry, print) in golden {
            let found = fingerprint(KeyHash::of(entry.key), &entry);
            assert_eq!(found, print, "{entry:?}: {found:#018x}");
        }
    }
}
