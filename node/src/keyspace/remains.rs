//! What flushes took out of the shards, until it is counted and freed: a few shards' at a time, by whoever tends the
//! keyspace. The memory of millions of keys takes tens of milliseconds to go through, and no client waits for that.

use std::{collections::VecDeque, sync::atomic::Ordering};

use parking_lot::Mutex;

use super::{Keyspace, SHARDS, shard::Remains};

/// What waits: about what one flush leaves.
const WAITING_MAX: usize = SHARDS;

/// What was taken out and is still to be counted and freed, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<VecDeque<Remains>>);

impl Keyspace {
    /// Takes over what a flush took out. What waits beyond the limit is freed at once, so that whoever fills and flushes
    /// faster than memory is freed pays for it. No shard may be locked.
    pub(super) fn free_later(&self, taken: Vec<Remains>) {
        if taken.is_empty() {
            return;
        }
        let surplus = {
            let mut waiting = self.remains.0.lock();
            waiting.extend(taken);
            waiting.len().saturating_sub(WAITING_MAX)
        };
        self.free(surplus);
    }

    /// Counts and frees what was taken out of at most `count` shards.
    pub(super) fn free(&self, count: usize) {
        for _ in 0..count {
            let Some(remains) = self.remains.0.lock().pop_front() else {
                return;
            };
            self.expired.fetch_add(remains.expired(), Ordering::Relaxed);
        }
    }

    /// From how many shards something waits.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.remains.0.lock().len()
    }
}
