//! What is asked: operations of the well-known mixes, as commands that every Redis-compatible server has.

use std::{fmt, io::Write};

use clap::ValueEnum;
use rand::{RngExt, rngs::StdRng};

use super::{keys::Keys, values::Values};

/// A mix of operations.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum, serde::Deserialize, serde::Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Mix {
    /// Nothing but PING: what the network, the kernel and the generator cost.
    Ping,
    /// Reads alone.
    Get,
    /// Writes alone.
    Set,
    /// Half reads, half updates.
    YcsbA,
    /// 95 % reads, 5 % updates.
    YcsbB,
    /// Reads alone, as YCSB spreads them.
    YcsbC,
    /// 95 % reads of the newest keys, 5 % inserts.
    YcsbD,
    /// Half reads, half read-modify-writes.
    YcsbF,
    /// Sessions: 80 % reads that renew a deadline, 18 % writes with one, 2 % log-outs.
    Session,
    /// A counter per client that begins to expire with its first hit.
    RateLimiter,
    /// Carts: 60 % looks, 35 % added items, 5 % check-outs.
    Cart,
}

/// One operation, as reports name it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize, serde::Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// `PING`
    Ping,
    /// `GET`
    Read,
    /// `GET` of a key that was inserted lately.
    ReadLatest,
    /// `SET` of a key that exists.
    Update,
    /// `SET` of a new key.
    Insert,
    /// `GET` and `SET`, one after the other on the same connection.
    ReadModifyWrite,
    /// `GETEX`, with another half an hour.
    Renew,
    /// `SET … EX`
    SetSession,
    /// `DEL`
    Delete,
    /// `INCR`, and `EXPIRE … NX` behind it.
    Hit,
    /// `APPEND` of an item.
    AddItem,
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no mix is hidden");
        f.write_str(value.get_name())
    }
}

impl Operation {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Read => "read",
            Self::ReadLatest => "read-latest",
            Self::Update => "update",
            Self::Insert => "insert",
            Self::ReadModifyWrite => "read-modify-write",
            Self::Renew => "renew",
            Self::SetSession => "set-session",
            Self::Delete => "delete",
            Self::Hit => "hit",
            Self::AddItem => "add-item",
        }
    }
}

/// Seconds that a session lives without being used.
const SESSION_SECONDS: u32 = 1800;
/// Seconds that a rate limiter counts for.
const LIMIT_SECONDS: u32 = 60;
/// A cart's item.
const ITEM: &[u8] = b"sku-00000001:1;";

impl Mix {
    /// Operations and their shares, which sum up to 100.
    #[must_use]
    pub fn shares(self) -> &'static [(Operation, u32)] {
        use Operation::{
            AddItem, Delete, Hit, Insert, Ping, Read, ReadLatest, ReadModifyWrite, Renew,
            SetSession, Update,
        };
        match self {
            Self::Ping => &[(Ping, 100)],
            Self::Get | Self::YcsbC => &[(Read, 100)],
            Self::Set => &[(Update, 100)],
            Self::YcsbA => &[(Read, 50), (Update, 50)],
            Self::YcsbB => &[(Read, 95), (Update, 5)],
            Self::YcsbD => &[(ReadLatest, 95), (Insert, 5)],
            Self::YcsbF => &[(Read, 50), (ReadModifyWrite, 50)],
            Self::Session => &[(Renew, 80), (SetSession, 18), (Delete, 2)],
            Self::RateLimiter => &[(Hit, 100)],
            Self::Cart => &[(Read, 60), (AddItem, 35), (Delete, 5)],
        }
    }

    /// Whether keys may have values of any bytes before.
    #[must_use]
    pub fn takes_any_value(self) -> bool {
        self != Self::RateLimiter
    }

    fn pick(self, random: &mut StdRng) -> Operation {
        let mut point = random.random_range(0..100);
        for &(operation, share) in self.shares() {
            match point < share {
                true => return operation,
                false => point -= share,
            }
        }
        unreachable!("the shares sum up to 100")
    }
}

/// Bytes of a key's name.
pub const KEY_BYTES: usize = 16;

/// Makes requests of one mix.
#[derive(Debug)]
pub struct Requests {
    mix: Mix,
    keys: Keys,
    values: Values,
    inserter: u64,
    inserted: u64,
    random: StdRng,
}

impl Requests {
    /// Loaded keys are those that [`super::fill`] sets, and common to all. Inserted keys bear the number of their
    /// `inserter`, so that threads with numbers of their own never insert the same key; the latest keys that it reads are
    /// the ones that it inserted itself, and loaded ones behind them.
    #[must_use]
    pub fn new(mix: Mix, keys: Keys, values: Values, inserter: u64, random: StdRng) -> Self {
        Self {
            mix,
            keys,
            values,
            inserter,
            inserted: 0,
            random,
        }
    }

    /// Appends the next operation's commands to `out`, and tells which it is and how many replies it has.
    pub fn put_next(&mut self, out: &mut Vec<u8>) -> (Operation, u32) {
        let operation = self.mix.pick(&mut self.random);
        let number = match operation {
            Operation::ReadLatest => self.keys.pick_latest(self.inserted, &mut self.random),
            Operation::Insert => {
                self.inserted += 1;
                self.keys.newest(self.inserted)
            }
            Operation::Ping
            | Operation::Read
            | Operation::Update
            | Operation::ReadModifyWrite
            | Operation::Renew
            | Operation::SetSession
            | Operation::Delete
            | Operation::Hit
            | Operation::AddItem => self.keys.pick(&mut self.random),
        };
        let key = match self.keys.insert_of(number) {
            None => key_name(LOADED, number),
            Some(insert) => inserted_key_name(self.inserter, insert),
        };
        let value = self.values.pick(&mut self.random);
        (operation, put(operation, &key, value, out))
    }
}

