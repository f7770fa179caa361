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
//! | a deletion that is forgotten here, and is later than what was brought since | (`was_brought_from_before`) | itself, and what is held loses what is older |
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
    if was_brought_from_before(held, incoming, forgotten) {
        return Some(Joined::Mixed(join_what_came_after(held, incoming)));
    }
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

/// Whether a deletion comes in that was forgotten here, and something of what is held is older: a region that was away brought
/// it since, and where the deletion is remembered it has ended.
fn was_brought_from_before(
    held: &EntryRef<'_>,
    incoming: &EntryRef<'_>,
    forgotten: Forgotten<'_>,
) -> bool {
    let is_deletion = incoming.body == Body::Dead && incoming.version > held.version;
    // Whoever has heard all of it, and what is held had no end of its own, has forgotten it.
    let was_forgotten = held.version <= forgotten.flushed
        && held.deadline.at.is_none()
        && forgotten.local.has_all_of(incoming);
    is_deletion && was_forgotten && predates(held, incoming.version)
}

/// What is held, less what is older than the incoming deletion, together with what comes in: both count on that deletion.
fn join_what_came_after(held: &EntryRef<'_>, incoming: &EntryRef<'_>) -> Box<[u8]> {
    let totals = held.totals.after(incoming.version.stamp);
    let held = EntryRef {
        totals: Totals::trusted(&totals),
        ..rebase(held, incoming.version)
    };
    match join_registers(&held, incoming) {
        Joined::Local => layout::to_box(&held),
        Joined::Incoming => layout::to_box(incoming),
        Joined::Mixed(bytes) => bytes,
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
    if was_brought_from_before(held, incoming, forgotten) {
        return None;
    }
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
mod tests;
