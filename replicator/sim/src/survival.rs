//! Which accepted writes outlive the nodes that had them.
//!
//! A write that only the dead node had is lost, and no region may be expected to show it. One that any living node has, or
//! that is still on its way to one, is not: every region must show it in the end.

use std::collections::BTreeSet;

use greenwich_proto::{
    hlc::{Origin, Version},
    store::Store,
};

use crate::{
    folds::Folds,
    network::Route,
    oracle::{Effect, Oracle},
    region::Region,
    workload::Key,
};

/// What is known of the dead.
#[derive(Debug, Default)]
pub struct Survival {
    /// Connections from a dead node that their other end still believes in: something may still arrive on them.
    open: BTreeSet<(Route, u64)>,
    /// Whether somebody died since the last look.
    is_in_doubt: bool,
}

impl Survival {
    /// The node of a region died.
    pub fn die(&mut self) {
        self.is_in_doubt = true;
    }

    /// Something may still arrive at `route.from` over this connection, whose other end died.
    pub fn expect_drop(&mut self, route: Route, epoch: u64) {
        if epoch != 0 {
            self.open.insert((route, epoch));
        }
    }

    /// This end of a connection is gone.
    pub fn drop_end(&mut self, route: Route, epoch: u64) {
        self.open.remove(&(route, epoch));
    }

    /// Whether something may still be lost.
    #[must_use]
    pub const fn is_in_doubt(&self) -> bool {
        self.is_in_doubt
    }

    /// Whether somebody died since the last time that this was so, and nothing is on its way from the dead.
    pub fn is_decided(&mut self) -> bool {
        self.open.is_empty() && std::mem::take(&mut self.is_in_doubt)
    }
}

/// The writes that none of these regions has, nor has had.
#[must_use]
pub fn lost<S: Store>(
    regions: &[&Region<S>],
    oracle: &Oracle,
    folds: &Folds,
) -> BTreeSet<(Key, usize)> {
    let is_held = |key: Key, effect: &Effect| {
        let has = |region: &&Region<S>| {
            region.with_held(key, |held| {
                held.covers(effect) && folds.have(key, held.entry, effect)
            }) || oracle.has_held(region.index, key, effect)
        };
        regions.iter().any(has)
    };
    let lost: BTreeSet<_> = oracle
        .all()
        .filter(|(key, _, effect)| !is_held(*key, effect))
        .map(|(key, at, _)| (key, at))
        .collect();
    // An expiry that every region has forgotten is known by what was counted on it.
    let is_counted_on = |key: Key, version: Version| {
        let mut effects = oracle.effects(key).iter().enumerate();
        effects.any(|(at, effect)| effect.counts_on(version) && !lost.contains(&(key, at)))
    };
    let is_known = |(key, at): &(Key, usize)| match oracle.effects(*key)[*at] {
        Effect::Base { version, .. } => {
            version.origin == Origin::NONE && is_counted_on(*key, version)
        }
        Effect::Deadline { .. } | Effect::Count { .. } => false,
    };
    let known: BTreeSet<_> = lost.iter().copied().filter(is_known).collect();
    lost.difference(&known).copied().collect()
}
