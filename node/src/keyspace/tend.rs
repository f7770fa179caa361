//! What happens to keys while nobody asks for them: the bytes of expired values are dropped, and what every region has
//! heard the end of is forgotten.

use greenwich_proto::{
    entry::{Body, EntryRef, layout},
    hlc::Stamp,
    time::Wall,
};

use super::{
    Keyspace, SHARDS,
    shard::{Shard, Verdict},
};

impl Keyspace {
    /// Tends the `count` shards from `first` on, around the end. Returns the shard to go on from.
    pub fn tend(&self, now: Wall, first: usize, count: usize) -> usize {
        let settled = self.settled_stamp();
        for shard in (first..first + count).map(|shard| shard % SHARDS) {
            let mut shard = self.shards[shard].lock();
            let has_husks = shard.len() > shard.tally.keys;
            if has_husks || shard.next_deadline.is_some_and(|at| at <= now) {
                self.tend_shard(&mut shard, now, settled);
            }
        }
        (first + count) % SHARDS
    }

    fn tend_shard(&self, shard: &mut Shard, now: Wall, settled: Stamp) {
        // A wall clock lies behind the stamps by at most the skew that is followed, twice when it was set back.
        let margin = self.log.clock().max_skew().saturating_mul(2);
        let mut next_deadline: Option<Wall> = None;
        shard.retain(|bytes| {
            let entry = layout::view(bytes);
            if entry
                .forgettable_after(now, margin)
                .is_some_and(|stamp| stamp <= settled)
            {
                return Verdict::Remove;
            }
            if !entry.has_expired(now) {
                next_deadline = entry.deadline.at.into_iter().chain(next_deadline).min();
                return Verdict::Keep;
            }
            // A counter's totals are ours to remember until the key is forgotten, and they are small.
            if matches!(entry.body, Body::Bytes(_)) && entry.totals.is_empty() {
                return Verdict::Replace(layout::to_box(&EntryRef {
                    body: Body::Husk,
                    ..entry
                }));
            }
            next_deadline = entry.deadline.at.into_iter().chain(next_deadline).min();
            Verdict::Keep
        });
        shard.next_deadline = next_deadline;
        shard.shrink(|key| self.place(key).0);
    }
}
