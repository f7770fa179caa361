//! The join of two entries of one key: what a region holds after it heard both.
//!
//! Commutative, associative and idempotent on every pair of well-formed entries (`tests/laws.rs`), so updates may
//! arrive in any order and any number of times.
//!
//! Regions forget what is dead at different times, so an incoming base need not mean what it says. Before the join proper,
//! which is by registers, each incoming entry is put on the footing of what is held ([`Footing`]):
//!
//! | what comes in | footing | becomes |
//! |---|---|---|
//! | everything in it was heard by every region | `Replay` | nothing: it is covered by what is held, or forgotten |
//! | a value that was here once and has ended since | `Ended` | nothing |
//! | what was written before a flush that is here | `Flushed` | its deadline at most, on the flush |
//! | counts on a deletion that is forgotten here | `On` the flush | what counts on the flush |
//! | counts on the flush of a sender that has forgotten the deletion held here | `On` the deletion | what counts on it |
//! | anything else | `On` its own base | itself |

use std::cmp::Ordering;

use super::{
    Body, Deadline, EntryRef, layout,
    totals::{Total, Totals},
};
use crate::{
    hlc::{Stamp, Version},
    settled::Settled,
};

/// What is left of two entries after their join.
#[derive(Debug, PartialEq, Eq)]
pub enum Joined {
    /// The local entry covers the incoming one.
    Local,
    /// The incoming entry covers the local one.
    Incoming,
    /// Parts of both, encoded.
    Mixed(Box<[u8]>),
}

/// What the two sides of a join have already forgotten.
///
/// A dead or expired base that every region has heard of is dropped from memory, and the key's base is then the last
/// flush again.
/// Regions do this at different times; these marks let the join recognise a dropped base instead of taking it for an
/// older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgotten<'a> {
    /// Dead bases among this may have been dropped locally.
    pub local: &'a Settled,
    /// Dead bases among this may have been dropped by the sender.
    pub sender: &'a Settled,
    /// The newest local flush: the base of a key that is not held.
    pub flushed: Version,
}

impl Default for Forgotten<'_> {
    fn default() -> Self {
        Self {
            local: Settled::NOTHING,
            sender: Settled::NOTHING,
            flushed: Version::ZERO,
        }
    }
}

/// What an incoming entry stands on, as this region sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Footing {
    /// Every region heard all of it: it is covered by what is held, or has been forgotten since.
    Replay,
    /// Its base was here once, and has ended.
    Ended,
    /// It was written before a flush that is already here.
    Flushed,
    /// This base: its own, or one that stands for it.
    On(Version),
}

/// Joins `incoming` into `local`, or into nothing. `None` when nothing of the incoming entry is worth keeping.
#[must_use]
pub fn join(
    local: Option<&EntryRef<'_>>,
    incoming: &EntryRef<'_>,
    forgotten: Forgotten<'_>,
) -> Option<Joined> {
    let absent = EntryRef::absent(incoming.key, forgotten.flushed);
    let held = local.unwrap_or(&absent);
    let rebased = match footing(held, incoming, forgotten) {
        Footing::Replay | Footing::Ended => return local.map(|_| Joined::Local),
        Footing::Flushed => EntryRef {
            deadline: absent.deadline.max(incoming.deadline),
            ..absent
        },
        Footing::On(base) => rebase(incoming, base),
    };
    match join_registers(held, &rebased) {
        Joined::Local if local.is_none() => None,
        // What was rebased differs from the bytes that came in.
        Joined::Incoming if rebased != *incoming => Some(Joined::Mixed(layout::to_box(&rebased))),
        joined @ (Joined::Local | Joined::Incoming | Joined::Mixed(_)) => Some(joined),
    }
}

/// Where nothing of `incoming` is taken over although what is held does not cover it: up to when what it says has ended. Every
/// region heard of that, and it is held no more; what was written later on it counts on nothing.
#[must_use]
pub fn ended_up_to(
    local: Option<&EntryRef<'_>>,
    incoming: &EntryRef<'_>,
    forgotten: Forgotten<'_>,
) -> Option<Stamp> {
    let absent = EntryRef::absent(incoming.key, forgotten.flushed);
    let held = local.unwrap_or(&absent);
    let is_covered = |incoming: &EntryRef<'_>| join_registers(held, incoming) == Joined::Local;
    let is_over = match footing(held, incoming, forgotten) {
        Footing::Replay | Footing::Ended => {
            // What counts on a deletion counts on what is left of it here.
            let counts_on_it = incoming.body == Body::Dead && held.body == Body::Dead;
            !(is_covered(incoming) || counts_on_it && is_covered(&rebase(incoming, held.version)))
        }
        Footing::Flushed | Footing::On(_) => false,
    };
    is_over.then(|| heard_and_gone(held, incoming, forgotten.local))
}

