//! Whoever reads the keys of a unit as one transaction sees all of a unit or none of it, in every region: the keys of a
//! group carry one token, and what was moved from one account to another is in exactly one of them.
//!
//! A sweep walks the keyspace key by key, so a region that is being swept to is excused. A transfer that such a region
//! accepts may count one account on a flush that it has been sent and the other on what was before it. The latter part
//! goes with its base, everywhere and for good, so the group is excused until both accounts stand on a later base. What
//! it holds until then is for `convergence` to check.

use std::collections::BTreeMap;

use greenwich_proto::{hlc::Version, store::Store, time::Wall};

use super::Broken;
use crate::{
    region::Region,
    workload::{GROUP_KEYS, GROUPS, Key},
};

/// What is remembered of units.
#[derive(Debug, Default)]
pub struct Units {
    /// Groups of accounts with a transfer whose parts count on different bases, and the latest of these.
    split: BTreeMap<u64, Version>,
}

impl Units {
    /// A region accepted a transfer that counts on different bases, the latest of which is `base`.
    pub fn split(&mut self, group: u64, base: Version) {
        let latest = self.split.entry(group).or_default();
        *latest = base.max(*latest);
    }

    /// Reads every group of one region.
    ///
    /// # Errors
    /// A group that is seen in part.
    pub fn check<S: Store>(&self, region: &Region<S>, wall: Wall) -> Result<(), Broken> {
        for group in 0..GROUPS {
            let tokens: Vec<Key> = (0..GROUP_KEYS).map(|at| Key::Token(group, at)).collect();
            let seen = region.read_together(&tokens, wall);
            if seen.iter().any(|token| *token != seen[0]) {
                return Err(broken(region.index, format!("tokens {seen:?}")));
            }
            let accounts = [Key::Account(group, 0), Key::Account(group, 1)];
            if self.is_split(region, group, &accounts) {
                continue;
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
