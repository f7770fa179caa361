//! Whoever reads the keys of a unit as one transaction sees all of a unit or none of it, in every region that serves clients,
//! through sweeps and repairs: where one key shows a unit, the others show it, too, or what has replaced it; and what was
//! moved from one account to another is in exactly one of them.
//!
//! A region that started empty and serves before it has received what its peers hold is excused: units that every region
//! had heard of before are remembered by nobody, and come key by key. So are units that a node forgot at its limit.
//!
//! A transfer that an excused region accepts may count one account on a deletion that has arrived and the other on what was
//! before it. The latter part goes with its base, everywhere and for good, so the group is excused until both accounts
//! stand on a later base. What it holds until then is for `convergence` to check.

use std::collections::BTreeMap;

use greenwich_proto::{
    hlc::{Stamp, Version},
    store::Store,
    time::Wall,
};

use super::Broken;
use crate::{
    region::{Region, accounts},
    workload::{GROUPS, Key, TOKENS},
};

/// What is remembered of units.
#[derive(Debug, Default)]
pub struct Units {
    /// The tokens that each unit wrote or deleted.
    written: BTreeMap<Version, Vec<Key>>,
    /// Groups of accounts with a transfer whose parts count on different bases, and the latest of these.
    split: BTreeMap<u64, Version>,
}

impl Units {
    /// A region accepted a unit that wrote or deleted these tokens.
    pub fn note(&mut self, version: Version, keys: Vec<Key>) {
        self.written.insert(version, keys);
    }

    /// A region accepted a transfer that counts on different bases, the latest of which is `base`.
    pub fn split(&mut self, group: u64, base: Version) {
        let latest = self.split.entry(group).or_default();
        *latest = base.max(*latest);
    }

    /// Reads all tokens, and every group of accounts, of one region. Ends up to `settled` may be forgotten somewhere.
    ///
    /// # Errors
    /// A unit that is seen in part.
    pub fn check<S: Store>(
        &self,
        region: &Region<S>,
        settled: Stamp,
        wall: Wall,
    ) -> Result<(), Broken> {
        self.check_tokens(region, settled)?;
        (0..GROUPS).try_for_each(|group| self.check_accounts(region, group, wall))
    }

    fn check_tokens<S: Store>(&self, region: &Region<S>, settled: Stamp) -> Result<(), Broken> {
        let flushed = region.flushed();
        region.with_entries(&Key::tokens(0, TOKENS), |entries| {
            for (key, entry) in entries {
                let version = entry.version;
                // Behind a flush, or forgotten with its end, it was replaced.
                let is_replaced = |other: &Key| match entries.get(other) {
                    Some(other) => other.version.max(flushed) >= version,
                    None => flushed >= version || settled >= version.stamp,
                };
                let unit = self.written.get(&version);
                let missing = unit.and_then(|keys| keys.iter().find(|key| !is_replaced(key)));
                if let Some(missing) = missing {
                    let base = entries.get(missing).map(|entry| entry.version);
                    let text = format!("{key} is of {version:?}, and {missing} of {base:?}");
                    return Err(broken(region.index, text));
                }
            }
            Ok(())
        })
    }

    fn check_accounts<S: Store>(
        &self,
        region: &Region<S>,
        group: u64,
        wall: Wall,
    ) -> Result<(), Broken> {
        let accounts = accounts(group);
        if self.is_split(region, group, &accounts) {
            return Ok(());
        }
        let seen = region.read_together(&accounts, wall);
        let amount = |shown: &Option<String>| {
            shown
                .as_ref()
                .map_or(0, |text| text.parse().unwrap_or(i64::MAX))
        };
        if amount(&seen[0]).checked_add(amount(&seen[1])) != Some(0) {
            return Err(broken(region.index, format!("accounts {seen:?}")));
        }
        Ok(())
    }

    fn is_split<S: Store>(&self, region: &Region<S>, group: u64, accounts: &[Key]) -> bool {
        let base = |&key: &Key| {
            region.with_entry(key, |entry| {
                entry.map_or_else(|| region.flushed(), |entry| entry.version)
            })
        };
        self.split
            .get(&group)
            .is_some_and(|split| accounts.iter().map(base).any(|base| base <= *split))
    }
}

fn broken(region: usize, text: String) -> Broken {
    Broken::new(
        "units",
        format!(
            "{} shows a part of a unit: {text}",
            crate::region::name(region)
        ),
    )
}
