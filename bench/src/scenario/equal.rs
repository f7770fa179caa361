//! Whether regions hold the same, key by key, as a client reads it.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use crate::{
    load::{client::Client, connection::ConnectionError, mix::put_command},
    wan::plan::Network,
};

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
    /// How long the last comparison took: the error of the above.
    pub(super) look: Duration,
    /// Keys that differ at the end.
    pub(super) differing: Vec<Held>,
}

/// How long regions are given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// What is equal must stay as it is for this: longer than anything is under way.
    pub(super) hold: Duration,
    /// Regions that have not moved for so long will not.
    pub(super) quiet: Duration,
    /// In all.
    pub(super) limit: Duration,
}

impl Patience {
    /// For regions behind such links.
    pub(super) fn of(
        network: &Network,
        regions: &[&str],
        quiet: Duration,
        limit: Duration,
    ) -> Self {
        let delays = regions
            .iter()
            .flat_map(|from| regions.iter().map(|to| network.one_way(from, to)));
        Self {
            hold: delays.max().unwrap_or_default() * 3 + HOLD_MIN,
            quiet,
            limit,
        }
    }
}

/// Batches, acknowledgements and repeats are through by then.
const HOLD_MIN: Duration = Duration::from_millis(500);

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

    /// Compares until all of `keys` are equal everywhere and stay as they are, or patience ends.
    pub(super) fn settle(
        &mut self,
        keys: &[String],
        patience: Patience,
    ) -> Result<Settled, ConnectionError> {
        let start = Instant::now();
        let mut changed_at = start;
        let mut looked_at = keys.to_vec();
        let mut differing = Vec::new();
        loop {
            let looking = Instant::now();
            let found = self.differing(&looked_at)?;
            let now = Instant::now();
            if found != differing {
                changed_at = now;
            }
            let is_over = now - changed_at > patience.quiet || now - start > patience.limit;
            looked_at = match found.is_empty() {
                true => self.changing(keys, patience.hold)?,
                false if is_over => {
                    let differing = self.differing(keys)?;
                    let (after, look) = (None, now - looking);
                    return Ok(Settled {
                        after,
                        look,
                        differing,
                    });
                }
                false => found.iter().map(|held| held.key.clone()).collect(),
            };
            if looked_at.is_empty() {
                return Ok(Settled {
                    after: Some(looking - start),
                    look: now - looking,
                    differing: Vec::new(),
                });
            }
            differing = found;
            thread::sleep((looking + LOOK_INTERVAL).saturating_duration_since(now));
        }
    }

    /// Those of `keys` that differ.
    pub(super) fn differing(&mut self, keys: &[String]) -> Result<Vec<Held>, ConnectionError> {
        let mut held = self.read(keys)?;
        held.retain(|held| !held.is_equal());
        Ok(held)
    }

    /// Those of `keys` that differ, or change while nobody writes.
    fn changing(
        &mut self,
        keys: &[String],
        hold: Duration,
    ) -> Result<Vec<String>, ConnectionError> {
        let before = self.read(keys)?;
        thread::sleep(hold);
        let after = self.read(keys)?;
        let changing = before
            .iter()
            .zip(after)
            .filter(|(before, after)| *before != after || !after.is_equal());
        Ok(changing.map(|(_, after)| after.key).collect())
    }
}

/// One byte for the answer of `PTTL`: whether there is a deadline.
fn deadline(reply: &[u8]) -> u8 {
    match reply.starts_with(b":-") {
        true => b'-',
        false => b'+',
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    use super::*;
    use crate::load::reply;

    /// A region that says this of every key.
    fn region(value: &'static [u8], deadline: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut unread, mut buffer) = (Vec::new(), [0; 4096]);
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                unread.extend_from_slice(&buffer[..read]);
                while let Some(request) = reply::scan(&unread).unwrap() {
                    let request: Vec<u8> = unread.drain(..request.bytes).collect();
                    let is_get = request.windows(3).any(|word| word == b"GET");
                    let answer = if is_get { value } else { deadline };
                    // The test may have ended.
                    let _gone = stream.write_all(answer);
                }
            }
        });
        address
    }

    #[test]
    fn regions_are_equal_when_values_are_and_deadlines_are_there_or_not() {
        const PATIENCE: Patience = Patience {
            hold: Duration::ZERO,
            quiet: Duration::ZERO,
            limit: Duration::ZERO,
        };
        let keys = ["first".to_owned(), "second".to_owned()];
        let (one, other, null) = (b"$1\r\n1\r\n", b"$1\r\n2\r\n", b"$-1\r\n");
        let (soon, later, never, gone) = (b":17\r\n", b":5000\r\n", b":-1\r\n", b":-2\r\n");
        let differing = |first: (&'static [u8], &'static [u8]), second: (_, _)| {
            let regions = [region(first.0, first.1), region(second.0, second.1)];
            let mut readers = Readers::connect(&regions).unwrap();
            let settled = readers.settle(&keys, PATIENCE).unwrap();
            assert_eq!(settled.after.is_none(), !settled.differing.is_empty());
            settled.differing.len()
        };
        assert_eq!(differing((one, never), (one, never)), 0);
        assert_eq!(differing((one, later), (one, soon)), 0);
        assert_eq!(differing((null, gone), (null, gone)), 0);
        assert_eq!(differing((one, later), (one, never)), 2);
        assert_eq!(differing((one, never), (other, never)), 2);
        assert_eq!(differing((one, never), (null, gone)), 2);
    }
}
