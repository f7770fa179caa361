//! The receiving half of a session: what of the peer's log has been applied, and what it has said about time.

use super::{
    differences::{self, Differences},
    handshake::Refusal,
    relayed::Relays,
    young,
};
use crate::{
    entry::{
        EntryRef,
        join::{self, Forgotten},
        layout,
    },
    hlc::{Clock, Origin, Stamp, Version},
    log::LANES,
    ranges::Ranges,
    store::{AT_ONCE, Applied, Store},
    time::{Time, Wall},
    wire::{
        CONTROL_BYTES_MAX,
        batch::{Batch, BatchError, Item},
        control::{Over, Resume, Watermark},
    },
};

/// Gaps in one lane beyond which a peer does not follow the protocol: far more batches than a window holds.
const GAPS_MAX: usize = 65_536;
/// Keys that the peer is told to have ended, at most, and about what each takes beside its bytes.
const OVER_MAX: usize = 4_096;
const OVER_BYTES: usize = 24;

/// Counters of the receiving half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiveStats {
    /// Batches applied.
    pub batches: u64,
    /// Batches that had been applied before.
    pub duplicates: u64,
    /// Bytes of batches.
    pub bytes: u64,
    /// Entries that changed what is held.
    pub changed: u64,
    /// Entries that were covered by what is held.
    pub superseded: u64,
    /// Entries that changed what is held and came with a sweep or a repair, less those of which all that was missing is on its
    /// way with the log.
    pub repaired: u64,
    /// Values that came so and that nothing as new is held of afterwards: what was taken for heard of, or for forgotten by
    /// all, was not.
    pub rejected: u64,
}

/// A peer that does not follow the protocol, or whose clock must not be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Bytes that are not a batch.
    #[error("{0}")]
    Batch(#[from] BatchError),
    /// More holes than any sender leaves.
    #[error("more than {GAPS_MAX} gaps in lane {0}")]
    Gaps(usize),
    /// A clock that runs ahead.
    #[error("{0}")]
    Refused(#[from] Refusal),
}

/// The receiving half.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    /// The peer's incarnation; zero when none was heard of.
    incarnation: u64,
    applied: [Ranges; LANES],
    acks: Vec<u64>,
    acks_since: Option<Time>,
    /// The word that counts once everything before it has been applied, and the newest one after it.
    word: Option<Watermark>,
    next_word: Option<Watermark>,
    /// What the peer sent although it has ended.
    over: Vec<Over>,
    pub(super) stats: ReceiveStats,
    /// What repairs have changed here.
    pub(super) differences: Differences,
    pub(super) relays: Relays,
}

/// When something arrives, and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Time,
    pub(super) wall: Wall,
    /// What comes beside the log is of a repair of what was held at this end of an epoch.
    pub(super) repairs: Option<Stamp>,
    /// The regions at the two ends of the link.
    pub(super) ends: [Origin; 2],
}

impl Receiver {
    pub(super) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// What our hello says about the peer's log.
    pub(super) fn resume_point(&self) -> Resume {
        Resume {
            incarnation: self.incarnation,
            applied: self.applied.iter().map(Ranges::cumulative).collect(),
        }
    }

    /// The peer is of this incarnation. What was known of an earlier one is void.
    pub(super) fn connect(&mut self, incarnation: u64) {
        if self.incarnation != incarnation {
            *self = Self {
                incarnation,
                stats: self.stats,
                differences: std::mem::take(&mut self.differences),
                relays: std::mem::take(&mut self.relays),
                ..Self::default()
            };
        }
    }

    /// Numbers of batches belong to a link.
    pub(super) fn disconnect(&mut self) {
        self.acks.clear();
        self.acks_since = None;
        (self.word, self.next_word) = (None, None);
        self.over.clear();
    }

    /// Applies a batch, unless it was applied before.
    pub(super) fn receive<S: Store>(
        &mut self,
        bytes: &[u8],
        clock: &Clock,
        store: &S,
        at: Moment,
    ) -> Result<(), Violation> {
        let Moment {
            now,
            wall,
            repairs,
            ends,
        } = at;
        let batch = Batch::decode(bytes)?;
        clock.observe(batch.newest, wall).map_err(Refusal::from)?;
        self.stats.bytes += bytes.len() as u64;
        let covered = |range: &crate::wire::batch::Range| {
            self.applied[range.lane].contains(range.after, range.up_to)
        };
        if !batch.ranges.is_empty() && batch.ranges.iter().all(covered) {
            self.stats.duplicates += 1;
        } else {
            let repairs = repairs.filter(|_| batch.ranges.is_empty());
            let before = repairs.map(|_| differences::before(&batch, store));
            if before.is_some() {
                self.relays.note(&batch, ends);
            }
            let (applied, found) = apply(&batch, repairs, store, wall);
            self.differences
                .note(before.unwrap_or_default(), store, wall);
            self.stats.batches += 1;
            self.stats.changed += applied.changed;
            self.stats.superseded += applied.superseded;
            if batch.ranges.is_empty() {
                self.stats.repaired += found;
                self.note_over(over(&batch, store));
            }
            for range in &batch.ranges {
                let lane = &mut self.applied[range.lane];
                lane.insert(range.after, range.up_to);
                if lane.gaps() > GAPS_MAX {
                    return Err(Violation::Gaps(range.lane));
                }
            }
        }
        self.acks.push(batch.id);
        self.acks_since = self.acks_since.or(Some(now));
        Ok(())
    }

