//! After quiet, every region shows the same value and deadline for every key, and it is the one that the oracle computes
//! from everything that was accepted. Nothing accepted is lost, nothing deleted is back.

use std::collections::BTreeSet;

use greenwich_proto::{entry::Body, store::Store, time::Wall};

use super::Broken;
use crate::{oracle::Oracle, region::Region, workload::Key};

/// Notes keys whose bytes a region has dropped after their deadline, before it heard of a later deadline that was set in
/// ignorance of it. Whether such a value lives on depends on who still has its bytes, so they are not compared.
pub fn note_dropped<S: Store>(
    region: &Region<S>,
    keys: &[Key],
    wall: Wall,
    dropped: &mut BTreeSet<Key>,
) {
    let is_prolonged = |key: &Key| {
        region.with_entry(*key, |entry| {
            entry.is_some_and(|entry| {
                let is_later = entry.deadline.version > entry.version;
                entry.body == Body::Husk && is_later && !entry.has_expired(wall)
            })
        })
    };
    dropped.extend(keys.iter().filter(|key| is_prolonged(key)));
}

/// Compares all regions with the oracle at one wall time.
///
/// # Errors
/// The first key that differs.
pub fn check<S: Store>(
    regions: &[Region<S>],
    oracle: &Oracle,
    keys: &[Key],
    wall: Wall,
) -> Result<(), Broken> {
    for &key in keys {
        let expected = oracle.outcome(key, wall);
        for region in regions {
            let shown = region.read(key, wall);
            if shown != expected {
                let text = format!(
                    "{key} is {shown:?} in {}, the oracle says {expected:?}{}",
                    crate::region::name(region.index),
                    story(regions, oracle, key)
                );
                return Err(Broken::new("convergence", text));
            }
        }
    }
    Ok(())
}

/// What was accepted for a key, and what every region holds of it.
fn story<S: Store>(regions: &[Region<S>], oracle: &Oracle, key: Key) -> String {
    let mut text = String::new();
    for effect in oracle.effects(key) {
        text.push_str(&format!("\n    accepted {effect:?}"));
    }
    for region in regions {
        let held = region.with_entry(key, |entry| {
            entry.map(|entry| {
                let totals: Vec<_> = entry
                    .totals
                    .iter()
                    .map(|total| (total.actor.origin.0, total.sum.to_string()))
                    .collect();
                format!(
                    "{:?} {:?} {:?} {totals:?}",
                    entry.version, entry.body, entry.deadline
                )
            })
        });
        text.push_str(&format!(
            "\n    {} holds {held:?}",
            crate::region::name(region.index)
        ));
    }
    text
}
