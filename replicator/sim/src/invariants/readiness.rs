//! A node that starts empty serves clients only when it holds what its peers held when it started. Peers that it could not
//! reach in time are excused, once it has waited for them as long as it is told to, and so are those that died themselves
//! meanwhile. What has ended at a peer meanwhile is not asked for.

use std::{collections::BTreeMap, time::Duration};

use greenwich_proto::{
    entry::{Body, EntryRef, layout, totals::Total},
    store::Store,
    time::{Time, Wall},
};

use super::Broken;
use crate::{
    oracle::Held,
    region::{Region, name},
    workload::Key,
};

/// What one peer held when a node started: its incarnation, and the encoded entry of each key.
#[derive(Debug)]
struct Snapshot {
    incarnation: u64,
    entries: Vec<(Key, Box<[u8]>)>,
}

/// What nodes must hold before they serve.
#[derive(Debug, Default)]
pub struct Readiness {
    /// By the node, and by its peer.
    held: BTreeMap<(usize, usize), Snapshot>,
    /// When each node that was restarted started.
    started: BTreeMap<usize, Time>,
}

impl Readiness {
    /// The node of a region starts, empty.
    pub fn restart<S: Store>(
        &mut self,
        regions: &[Region<S>],
        index: usize,
        keys: &[Key],
        now: Time,
    ) {
        self.started.insert(index, now);
        self.held.retain(|(heir, _), _| *heir != index);
        for other in known(regions, index) {
            let entry = |&key: &Key| {
                let bytes = other.with_entry(key, |entry| entry.map(layout::to_box))?;
                Some((key, bytes))
            };
            let snapshot = Snapshot {
                incarnation: other.incarnation(),
                entries: keys.iter().filter_map(entry).collect(),
            };
            self.held.insert((index, other.index), snapshot);
        }
    }

    /// A node begins to serve at `now`, without what the `missing` peers hold, for whom it should have waited `patience`.
    ///
    /// # Errors
    /// The first entry that it lacks, or its impatience.
    pub fn check<S: Store>(
        &self,
        regions: &[Region<S>],
        (index, missing): (usize, &[usize]),
        patience: Duration,
        now: Time,
    ) -> Result<(), Broken> {
        let started = self.started.get(&index).copied().unwrap_or_default();
        if !missing.is_empty() && now < started + patience {
            let text = format!("{} does not wait for what {missing:?} hold", name(index));
            return Err(Broken::new("readiness", text));
        }
        for other in known(regions, index).filter(|other| !missing.contains(&other.index)) {
            let Some(snapshot) = self.held.get(&(index, other.index)) else {
                continue;
            };
            if snapshot.incarnation != other.incarnation() {
                continue;
            }
            for (key, bytes) in &snapshot.entries {
                let expected = layout::view(bytes);
                let has = |held: Held<'_>| has(&held, &expected);
                let wall = other.clock.read(now);
                let is_no_more = || {
                    other.keyspace.settled().has_all_of(&expected)
                        || !other.with_held(*key, |held| still_holds(&held, &expected, wall))
                };
                if !regions[index].with_held(*key, has) && !is_no_more() {
                    let now_held =
                        |region: &Region<S>| region.with_entry(*key, |entry| format!("{entry:?}"));
                    let text = format!(
                        "{} serves without {key}, of which {} held {expected:?} when it started\n    they hold {}\n    and {}",
                        name(index),
                        name(other.index),
                        now_held(&regions[index]),
                        now_held(other),
                    );
                    return Err(Broken::new("readiness", text));
                }
            }
        }
        Ok(())
    }
}

/// The regions of which a node expects anything.
fn known<S>(regions: &[Region<S>], index: usize) -> impl Iterator<Item = &Region<S>>
where
    S: Store,
{
    let node = &regions[index];
    regions.iter().filter(|other| node.knows(other.index))
}

/// Whether a node holds an entry, or what is newer. A base that is dead may be forgotten, what counts on it may not.
fn has(held: &Held<'_>, expected: &EntryRef<'_>) -> bool {
    let base = held.entry.map_or(held.flushed, |entry| entry.version);
    let base = base.max(held.flushed);
    let is_dead = held.entry.is_none_or(|entry| entry.body == Body::Dead);
    let is_same = base == expected.version || is_dead && expected.body == Body::Dead;
    let counts = |total: &Total| held.entry.is_some_and(|entry| entry.totals.counts(total));
    base > expected.version || is_same && expected.totals.iter().all(|total| counts(&total))
}

/// Whether clients of a node still see an entry's value, or what counts on it.
fn still_holds(held: &Held<'_>, expected: &EntryRef<'_>, wall: Wall) -> bool {
    let is_it = |entry: &&EntryRef<'_>| entry.version == expected.version && entry.is_live(wall);
    held.entry.as_ref().is_some_and(is_it) && has(held, expected)
}