/// The prefix of keys that are loaded before a mix begins.
pub const LOADED: char = 'k';

/// The name of the key that is inserter `inserter`'s insert number `insert`, of [`KEY_BYTES`] for the first 65,536 inserters.
fn inserted_key_name(inserter: u64, insert: u64) -> String {
    format!("i{inserter:04x}{insert:0width$}", width = KEY_BYTES - 5)
}

/// The name of a key.
#[must_use]
pub fn key_name(prefix: char, number: u64) -> String {
    format!("{prefix}{number:0width$}", width = KEY_BYTES - 1)
}

/// Appends one operation, and tells how many replies it has.
fn put(operation: Operation, key: &str, value: &[u8], out: &mut Vec<u8>) -> u32 {
    let key = key.as_bytes();
    match operation {
        Operation::Ping => put_command(out, &[b"PING"]),
        Operation::Read | Operation::ReadLatest => put_command(out, &[b"GET", key]),
        Operation::Update | Operation::Insert => put_command(out, &[b"SET", key, value]),
        Operation::ReadModifyWrite => {
            put_command(out, &[b"GET", key]) + put_command(out, &[b"SET", key, value])
        }
        Operation::Renew => put_command(
            out,
            &[b"GETEX", key, b"EX", SESSION_SECONDS.to_string().as_bytes()],
        ),
        Operation::SetSession => put_command(
            out,
            &[
                b"SET",
                key,
                value,
                b"EX",
                SESSION_SECONDS.to_string().as_bytes(),
            ],
        ),
        Operation::Delete => put_command(out, &[b"DEL", key]),
        Operation::Hit => {
            put_command(out, &[b"INCR", key])
                + put_command(
                    out,
                    &[b"EXPIRE", key, LIMIT_SECONDS.to_string().as_bytes(), b"NX"],
                )
        }
        Operation::AddItem => put_command(out, &[b"APPEND", key, ITEM]),
    }
}

/// Appends one command, which has one reply.
pub fn put_command(out: &mut Vec<u8>, words: &[&[u8]]) -> u32 {
    write!(out, "*{}\r\n", words.len()).expect("a vector takes every byte");
    for word in words {
        write!(out, "${}\r\n", word.len()).expect("a vector takes every byte");
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    1
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use rand::SeedableRng;

    use super::*;
    use crate::load::{
        keys::KeySpread,
        values::{ValueContent, ValueSize},
    };

    #[test]
    fn each_mix_has_its_shares_and_well_formed_requests() {
        for &mix in Mix::value_variants() {
            assert_eq!(
                mix.shares().iter().map(|(_, share)| share).sum::<u32>(),
                100,
                "{mix:?}"
            );
            let mut random = StdRng::seed_from_u64(5);
            let keys = Keys::new(1000, KeySpread::Zipf(0.99)).unwrap();
            let values = Values::new(ValueSize::Fixed(10), ValueContent::Random, &mut random);
            let mut requests = Requests::new(mix, keys, values, 0, random);
            let mut counts = BTreeMap::new();
            for _ in 0..20_000 {
                let mut out = Vec::new();
                let (operation, replies) = requests.put_next(&mut out);
                // Commands have the form of arrays, so the scanner of replies can count them.
                let mut at = 0;
                for _ in 0..replies {
                    at += crate::load::reply::scan(&out[at..]).unwrap().unwrap().bytes;
                }
                assert_eq!(at, out.len(), "{operation:?}");
                *counts.entry(operation).or_insert(0) += 1;
            }
            for &(operation, share) in mix.shares() {
                let expected = f64::from(share) * 200.0;
                let found = f64::from(counts[&operation]);
                assert!(
                    (found - expected).abs() < 300.0,
                    "{mix:?} {operation:?}: {found} for {expected}"
                );
            }
        }
    }

    #[test]
    fn the_latest_are_loaded_keys_and_those_that_the_reader_itself_inserted() {
        let mut random = StdRng::seed_from_u64(5);
        let keys = Keys::new(100, KeySpread::Zipf(0.99)).unwrap();
        let values = Values::new(ValueSize::Fixed(10), ValueContent::Random, &mut random);
        let mut requests = Requests::new(Mix::YcsbD, keys, values, 7, random);
        let loaded = (0..100).map(|number| key_name(LOADED, number));
        let mut there: BTreeSet<String> = loaded.collect();
        let mut own_reads = 0;
        for _ in 0..5_000 {
            let mut out = Vec::new();
            let (operation, _) = requests.put_next(&mut out);
            // The second of a command's words, each of which follows its length.
            let text = String::from_utf8_lossy(&out);
            let key = text.split("\r\n").nth(4).unwrap().to_owned();
            if operation == Operation::Insert {
                assert!(there.insert(key), "an insert is of a new key");
            } else {
                own_reads += u64::from(!key.starts_with(LOADED));
                assert!(there.contains(&key), "{key} is there");
            }
        }
        assert!(own_reads > 1_000, "{own_reads} reads of inserted keys");
    }

    #[test]
    fn a_key_has_sixteen_bytes() {
        assert_eq!(key_name(LOADED, 42).len(), KEY_BYTES);
        assert_eq!(inserted_key_name(65_535, 42).len(), KEY_BYTES);
    }
}
