//! The join of two entries of one key: what a region holds after it heard both.
//!
//! Commutative, associative and idempotent on every pair of well-formed entries (`tests/laws.rs`), so updates may
//! arrive in any order and any number of times.

use std::cmp::Ordering;

use super::{Body, Deadline, EntryRef, layout, totals::Totals};
use crate::hlc::{Stamp, Version};

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Dead bases up to here may have been dropped locally.
    pub local: Stamp,
    /// Dead bases up to here may have been dropped by the sender.
    pub sender: Stamp,
    /// The newest local flush: the base of a key that is not held.
    pub flushed: Version,
}

/// Joins `incoming` into `local`, or into nothing. `None` when nothing of the incoming entry is worth keeping.
#[must_use]
pub fn join(
    local: Option<&EntryRef<'_>>,
    incoming: &EntryRef<'_>,
    forgotten: Forgotten,
) -> Option<Joined> {
    if incoming.newest() <= forgotten.local {
        // Everything in it was here once and is covered by what is held, or has been forgotten since: a replay.
        return local.map(|_| Joined::Local);
    }
    let absent = EntryRef::absent(incoming.key, forgotten.flushed);
    let held = local.unwrap_or(&absent);
    let rebased = rebase(held, incoming, forgotten);
    match join_registers(held, &rebased) {
        Joined::Local if local.is_none() => None,
        // What was rebased differs from the bytes that came in.
        Joined::Incoming if rebased != *incoming => Some(Joined::Mixed(layout::to_box(&rebased))),
        joined @ (Joined::Local | Joined::Incoming | Joined::Mixed(_)) => Some(joined),
    }
}

/// Puts an incoming base on the footing of the local one where one side has forgotten what the other remembers.
fn rebase<'a>(local: &EntryRef<'_>, incoming: &EntryRef<'a>, forgotten: Forgotten) -> EntryRef<'a> {
    let is_dead = incoming.body == Body::Dead;
    let mut version = incoming.version;
    if is_forgotten(local, incoming, forgotten) {
        if !is_dead && incoming.deadline.version.stamp <= forgotten.local {
            return EntryRef::absent(incoming.key, forgotten.flushed);
        }
        if is_dead {
            version = forgotten.flushed;
        }
    }
    if is_dead && version <= local.version {
        version = dropped_base(local, incoming, forgotten.sender).unwrap_or(version);
    }
    if version < forgotten.flushed {
        // Written before a flush that is already here.
        let mut flushed = EntryRef::absent(incoming.key, forgotten.flushed);
        flushed.deadline = flushed.deadline.max(incoming.deadline);
        return flushed;
    }
    let mut rebased = EntryRef {
        version,
        ..*incoming
    };
    if version != incoming.version {
        let own = incoming.deadline.version > incoming.version.max(version);
        rebased.deadline = if own {
            incoming.deadline
        } else {
            Deadline { version, at: None }
        };
    }
    rebased
}

/// Whether the incoming base was here once and has been dropped: every region has heard everything up to it, and
/// nothing is held but, at most, what was written on the flush since.
fn is_forgotten(local: &EntryRef<'_>, incoming: &EntryRef<'_>, forgotten: Forgotten) -> bool {
    let since = |version: Version| version == local.version || version > incoming.version;
    local.version <= forgotten.flushed
        && incoming.version > local.version
        && incoming.version.stamp <= forgotten.local
        && since(local.deadline.version)
        && local
            .totals
            .iter()
            .all(|total| total.stamp > incoming.version.stamp)
}

/// The base that an incoming older one stands for, if its sender has heard of the local entry and has dropped it since:
/// the base that the entry's expiry started, or the entry's own when it is dead.
fn dropped_base(
    local: &EntryRef<'_>,
    incoming: &EntryRef<'_>,
    sender_forgot: Stamp,
) -> Option<Version> {
    let expiry_base = local.expiry_base();
    let was_mortal =
        local.deadline.at.is_some() && incoming.deadline.version < local.deadline.version;
    let base = if was_mortal && expiry_base.stamp <= sender_forgot {
        expiry_base
    } else if local.body == Body::Dead && local.version.stamp <= sender_forgot {
        local.version
    } else {
        return None;
    };
    (!predates(incoming, base)).then_some(base)
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
