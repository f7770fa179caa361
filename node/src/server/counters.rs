//! What the server has counted. Each thread counts on its own cache line.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

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
}

impl ThreadCounters {
    /// Counts one batch. Called by one thread alone.
    #[inline]
    pub fn add(&self, commands: u64, input_bytes: usize, output_bytes: usize) {
        let add =
            |counter: &AtomicU64, more: u64| counter.store(counter.load(Relaxed) + more, Relaxed);
        add(&self.commands, commands);
        add(&self.input_bytes, input_bytes as u64);
        add(&self.output_bytes, output_bytes as u64);
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
        let mut totals = Totals::default();
        for thread in &self.threads {
            totals.commands += thread.commands.load(Relaxed);
            totals.input_bytes += thread.input_bytes.load(Relaxed);
            totals.output_bytes += thread.output_bytes.load(Relaxed);
        }
        totals
    }

    /// How many client threads there are.
    #[must_use]
    pub fn thread_count(&self) -> usize {
        self.threads.len()
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            totals: self.totals(),
            accepted: self.accepted.load(Relaxed),
            refused: self.refused.load(Relaxed),
            output_limit: self.output_limit.load(Relaxed),
        }
    }

    /// What was counted since CONFIG RESETSTAT.
    #[must_use]
    pub fn since_reset(&self) -> Snapshot {
        let before = *self.forgotten.lock();
        let all = self.snapshot();
        Snapshot {
            totals: Totals {
                commands: all.totals.commands - before.totals.commands,
                input_bytes: all.totals.input_bytes - before.totals.input_bytes,
                output_bytes: all.totals.output_bytes - before.totals.output_bytes,
            },
            accepted: all.accepted - before.accepted,
            refused: all.refused - before.refused,
            output_limit: all.output_limit - before.output_limit,
        }
    }

    /// CONFIG RESETSTAT: INFO counts from here.
    pub fn forget(&self) {
        *self.forgotten.lock() = self.snapshot();
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
