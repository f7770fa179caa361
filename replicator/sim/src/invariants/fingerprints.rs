//! After quiet, the fingerprint of every slot is that of its entries, and the same in every region: what regions compare
//! says "equal" when they are.

use greenwich_proto::{entry::layout, fingerprint::epoch_at, store::Store, time::Wall};

use super::Broken;
use crate::region::{Region, name};

/// Compares all regions at the end of the epoch of `wall`.
///
/// # Errors
/// The first slot that is miscounted, or that differs, and what the regions hold in it.
pub fn check<S: Store>(regions: &[&Region<S>], wall: Wall) -> Result<(), Broken> {
    let Some((first, others)) = regions.split_first() else {
        return Ok(());
    };
    for region in regions {
        if let Some(slot) = region.miscounted() {
            let text = format!("{} miscounts slot {slot}", name(region.index));
            return Err(Broken::new("fingerprints", text));
        }
    }
    let expected = prints(first, wall);
    for other in others {
        let pairs = expected.iter().zip(prints(other, wall));
        if let Some(slot) = pairs.into_iter().position(|(a, b)| *a != b) {
            let text = format!(
                "slot {slot} differs{}{}",
                story(first, slot),
                story(other, slot)
            );
            return Err(Broken::new("fingerprints", text));
        }
    }
    Ok(())
}

fn prints<S: Store>(region: &Region<S>, wall: Wall) -> Vec<Option<u64>> {
    let mut prints = Vec::new();
    region
        .store()
        .prints(epoch_at(wall), &mut |_, print| prints.push(print));
    prints
}

fn story<S: Store>(region: &Region<S>, slot: usize) -> String {
    let mut text = String::new();
    region.store().list_slots(slot..slot + 1, &mut |_, entry| {
        let entry = layout::view(entry);
        let key = String::from_utf8_lossy(entry.key);
        let totals: Vec<_> = entry.totals.iter().collect();
        text.push_str(&format!(
            "\n    {} holds {key}: {:?} {:?} {:?} {totals:?}",
            name(region.index),
            entry.version,
            entry.body,
            entry.deadline
        ));
    });
    text
}