/// The newest of what an incoming entry says that every region has heard of and that is not held.
fn heard_and_gone(held: &EntryRef<'_>, incoming: &EntryRef<'_>, local: &Settled) -> Stamp {
    let registers = [incoming.version, incoming.deadline.version];
    let counted = incoming.totals.iter();
    let counted = counted.filter(|total| !held.totals.counts(total));
    let all = counted.map(|total| total.version()).chain(registers);
    let gone = all.filter(|version| local.has(*version));
    gone.map(|version| version.stamp).max().unwrap_or_default()
}

/// What an incoming entry stands on, beside what is held.
fn footing(held: &EntryRef<'_>, incoming: &EntryRef<'_>, forgotten: Forgotten<'_>) -> Footing {
    let is_dead = incoming.body == Body::Dead;
    let stands_for = |base: Version| {
        let dropped = || dropped_by_sender(held, incoming, forgotten.sender);
        let is_behind = is_dead && base <= held.version;
        is_behind.then(dropped).flatten().unwrap_or(base)
    };
    // What a region that was away brought may be older than what was forgotten here and is heard again.
    let is_brought = held.version > forgotten.flushed;
    let is_older = is_brought && held.version < stands_for(incoming.version);
    if forgotten.local.has_all_of(incoming) && !is_older {
        return Footing::Replay;
    }
    let mut base = incoming.version;
    if was_dropped_here(held, incoming, forgotten) {
        if is_dead {
            base = forgotten.flushed;
        } else if has_ended(incoming, forgotten.local) {
            return Footing::Ended;
        }
    }
    if counts_on_what_ended(held, incoming, forgotten.local) {
        return Footing::Ended;
    }
    let base = stands_for(base);
    if base < forgotten.flushed {
        Footing::Flushed
    } else {
        Footing::On(base)
    }
}

/// The incoming entry on another base than its own.
fn rebase<'a>(incoming: &EntryRef<'a>, base: Version) -> EntryRef<'a> {
    if base == incoming.version {
        return *incoming;
    }
    let is_own = incoming.deadline.version > incoming.version.max(base);
    let none = Deadline {
        version: base,
        at: None,
    };
    EntryRef {
        version: base,
        deadline: if is_own { incoming.deadline } else { none },
        ..*incoming
    }
}

/// Whether the incoming base was here once and has been dropped: every region has heard everything up to it, and
/// nothing is held but, at most, what was written on the flush since.
fn was_dropped_here(
    held: &EntryRef<'_>,
    incoming: &EntryRef<'_>,
    forgotten: Forgotten<'_>,
) -> bool {
    let since = |version: Version| version == held.version || version > incoming.version;
    held.version <= forgotten.flushed
        && incoming.version > held.version
        && forgotten.local.has(incoming.version)
        && since(held.deadline.version)
        && held
            .totals
            .iter()
            .all(|total| total.stamp > incoming.version.stamp)
}

/// Whether a value whose base was dropped here has ended for good. A region that was away may have prolonged it since
/// without knowing.
fn has_ended(incoming: &EntryRef<'_>, local: &Settled) -> bool {
    local.has(incoming.deadline.version) || local.is_late(incoming.deadline.version)
}

/// Whether a region that was away counted on what has ended here meanwhile: something that every region heard of its key
/// is held no more.
fn counts_on_what_ended(held: &EntryRef<'_>, incoming: &EntryRef<'_>, local: &Settled) -> bool {
    incoming.version == held.version
        && local.is_any_late(incoming)
        && incoming
            .totals
            .iter()
            .any(|total| local.has(total.version()) && !held.totals.counts(&total))
}

