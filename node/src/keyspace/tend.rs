//! What happens to keys while nobody asks for them: what has been deleted or has expired is forgotten once every region
//! has heard of it, what has expired is counted and leaves the fingerprints, what lives that are over have counted is folded,
//! and what was flushed is freed.

use std::sync::atomic::Ordering;

use greenwich_proto::{entry::layout, fingerprint::epoch_at, settled::Settled, time::Wall};

use super::{
    Keyspace, SHARDS,
    shard::{Due, Shard},
};

impl Keyspace {
    /// Tends the `count` shards from `first` on, around the end, and frees what flushes took out of as many. Returns the
    /// shard to go on from.
    pub fn tend(&self, now: Wall, first: usize, count: usize) -> usize {
        self.free(count);
        let settled = self.settled.read().clone();
        for shard in (first..first + count).map(|shard| shard % SHARDS) {
            let mut shard = self.shards[shard].lock();
            let has_husks = shard.len() > shard.tally.keys;
            let has_deadlines = shard.next_deadline.is_some_and(|at| at <= now);
            if has_husks || has_deadlines || shard.tally.expiries.owes() {
                self.tend_shard(&mut shard, now, &settled);
            }
            self.fold(&mut shard, now, &settled);
        }
        (first + count) % SHARDS
    }

    fn tend_shard(&self, shard: &mut Shard, now: Wall, settled: &Settled) {
        // A wall clock lies behind the stamps by at most the skew that is followed, twice when it was set back.
        let margin = self.log.clock().max_skew().saturating_mul(2);
        let mut next_deadline: Option<Wall> = None;
        // Before anything is forgotten: what the fingerprints still count must be found to be taken out.
        shard.account(epoch_at(now));
        shard.tally.expiries.see(now);
        let expiries = shard.tally.expiries;
        let mut due = Due::default();
        let keep = |bytes: &[u8]| {
            let entry = layout::view(bytes);
            let forgettable = entry.forgettable_after(now, margin);
            if forgettable.is_some_and(|stamp| stamp <= settled.stamp())
                && !settled.is_any_late(&entry)
            {
                return false;
            }
            // An expired value stays whole: a later deadline, set elsewhere before it expired, may still bring it back.
            if expiries.is_due(&entry) {
                due.entries += 1;
                due.bytes += bytes.len();
            }
            next_deadline = entry.deadline.at.into_iter().chain(next_deadline).min();
            true
        };
        shard.retain(keep);
        shard.next_deadline = next_deadline;
        // Those that were removed here are among what the shard owed.
        let expired = shard.tally.settle(due);
        self.expired.fetch_add(expired, Ordering::Relaxed);
    }
}
