//! Whether regions hold the same, key by key, as a client reads it.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use crate::load::{client::Client, connection::ConnectionError, mix::put_command};

/// Keys that are asked for together.
const TOGETHER: usize = 512;
/// From one comparison to the next, at least.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What a key holds in each region, as bytes of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) key: String,
    pub(super) values: Vec<Vec<u8>>,
}

impl Held {
    pub(super) fn is_equal(&self) -> bool {
        self.values.windows(2).all(|pair| pair[0] == pair[1])
    }
}

/// How regions became equal, or did not.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    /// From the start of waiting until the last key became equal; `None` when some never did.
    pub(super) after: Option<Duration>,
    /// What the last keys to become equal waited for at most beyond that: the time of a comparison.
    pub(super) error: Duration,
    /// Keys that differ at the end.
    pub(super) differing: Vec<Held>,
}

/// A client of each region.
#[derive(Debug)]
pub(super) struct Readers {
    clients: Vec<Client>,
}

impl Readers {
    pub(super) fn connect(addresses: &[SocketAddr]) -> Result<Self, ConnectionError> {
        let clients = addresses.iter().map(|&address| Client::connect(address));
        let clients = clients.collect::<Result<_, _>>()?;
        Ok(Self { clients })
    }

    /// What each of `keys` holds in each region: its value, and whether it has a deadline.
    pub(super) fn read(&mut self, keys: &[String]) -> Result<Vec<Held>, ConnectionError> {
        let mut held = Vec::with_capacity(keys.len());
        for keys in keys.chunks(TOGETHER) {
            let mut requests = Vec::new();
            for key in keys {
                put_command(&mut requests, &[b"GET", key.as_bytes()]);
                put_command(&mut requests, &[b"PTTL", key.as_bytes()]);
            }
            let first = held.len();
            held.extend(keys.iter().map(|key| Held {
                key: key.clone(),
                values: Vec::new(),
            }));
            for client in &mut self.clients {
                let mut number = 0;
                client.exchange(&requests, keys.len() * 2, |reply| {
                    let held: &mut Held = &mut held[first + number / 2];
                    match number % 2 {
                        0 => held.values.push(reply.to_vec()),
                        // What is left of a deadline is less in the region that is asked last.
                        _ => held
                            .values
                            .last_mut()
                            .expect("a value comes first")
                            .push(deadline(reply)),
                    }
                    number += 1;
                })?;
            }
        }
        Ok(held)
    }

    /// Those of `keys` that differ.
    fn differing(&mut self, keys: &[String]) -> Result<Vec<Held>, ConnectionError> {
        let mut held = self.read(keys)?;
        held.retain(|held| !held.is_equal());
        Ok(held)
    }

    /// Compares until all of `keys` are equal everywhere, or nothing has changed for `quiet`, or `limit` is over.
    pub(super) fn settle(
        &mut self,
        keys: &[String],
        quiet: Duration,
        limit: Duration,
    ) -> Result<Settled, ConnectionError> {
        let start = Instant::now();
        let mut changed_at = start;
        let mut differing: Vec<Held> = Vec::new();
        let mut looked_at = keys.to_vec();
        loop {
            let looking = Instant::now();
            let found = self.differing(&looked_at)?;
            let now = Instant::now();
            if found != differing {
                changed_at = now;
            }
            let is_whole = looked_at.len() == keys.len();
            differing = found;
            let is_over = now - changed_at > quiet || now - start > limit;
            if is_whole && (differing.is_empty() || is_over) {
                let after = differing.is_empty().then(|| looking - start);
                let error = now - looking;
                return Ok(Settled {
                    after,
                    error,
                    differing,
                });
            }
            // Those that were equal may change once more: the last look is at all.
            looked_at = match differing.is_empty() || is_over {
                true => keys.to_vec(),
                false => differing.iter().map(|held| held.key.clone()).collect(),
            };
            thread::sleep((looking + LOOK_INTERVAL).saturating_duration_since(now));
        }
    }
}

/// One byte for the answer of `PTTL`: whether there is a deadline.
fn deadline(reply: &[u8]) -> u8 {
    match reply.starts_with(b":-") {
        true => b'-',
        false => b'+',
    }
}