/// The base that an incoming older one stands for, if its sender has heard of the held entry and has dropped it since:
/// the base that the entry's expiry started, or the entry's own when it is dead.
fn dropped_by_sender(
    held: &EntryRef<'_>,
    incoming: &EntryRef<'_>,
    sender: &Settled,
) -> Option<Version> {
    let expiry_base = held.expiry_base();
    let has_ended = sender.has(expiry_base) && sender.has(held.deadline.version);
    let base = if has_ended && is_without(incoming, held, sender) {
        expiry_base
    } else if held.body == Body::Dead && sender.has(held.version) {
        held.version
    } else {
        return None;
    };
    (!predates(incoming, base)).then_some(base)
}

/// Whether a sender holds nothing of an entry that has a deadline, and has not moved the deadline either: it may have set
/// one for what it has counted since.
fn is_without(incoming: &EntryRef<'_>, held: &EntryRef<'_>, sender: &Settled) -> bool {
    let is_counted_there =
        |total: &Total| !sender.has(total.version()) || incoming.totals.counts(total);
    let is_older = incoming.deadline.version < held.deadline.version
        || incoming.version < held.version
        || !held.totals.iter().all(|total| is_counted_there(&total));
    held.deadline.at.is_some() && is_older
}

/// Whether an older entry holds what came before `base`: its sender, whose wall clock is behind, has yet to see the
/// deadline pass that started the base, and has dropped nothing.
fn predates(entry: &EntryRef<'_>, base: Version) -> bool {
    let deadline = entry.deadline.version;
    (deadline > entry.version && deadline < base)
        || entry.totals.iter().any(|total| total.stamp <= base.stamp)
}

