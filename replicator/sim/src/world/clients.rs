//! Commands of clients, and what is looked at while they run.

use std::time::Duration;

use greenwich_proto::{
    entry::{EntryRef, totals::Total},
    hlc::{Stamp, Version},
    store::Store,
    time::Time,
};

use super::{Event, TEND_US, World};
use crate::{
    invariants::{Broken, bounds},
    network::Route,
    oracle::Effect,
    region::{Changed, Performed, name},
    workload::{Key, Operation},
};

/// Most looks of a session before a command comes in between.
const MEANWHILE_LOOKS: u64 = 4;

impl<S: Store> World<'_, S> {
    pub(super) fn operate(&mut self, index: usize) -> Result<(), Broken> {
        if self.is_quiet {
            return Ok(());
        }
        self.after_operation(index);
        if !self.is_served(index) {
            return Ok(());
        }
        let operation = self.workload.next(&self.swarm);
        let performed = self.regions[index].perform(self.now, &operation, &self.keys);
        self.note(index, &operation, performed)
    }

    fn is_served(&self, index: usize) -> bool {
        self.cluster.runs(index) && !self.regions[index].is_loading
    }

    /// A command that runs while a session of the region works, and how many looks of the session come before it.
    pub(super) fn draw_meanwhile(&mut self, index: usize) -> Option<(u64, Operation)> {
        if self.is_quiet || !self.is_served(index) || !self.meanwhile.chance(self.swarm.meanwhile) {
            return None;
        }
        let looks = self.meanwhile.below(MEANWHILE_LOOKS);
        Some((looks, self.workload.next(&self.swarm)))
    }

    /// Follows what a command did.
    pub(super) fn note(
        &mut self,
        index: usize,
        operation: &Operation,
        performed: Performed,
    ) -> Result<(), Broken> {
        self.summary.operations += 1;
        let Performed { changed, marks } = performed;
        self.trace.line(
            self.now,
            &name(index),
            format_args!("{operation} -> {} keys", changed.len()),
        );
        let place = self.delivery.place(index, &marks)?;
        if changed.is_empty() {
            return Ok(());
        }
        let Some(place) = place else {
            let text = format!("{operation} changed {changed:?} and is not in the log");
            return Err(Broken::new("delivery", text));
        };
        self.accept(index, operation, changed, place)?;
        for other in self.others(index) {
            // A real driver is woken through the operating system: other commands may come first.
            let in_us = self.rng.below(300);
            self.wake(
                Route {
                    from: index,
                    to: other,
                },
                Time(self.now.0 + in_us),
            );
        }
        Ok(())
    }

    pub(super) fn accept(
        &mut self,
        index: usize,
        operation: &Operation,
        changed: Vec<Changed>,
        place: (usize, u64),
    ) -> Result<(), Broken> {
        if let Operation::Transfer(group, _) = operation {
            self.note_transfer(index, *group, &changed)?;
        }
        let tokens: Vec<Key> = changed.iter().map(|changed| changed.key).collect();
        let wall = self.regions[index].clock.read(self.now);
        let mut version = None;
        for Changed { key, effect } in changed {
            if let Effect::Base {
                version: written, ..
            }
            | Effect::Deadline {
                version: written, ..
            } = &effect
            {
                if version.is_some_and(|version| version != *written) {
                    return Err(Broken::new(
                        "stamps",
                        format!("{operation} wrote {version:?} and {written:?}"),
                    ));
                }
                version = Some(*written);
            }
            if let Effect::Base { version, .. } = &effect {
                for other in self.others(index) {
                    self.delivery.expect(index, other, place, key, *version);
                }
            }
            self.oracle.accept(index, key, effect, wall);
            self.observe(index, key);
        }
        let Some(version) = version else {
            return Ok(());
        };
        if let Operation::SetTokens(..) | Operation::DeleteTokens(..) = operation {
            self.units.note(version, tokens);
        }
        self.stamps.note(index, version, wall)
    }

    /// A transfer counts on one base, unless its region may show parts of units.
    fn note_transfer(
        &mut self,
        index: usize,
        group: u64,
        changed: &[Changed],
    ) -> Result<(), Broken> {
        let bases: Vec<Version> = changed
            .iter()
            .filter_map(|changed| match changed.effect {
                Effect::Count { base, .. } => Some(base),
                Effect::Base { .. } | Effect::Deadline { .. } => None,
            })
            .collect();
        let latest = bases.iter().copied().max().unwrap_or_default();
        if bases.iter().all(|base| *base == latest) {
            return Ok(());
        }
        if !self.may_be_torn(index) {
            let text = format!("a transfer in {} counts on {bases:?}", name(index));
            return Err(Broken::new("units", text));
        }
        self.units.split(group, latest);
        Ok(())
    }

    pub(super) fn observe(&mut self, index: usize, key: Key) {
        let region = &self.regions[index];
        let flushed = region.flushed();
        region.with_entry(key, |entry| self.oracle.observe(index, key, entry, flushed));
    }

    /// Lets clients into a region that has begun to serve them.
    pub(super) fn look_whether_loaded(&mut self, index: usize) -> Result<(), Broken> {
        let serves_at_once = self.plant.serves_at_once;
        if !self.cluster.runs(index) {
            return Ok(());
        }
        let has_begun = self.regions[index].look_whether_loaded(self.now, serves_at_once);
        let missing = self.regions[index].missing();
        self.inherit(index, &missing);
        if !has_begun {
            return Ok(());
        }
        self.trace.line(
            self.now,
            &name(index),
            format_args!("serves clients, without what {missing:?} hold"),
        );
        let patience = Duration::from_millis(self.swarm.loading_patience_ms);
        self.readiness
            .check(&self.regions, (index, &missing), patience, self.now)
    }

    /// Tells the oracle from whom a region has received everything, before it serves or later.
    fn inherit(&mut self, index: usize, missing: &[usize]) {
        for other in self.others(index) {
            if !missing.contains(&other) && self.inherited.insert((index, other)) {
                let other_region = &self.regions[other];
                let settled = other_region.keyspace.settled().stamp();
                let held =
                    |key| other_region.with_entry(key, |entry| entry.map(|entry| entry.version));
                self.oracle.inherit(index, other, settled, held);
            }
        }
    }

    pub(super) fn tend(&mut self, index: usize) -> Result<(), Broken> {
        self.after(TEND_US, Event::Tend(index));
        if !self.cluster.runs(index) {
            return Ok(());
        }
        let held = self.held(index);
        let before = self.totals(index, &held);
        self.regions[index].tend(self.now);
        for (key, before) in before {
            let after = self.regions[index].with_entry(key, totals);
            self.folds.note(key, &before, &after);
        }
        self.note_absence(index);
        let left = self.held(index);
        for key in held.iter().filter(|key| !left.contains(key)) {
            self.oracle.forget(index, *key);
            let ended = self.oracle.known_base(index, *key);
            self.verify.change(index, *key, ended.stamp);
        }
        let region = &self.regions[index];
        bounds::check(region, &self.swarm, self.now)?;
        self.look_whether_loaded(index)?;
        self.check_units(index)
    }

    /// The keys of which a region holds anything.
    pub(super) fn held(&self, index: usize) -> Vec<Key> {
        let region = &self.regions[index];
        let holds = |key: &&Key| region.with_entry(**key, |entry| entry.is_some());
        self.keys.iter().filter(holds).copied().collect()
    }

    /// The totals of keys that have several.
    fn totals(&self, index: usize, keys: &[Key]) -> Vec<(Key, Vec<Total>)> {
        let of = |key: &Key| (*key, self.regions[index].with_entry(*key, totals));
        let has_several = |(_, totals): &(Key, Vec<Total>)| totals.len() > 1;
        keys.iter().map(of).filter(has_several).collect()
    }

    /// Looks for parts of units, as clients of a region would see them.
    pub(super) fn check_units(&mut self, index: usize) -> Result<(), Broken> {
        self.is_torn_for_good |= self.regions[index].log.units().dropped() > 0;
        self.raise_settled();
        let region = &self.regions[index];
        if !self.is_served(index) || self.may_be_torn(index) {
            return Ok(());
        }
        let wall = region.clock.read(self.now);
        self.units.check(region, self.settled, wall)
    }

    /// Tells the oracle which writes are late for a region that counts others as away.
    pub(super) fn note_absence(&mut self, index: usize) {
        let settled = self.regions[index].keyspace.settled();
        if settled.is_complete() {
            return;
        }
        // What was deleted meanwhile, and forgotten, is no unit any more.
        self.is_torn_for_good = true;
        self.oracle.contest(&settled);
    }

    fn raise_settled(&mut self) {
        let regions = self.regions.iter();
        let settled = regions.map(|region| region.keyspace.settled().stamp());
        self.settled = settled.fold(self.settled, Stamp::max);
    }

    /// Whether a region is excused: it serves without what others hold, or parts are all that is left of some units.
    fn may_be_torn(&self, index: usize) -> bool {
        self.is_torn_for_good || !self.regions[index].missing().is_empty()
    }

    /// Sweeps that the living nodes have started.
    pub(super) fn sweeps(&self) -> u64 {
        let of_node = |index| {
            let region = &self.regions[index];
            let reports = self.others(index).into_iter();
            reports.filter_map(|other| Some(region.report(other, self.now)?.sent.sweeps))
        };
        (0..self.swarm.regions).flat_map(of_node).sum()
    }
}

fn totals(entry: Option<&EntryRef<'_>>) -> Vec<Total> {
    entry.map_or_else(Vec::new, |entry| entry.totals.iter().collect())
}
