//! Load: what is asked of a server, when, and what it answered how soon. It knows sockets and the Redis protocol, and
//! nothing of regions or of whose server it is.

pub mod args;
pub mod client;
pub mod connection;
pub mod dataset;
pub mod fill;
pub mod generator;
pub mod keys;
pub mod mix;
pub mod record;
pub mod reply;
pub mod schedule;
pub mod values;

use std::{
    net::SocketAddr,
    sync::{Barrier, OnceLock},
    thread,
    time::{Duration, Instant},
};

use rand::{SeedableRng, rngs::StdRng};

use self::{
    connection::ConnectionError,
    dataset::Dataset,
    generator::{GivenUp, Pace, Progress, Share},
    keys::{KeySpread, Keys},
    mix::{Mix, Requests},
    record::Record,
    schedule::Schedule,
    values::{ValueContent, ValueSize, Values},
};

/// Loads that share a start connect before it, within this.
pub const CONNECT_TIME: Duration = Duration::from_millis(300);

/// A load on one server.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where the server listens.
    pub address: SocketAddr,
    /// What is asked.
    pub mix: Mix,
    /// Of which keys.
    pub data: Dataset,
    /// Requests per second of an open loop; `None` asks for as much as the server gives, in a closed one.
    pub rate: Option<f64>,
    /// How long, warm-up included.
    pub length: Duration,
    /// Requests intended before this are not recorded.
    pub warm_up: Duration,
    /// Connections of all threads.
    pub connections: usize,
    /// Requests that are sent together on a connection.
    pub pipeline: usize,
    /// Threads that ask.
    pub threads: usize,
    /// Whether to speak RESP3.
    pub resp3: bool,
    /// Whether connections that are lost are opened again; the load ends with an error otherwise.
    pub reconnects: bool,
    /// The same seed asks for the same things in the same order.
    pub seed: u64,
    /// Loads with numbers of their own, and as many threads each, never insert the same key.
    pub inserter: usize,
}

/// Requests that may wait for their replies on a connection of an open loop.
const IN_FLIGHT_MAX: usize = 1024;

/// A load that cannot be run, or was given up.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The exponent of the spread.
    #[error("the Zipf exponent must be a positive number")]
    Spread,
    /// A connection.
    #[error("{address}: {error}")]
    Connection {
        /// Of the server.
        address: SocketAddr,
        /// What happened.
        error: ConnectionError,
        /// What was recorded until then.
        measured: Box<Record>,
    },
}

impl Load {
    /// PINGs, one after the other on one connection, for a second: what other loads begin from.
    #[must_use]
    pub const fn pings(address: SocketAddr) -> Self {
        Self {
            address,
            mix: Mix::Ping,
            data: Dataset {
                keys: 1,
                spread: KeySpread::Uniform,
                value_size: ValueSize::Fixed(1),
                value_content: ValueContent::Random,
            },
            rate: None,
            length: Duration::from_secs(1),
            warm_up: Duration::ZERO,
            connections: 1,
            pipeline: 1,
            threads: 1,
            resp3: false,
            reconnects: false,
            seed: 1,
            inserter: 0,
        }
    }

    /// Runs it to its end. It starts when all its connections are open: connecting takes nothing from its length.
    ///
    /// # Errors
    /// [`LoadError`] when it makes no sense, or the server is not there or goes away.
    pub fn run(&self, progress: &Progress) -> Result<Record, LoadError> {
        let connected = Barrier::new(self.thread_count());
        let began = OnceLock::new();
        let start = || {
            connected.wait();
            *began.get_or_init(Instant::now)
        };
        self.run_when(start, progress)
    }

    /// Runs it to its end. The first slot is at `start`, and connections are opened before.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_from(&self, start: Instant, progress: &Progress) -> Result<Record, LoadError> {
        self.run_when(|| start, progress)
    }

    fn thread_count(&self) -> usize {
        self.threads.clamp(1, self.connections.max(1))
    }

    /// Every thread asks for the start once, when it has tried to connect.
    fn run_when(
        &self,
        start: impl Fn() -> Instant + Sync,
        progress: &Progress,
    ) -> Result<Record, LoadError> {
        let keys = Keys::new(self.data.keys, self.data.spread).ok_or(LoadError::Spread)?;
        let threads = self.thread_count();
        let start = &start;
        let outcomes = thread::scope(|scope| {
            let handles: Vec<_> = (0..threads)
                .map(|index| {
                    let (share, requests) = self.share(index, threads, &keys);
                    scope.spawn(move || {
                        let outcome = generator::run(share, requests, start, progress);
                        if outcome.is_err() {
                            progress
                                .stop
                                .store(true, std::sync::atomic::Ordering::Relaxed);
                        }
                        outcome
                    })
                })
                .collect();
            let join = |handle: thread::ScopedJoinHandle<'_, _>| {
                handle.join().expect("a generator thread does not panic")
            };
            handles.into_iter().map(join).collect::<Vec<_>>()
        });
        let mut all = Record::default();
        let mut given_up = None;
        for outcome in outcomes {
            match outcome {
                Ok(record) => all.add(&record),
                Err(GivenUp { error, record }) => {
                    all.add(&record);
                    given_up.get_or_insert(error);
                }
            }
        }
        match given_up {
            None => Ok(all),
            Some(error) => Err(LoadError::Connection {
                address: self.address,
                error,
                measured: Box::new(all),
            }),
        }
    }

    fn share(&self, index: usize, threads: usize, keys: &Keys) -> (Share, Requests) {
        let mut random =
            StdRng::seed_from_u64(self.seed.wrapping_mul(1009).wrapping_add(index as u64));
        let values = Values::new(self.data.value_size, self.data.value_content, &mut random);
        let inserter = (self.inserter * threads + index) as u64;
        let requests = Requests::new(self.mix, keys.clone(), values, inserter, random);
        let pipeline = self.pipeline.max(1);
        let pace = match self.rate {
            Some(rate) => Pace::Open(Schedule::new(
                rate / pipeline as f64,
                self.length,
                index,
                threads,
            )),
            None => Pace::Closed(self.length),
        };
        let extra = usize::from(index < self.connections % threads);
        let share = Share {
            address: self.address,
            resp3: self.resp3,
            connections: self.connections / threads + extra,
            pipeline,
            in_flight_max: IN_FLIGHT_MAX,
            pace,
            warm_up: self.warm_up,
            reconnects: self.reconnects,
        };
        (share, requests)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{mix::Operation, *};

    #[test]
    fn no_two_threads_of_all_loads_insert_the_same_key() {
        let pings = Load::pings(SocketAddr::from(([127, 0, 0, 1], 1)));
        let data = Dataset {
            keys: 10,
            ..pings.data
        };
        let keys = Keys::new(data.keys, data.spread).unwrap();
        let mut inserted = BTreeSet::new();
        let mut inserts = 0;
        for (inserter, thread) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let load = Load {
                mix: Mix::YcsbD,
                data,
                connections: 2,
                threads: 2,
                inserter,
                ..pings.clone()
            };
            let (_, mut requests) = load.share(thread, 2, &keys);
            for _ in 0..1_000 {
                let mut command = Vec::new();
                if requests.put_next(&mut command).0 == Operation::Insert {
                    inserts += 1;
                    inserted.insert(
                        command
                            .split(|&byte| byte == b'\n')
                            .nth(4)
                            .map(<[u8]>::to_vec),
                    );
                }
            }
        }
        assert!(inserts > 100, "{inserts}");
        assert_eq!(inserted.len(), inserts);
    }
}
