//! After quiet, every region shows the same value and deadline for every key, and it is the one that the oracle computes
//! from everything that was accepted. Nothing accepted is lost, nothing deleted is back.

use greenwich_proto::{store::Store, time::Wall};

use super::Broken;
use crate::{oracle::Oracle, region::Region, workload::Key};

/// Compares all regions with the oracle at one wall time.
///
/// # Errors
/// The first key that differs.
pub fn check<S: Store>(
    regions: &[&Region<S>],
    oracle: &Oracle,
    keys: &[Key],
    wall: Wall,
) -> Result<(), Broken> {
    for &key in keys {
        let expected = oracle.outcomes(key, wall);
        let first = regions.first().map(|region| region.read(key, wall));
        for region in regions {
            let shown = region.read(key, wall);
            let is_expected = oracle.is_contested(key) || expected.contains(&shown);
            if !is_expected || Some(&shown) != first.as_ref() {
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
fn story<S: Store>(regions: &[&Region<S>], oracle: &Oracle, key: Key) -> String {
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
            "\n    {} holds {held:?}, and counts as settled {:?}",
            crate::region::name(region.index),
            region.keyspace.settled(),
        ));
    }
    text
}
