//! What the server has counted. Each thread counts on its own cache line.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::keyspace::Lookups;

/// Samples kept for rates: with one every 100 ms, the last second and a half.
const SAMPLES: usize = 16;

/// Counters since the start, or since CONFIG RESETSTAT where INFO shows them.
#[derive(Debug)]
pub struct Counters {
    threads: Box<[ThreadCounters]>,
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections refused because as many as allowed were there.
    pub refused: AtomicU64,
    /// Clients disconnected because too much waited for them.
    pub output_limit: AtomicU64,
    samples: Mutex<VecDeque<(Instant, u64)>>,
    /// What INFO no longer shows.
    forgotten: Mutex<Snapshot>,
}

/// All counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Of the client threads.
    pub totals: Totals,
    /// Values that expired, as the keyspace counts them.
    pub expired: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused.
    pub refused: u64,
    /// Clients disconnected because too much waited for them.
    pub output_limit: u64,
}

/// What one client thread counts.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ThreadCounters {
    commands: AtomicU64,
    input_bytes: AtomicU64,
    output_bytes: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
    errors: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl ThreadCounters {
    /// Counts what happened since the last call. Called by one thread alone.
    #[inline]
    pub fn add(&self, batch: &Totals) {
        let add =
            |counter: &AtomicU64, more: u64| counter.store(counter.load(Relaxed) + more, Relaxed);
        add(&self.commands, batch.commands);
        add(&self.input_bytes, batch.input_bytes);
        add(&self.output_bytes, batch.output_bytes);
        add(&self.reads, batch.reads);
        add(&self.writes, batch.writes);
        add(&self.errors, batch.errors);
        add(&self.hits, batch.lookups.hits);
        add(&self.misses, batch.lookups.misses);
    }

    fn totals(&self) -> Totals {
        Totals {
            commands: self.commands.load(Relaxed),
            input_bytes: self.input_bytes.load(Relaxed),
            output_bytes: self.output_bytes.load(Relaxed),
            reads: self.reads.load(Relaxed),
            writes: self.writes.load(Relaxed),
            errors: self.errors.load(Relaxed),
            lookups: Lookups {
                hits: self.hits.load(Relaxed),
                misses: self.misses.load(Relaxed),
            },
        }
    }
}

/// Sums over all threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that were answered, refused ones included.
    pub commands: u64,
    /// Bytes from clients.
    pub input_bytes: u64,
    /// Bytes to clients.
    pub output_bytes: u64,
    /// Reads from clients' sockets that brought something.
    pub reads: u64,
    /// Writes to clients' sockets that took something.
    pub writes: u64,
    /// Replies that were errors.
    pub errors: u64,
    /// What reading commands found.
    pub lookups: Lookups,
}

impl Totals {
    /// Each count by itself.
    fn zip(self, other: Self, with: fn(u64, u64) -> u64) -> Self {
        Self {
            commands: with(self.commands, other.commands),
            input_bytes: with(self.input_bytes, other.input_bytes),
            output_bytes: with(self.output_bytes, other.output_bytes),
            reads: with(self.reads, other.reads),
            writes: with(self.writes, other.writes),
            errors: with(self.errors, other.errors),
            lookups: Lookups {
                hits: with(self.lookups.hits, other.lookups.hits),
                misses: with(self.lookups.misses, other.lookups.misses),
            },
        }
    }
}

impl Counters {
    /// Counters for as many client threads.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self {
            threads: (0..threads).map(|_| ThreadCounters::default()).collect(),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            output_limit: AtomicU64::new(0),
            samples: Mutex::default(),
            forgotten: Mutex::default(),
        }
    }

    /// The counters of one client thread.
    #[must_use]
    pub fn thread(&self, index: usize) -> &ThreadCounters {
        &self.threads[index]
    }

    /// Sums over all threads.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.threads
            .iter()
            .map(ThreadCounters::totals)
            .fold(Totals::default(), |sum, more| {
                sum.zip(more, u64::wrapping_add)
            })
    }

    /// How many client threads there are.
    #[must_use]
    pub fn thread_count(&self) -> usize {
        self.threads.len()
    }

    fn snapshot(&self, expired: u64) -> Snapshot {
        Snapshot {
            totals: self.totals(),
            expired,
            accepted: self.accepted.load(Relaxed),
            refused: self.refused.load(Relaxed),
            output_limit: self.output_limit.load(Relaxed),
        }
    }

    /// What was counted since [`Self::forget`], where `expired` values expired since the start.
    #[must_use]
    pub fn since_reset(&self, expired: u64) -> Snapshot {
        let before = *self.forgotten.lock();
        let all = self.snapshot(expired);
        Snapshot {
            totals: all.totals.zip(before.totals, u64::wrapping_sub),
            // Read before the lock was taken.
            expired: all.expired.saturating_sub(before.expired),
            accepted: all.accepted - before.accepted,
            refused: all.refused - before.refused,
            output_limit: all.output_limit - before.output_limit,
        }
    }

    /// CONFIG RESETSTAT: INFO counts from here.
    pub fn forget(&self, expired: u64) {
        *self.forgotten.lock() = self.snapshot(expired);
    }

    /// Remembers where the commands stand. To be called every 100 ms.
    pub fn sample(&self, now: Instant) {
        let mut samples = self.samples.lock();
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back((now, self.totals().commands));
    }

    /// Commands per second over the last second or so.
    #[must_use]
    pub fn commands_per_second(&self) -> f64 {
        let samples = self.samples.lock();
        let (Some((from, before)), Some((to, after))) = (samples.front(), samples.back()) else {
            return 0.0;
        };
        let span = to.duration_since(*from).max(Duration::from_millis(1));
        (after - before) as f64 / span.as_secs_f64()
    }
}
