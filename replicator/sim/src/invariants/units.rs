//! Whoever reads the keys of a unit as one transaction sees all of a unit or none of it, in every region: the keys of a
//! group carry one token, and what was moved from one account to another is in exactly one of them.
//!
//! A sweep walks the keyspace key by key, so a region that is being swept to is excused.

use greenwich_proto::{store::Store, time::Wall};

use super::Broken;
use crate::{
    region::Region,
    workload::{GROUP_KEYS, GROUPS, Key},
};

/// Reads every group of one region.
///
/// # Errors
/// A group that is seen in part.
pub fn check<S: Store>(region: &Region<S>, wall: Wall) -> Result<(), Broken> {
    for group in 0..GROUPS {
        let tokens: Vec<Key> = (0..GROUP_KEYS).map(|at| Key::Token(group, at)).collect();
        let seen = region.read_together(&tokens, wall);
        if seen.iter().any(|token| *token != seen[0]) {
            return Err(broken(region.index, format!("tokens {seen:?}")));
        }
        let seen = region.read_together(&[Key::Account(group, 0), Key::Account(group, 1)], wall);
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

fn broken(region: usize, text: String) -> Broken {
    Broken::new(
        "units",
        format!(
            "{} shows a part of a unit: {text}",
            crate::region::name(region)
        ),
    )
}
