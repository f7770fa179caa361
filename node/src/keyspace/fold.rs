//! Counters that were counted on in many lives of a region take the bytes of few: what lives that are over have counted is
//! folded into one total for each region. Clients see the same; nothing is logged or sent.

use std::sync::atomic::Ordering;

use greenwich_proto::{
    entry::{EntryRef, layout, totals::Totals},
    settled::Settled,
    time::Wall,
};

use super::{Keyspace, shard::Shard};

/// Counters of a shard that are folded under one lock.
const AT_ONCE: usize = 256;

impl Keyspace {
    /// Folds the totals of some counters, where more lives are over than when the shard was looked through last.
    pub(super) fn fold(&self, shard: &mut Shard, now: Wall, settled: &Settled) {
        if settled.ended_as_of() <= shard.folded_as_of {
            return;
        }
        let folded = shard.iter().filter_map(|entry| folded(entry, settled));
        let folded: Vec<Box<[u8]>> = folded.take(AT_ONCE).collect();
        for entry in &folded {
            let entry = layout::view(entry);
            shard.put(self.place(entry.key), &entry, now);
        }
        self.folded
            .fetch_add(folded.len() as u64, Ordering::Relaxed);
        if folded.len() < AT_ONCE {
            shard.folded_as_of = settled.ended_as_of();
        }
    }
}

/// An entry with fewer totals, if some can be folded.
fn folded(entry: &[u8], settled: &Settled) -> Option<Box<[u8]>> {
    let entry = layout::view(entry);
    let totals = entry.totals.fold(|total| settled.is_final(total))?;
    let totals = Totals::from_bytes(&totals).expect("totals stay in order");
    Some(layout::to_box(&EntryRef { totals, ..entry }))
}