/// The join proper: each register and each total by its own order.
fn join_registers(local: &EntryRef<'_>, incoming: &EntryRef<'_>) -> Joined {
    // Bodies of one version differ only where one side dropped the bytes.
    let winner = match (local.version, local.body).cmp(&(incoming.version, incoming.body)) {
        Ordering::Less => incoming,
        Ordering::Equal | Ordering::Greater => local,
    };
    let mut joined = EntryRef {
        deadline: local.deadline.max(incoming.deadline),
        ..*winner
    };
    let mut totals = Vec::new();
    if local.version == incoming.version && local.totals != incoming.totals {
        local.totals.encode_join(&incoming.totals, &mut totals);
        joined.totals = Totals::trusted(&totals);
    }
    if joined == *local {
        Joined::Local
    } else if joined == *incoming {
        Joined::Incoming
    } else {
        Joined::Mixed(layout::to_box(&joined))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decimal::Decimal,
        entry::totals::Actor,
        hlc::{Origin, Stamp},
        time::Wall,
    };

    const KEY: &[u8] = b"key";
    const AWAY: Origin = Origin(3);

    /// Everything up to 100 is settled, but of region 3 only what it wrote up to 40.
    fn settled() -> Settled {
        Settled::up_to(Stamp(100)).but_for(AWAY, (Stamp(40), Stamp(u64::MAX)))
    }

    fn by(origin: u8, stamp: u64) -> Version {
        Version {
            stamp: Stamp(stamp),
            origin: Origin(origin),
        }
    }

    fn value(version: Version) -> EntryRef<'static> {
        EntryRef {
            body: Body::Bytes(b"v"),
            ..EntryRef::absent(KEY, version)
        }
    }

    fn totals(of: &[(u8, u64)]) -> Vec<u8> {
        of.iter().fold(Vec::new(), |totals, &(origin, stamp)| {
            let total = Total {
                actor: Actor {
                    origin: Origin(origin),
                    incarnation: 1,
                },
                stamp: Stamp(stamp),
                sum: Decimal::from(1),
                folded: None,
            };
            let mut next = Vec::new();
            Totals::trusted(&totals).encode_with(&total, &mut next);
            next
        })
    }

    fn counter(totals: &[u8]) -> EntryRef<'_> {
        EntryRef {
            totals: Totals::trusted(totals),
            ..EntryRef::absent(KEY, Version::ZERO)
        }
    }

    /// Whether something of an entry is taken over, and whether it is over.
    fn comes(local: Option<&EntryRef<'_>>, incoming: &EntryRef<'_>) -> (bool, bool) {
        let settled = settled();
        let forgotten = Forgotten {
            local: &settled,
            ..Forgotten::default()
        };
        let is_new = !matches!(join(local, incoming, forgotten), None | Some(Joined::Local));
        (is_new, ended_up_to(local, incoming, forgotten).is_some())
    }

    #[test]
    fn what_everybody_has_heard_of_and_nobody_holds_is_over() {
        assert_eq!(comes(None, &value(by(1, 90))), (false, true));
        assert_eq!(comes(None, &value(by(1, 101))), (true, false));
        let newer = value(by(1, 95));
        assert_eq!(comes(Some(&newer), &value(by(1, 90))), (false, false));
    }

    #[test]
    fn what_a_region_wrote_while_it_was_away_is_news() {
        assert_eq!(comes(None, &value(by(3, 41))), (true, false));
        assert_eq!(comes(None, &value(by(3, 40))), (false, true));
        let older = value(by(1, 30));
        let deleted = EntryRef::absent(KEY, by(3, 50));
        assert_eq!(comes(Some(&older), &deleted), (true, false));
    }

    #[test]
    fn what_counts_on_nothing_outlives_what_was_brought_late_and_has_ended() {
        let counted = totals(&[(1, 90)]);
        let incoming = counter(&counted);
        let mut held = value(by(3, 60));
        held.deadline.at = Some(Wall(0));
        let settled = Settled::up_to(Stamp(100));
        let forgotten = Forgotten {
            local: &settled,
            sender: &settled,
            ..Forgotten::default()
        };
        let on_its_end = EntryRef {
            totals: incoming.totals,
            ..EntryRef::absent(KEY, held.expiry_base())
        };
        let expected = Joined::Mixed(layout::to_box(&on_its_end));
        assert_eq!(join(Some(&held), &incoming, forgotten), Some(expected));
        held.deadline.at = None;
        let still_there = join(Some(&held), &incoming, forgotten);
        assert_eq!(still_there, Some(Joined::Local));
    }

    #[test]
    fn a_deadline_set_far_away_brings_back_nothing() {
        for stamp in [60, 120] {
            let mut prolonged = value(by(1, 30));
            prolonged.deadline = Deadline {
                version: by(3, stamp),
                at: None,
            };
            assert_eq!(comes(None, &prolonged), (false, true), "{stamp}");
            let held = value(by(1, 30));
            assert_eq!(comes(Some(&held), &prolonged), (true, false), "{stamp}");
        }
    }

    #[test]
    fn what_was_counted_far_away_counts_only_where_its_base_has_not_ended() {
        let (fresh, stale) = (totals(&[(3, 60)]), totals(&[(1, 20), (3, 60)]));
        assert_eq!(comes(None, &counter(&fresh)), (true, false));
        assert_eq!(comes(None, &counter(&stale)), (false, true));
        let held = totals(&[(1, 20)]);
        let held = counter(&held);
        assert_eq!(comes(Some(&held), &counter(&stale)), (true, false));
        let again = totals(&[(2, 80)]);
        let again = counter(&again);
        assert_eq!(comes(Some(&again), &counter(&stale)), (false, true));
    }

    #[test]
    fn what_has_ended_ended_before_what_is_held_began() {
        let settled = settled();
        let forgotten = Forgotten {
            local: &settled,
            ..Forgotten::default()
        };
        let ended = |local: Option<&EntryRef<'_>>, incoming: &EntryRef<'_>| {
            ended_up_to(local, incoming, forgotten).map(|at| at.0)
        };
        assert_eq!(ended(None, &value(by(1, 90))), Some(90));
        let (stale, again) = (totals(&[(1, 20), (2, 80), (3, 60)]), totals(&[(2, 80)]));
        let again = counter(&again);
        assert_eq!(
            ended(Some(&again), &counter(&stale)),
            Some(20),
            "80 is held"
        );
        let mut prolonged = value(by(1, 30));
        prolonged.deadline.version = by(3, 120);
        assert_eq!(ended(None, &prolonged), Some(30), "of 120 nobody heard");
    }

    #[test]
    fn what_counts_on_a_deletion_is_not_over_where_that_is_forgotten() {
        let counted = totals(&[(1, 90)]);
        let here = counter(&counted);
        let there = EntryRef {
            totals: Totals::trusted(&counted),
            ..EntryRef::absent(KEY, by(1, 80))
        };
        assert_eq!(comes(Some(&here), &there), (false, false));
    }
}