    /// Takes over a flush that a comparison showed to be missing here.
    pub(super) fn flush<S: Store>(&mut self, flushed: Version, store: &S) {
        if flushed > store.flushed() {
            store.flush(flushed);
            self.stats.repaired += 1;
        }
    }

    fn note_over(&mut self, over: Vec<Over>) {
        self.stats.rejected += over.len() as u64;
        // The next comparison finds the rest.
        let room = OVER_MAX.saturating_sub(self.over.len());
        self.over.extend(over.into_iter().take(room));
    }

    /// Drops what the peer says has ended, unless it was written since.
    pub(super) fn drop_ended<S: Store>(&mut self, over: &[Over], store: &S, wall: Wall) {
        let is_dropped = |over: &&Over| store.bury(over, wall);
        self.stats.repaired += over.iter().filter(is_dropped).count() as u64;
    }

    /// What the peer sent although it has ended, some at a time.
    pub(super) fn take_over(&mut self) -> Vec<Over> {
        let mut bytes = 0;
        let fits = |over: &&Over| {
            bytes += over.key.len() + OVER_BYTES;
            bytes <= CONTROL_BYTES_MAX
        };
        let count = self.over.iter().take_while(fits).count();
        self.over.drain(..count).collect()
    }

    /// Batches to acknowledge, and since when the oldest of them waits.
    pub(super) fn acks_waiting(&self) -> Option<(Time, usize)> {
        self.acks_since.map(|since| (since, self.acks.len()))
    }

    pub(super) fn take_acks(&mut self) -> Vec<u64> {
        self.acks_since = None;
        std::mem::take(&mut self.acks)
    }

    /// Keeps the peer's word until everything before it has been applied. A later word never delays an earlier one.
    pub(super) fn hear(&mut self, watermark: Watermark) {
        if self.word.is_none() {
            self.word = Some(watermark);
        } else {
            self.next_word = Some(watermark);
        }
    }

    /// The peer's word, if everything that it wrote before has been applied.
    pub(super) fn accepted_word(&mut self) -> Option<Watermark> {
        let word = self.word?;
        let is_covered = self
            .applied
            .iter()
            .zip(word.heads)
            .all(|(applied, head)| applied.cumulative() >= head);
        if !is_covered {
            return None;
        }
        self.word = self.next_word.take();
        Some(word)
    }
}

/// Values of a batch that are no more, as far as every region was heard.
fn over<S: Store>(batch: &Batch<'_>, store: &S) -> Vec<Over> {
    let settled = store.settled();
    let forgotten = Forgotten {
        local: &settled,
        sender: &batch.forgotten,
        flushed: store.flushed(),
    };
    let ended_up_to = |entry: &EntryRef<'_>| {
        let mut ended = None;
        store.export(&[entry.key], &mut |held| {
            ended = Some(join::ended_up_to(
                Some(&layout::view(held)),
                entry,
                forgotten,
            ));
        });
        ended.unwrap_or_else(|| join::ended_up_to(None, entry, forgotten))
    };
    let mut over = Vec::new();
    let mut look = |entry: &EntryRef<'_>| {
        if entry.has_value()
            && let Some(ended) = ended_up_to(entry)
        {
            over.push(Over {
                key: entry.key.into(),
                newest: entry.newest(),
                ended,
            });
        }
    };
    for item in batch.items() {
        match item {
            Item::Entry(entry) => look(&entry),
            Item::Unit(unit) => unit.entries().for_each(|entry| look(&entry)),
            Item::Flush(_) => {}
        }
    }
    over
}

/// Joins what is in a batch. Says also how many of the entries count as found, if it is of a repair of what was held at an end.
fn apply<S: Store>(
    batch: &Batch<'_>,
    repairs: Option<Stamp>,
    store: &S,
    wall: Wall,
) -> (Applied, u64) {
    let (mut applied, mut found) = (Applied::default(), 0);
    let mut join = |entries: &[EntryRef<'_>]| {
        let watched = repairs.and_then(|end| young::watch(entries, end, store));
        let joined = store.join(entries, &batch.forgotten, wall);
        applied += joined;
        found += watched.map_or(joined.changed, |watched| watched.brought(store));
    };
    let mut items = batch.items();
    let mut next = Vec::with_capacity(AT_ONCE);
    let mut keys = Vec::with_capacity(AT_ONCE);
    loop {
        next.extend(items.by_ref().take(AT_ONCE));
        if next.is_empty() {
            return (applied, found);
        }
        keys.extend(next.iter().filter_map(|item| match item {
            Item::Entry(entry) => Some(entry.key),
            Item::Unit(_) | Item::Flush(_) => None,
        }));
        store.prefetch(&keys);
        keys.clear();
        for item in next.drain(..) {
            match item {
                Item::Entry(entry) => join(&[entry]),
                Item::Unit(unit) => join(&unit.entries().collect::<Vec<_>>()),
                Item::Flush(version) => store.flush(version),
            }
        }
    }
}
