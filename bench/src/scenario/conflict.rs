//! `conflict`: the same keys are written in all regions at the same time. How many differ afterwards, and how many
//! updates are lost that should add up, by type.

use std::{fmt, net::SocketAddr, sync::Barrier, thread, time::Duration};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::{
    Stage,
    equal::{Held, Patience, Readers},
    place::Place,
    problem,
};
use crate::{
    as_duration,
    load::{
        client::Client,
        connection::ConnectionError,
        dataset::keys_problem,
        mix::{key_name, put_command},
    },
    server::Adapter,
    wan::{forwarder::account::ForwarderReport, plan::Network},
};

/// What to measure.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Conflict {
    /// Keys of each type.
    pub keys: u64,
    /// How often each region writes each key.
    pub rounds: u32,
    /// What is written.
    pub types: Vec<ConflictType>,
    /// How long nobody waits for regions to become equal; those that differ then do not become so.
    #[serde(with = "as_duration")]
    pub settle_limit: Duration,
    /// The links between regions.
    #[serde(default)]
    pub network: Network,
}

/// What is done to the same keys in all regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConflictType {
    /// `SET`, in each region another value.
    Set,
    /// `INCR`: the increments of all regions should add up.
    Counter,
    /// `APPEND` of one byte, in each region another: the lengths should add up.
    Append,
    /// `DEL` in the first region, `SET` in the others.
    Delete,
    /// `SET` with a deadline in the first region, without one in the others.
    Expire,
}

impl fmt::Display for ConflictType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ConflictType {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Counter => "counter",
            Self::Append => "append",
            Self::Delete => "delete",
            Self::Expire => "expire",
        }
    }

    /// What names of its keys begin with.
    const fn prefix(self) -> char {
        match self {
            Self::Set => 's',
            Self::Counter => 'c',
            Self::Append => 'a',
            Self::Delete => 'd',
            Self::Expire => 'e',
        }
    }

    fn put(self, out: &mut Vec<u8>, key: &str, region: usize, round: u32) {
        let key = key.as_bytes();
        let value = format!("{region}:{round}");
        let value = value.as_bytes();
        match (self, region) {
            (Self::Set, _) | (Self::Delete | Self::Expire, 1..) => {
                put_command(out, &[b"SET", key, value])
            }
            (Self::Counter, _) => put_command(out, &[b"INCR", key]),
            (Self::Append, _) => put_command(out, &[b"APPEND", key, &value[..1]]),
            (Self::Delete, 0) => put_command(out, &[b"DEL", key]),
            (Self::Expire, 0) => put_command(out, &[b"SET", key, value, b"EX", b"3600"]),
        };
    }

    /// How many updates a value holds, for types whose updates add up.
    fn sum(self, value: &[u8]) -> Option<u64> {
        let text = String::from_utf8_lossy(value);
        let (header, body) = text.split_once("\r\n")?;
        let is_null = header == "$-1" || header == "_";
        match self {
            Self::Counter if is_null => Some(0),
            Self::Counter => body.split("\r\n").next()?.parse().ok(),
            Self::Append if is_null => Some(0),
            Self::Append => header.strip_prefix('$')?.parse().ok(),
            Self::Set | Self::Delete | Self::Expire => None,
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct ConflictReport {
    /// Per server and type.
    pub runs: Vec<ConflictRun>,
}

/// A type on a server.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ConflictRun {
    /// Which server.
    pub server: String,
    /// What was written.
    pub kind: ConflictType,
    /// Keys that were written in all regions.
    pub keys: u64,
    /// Writes that were accepted, of all regions.
    pub accepted: u64,
    /// Writes that were refused, because the region takes none.
    pub refused: u64,
    /// Keys that differ between regions afterwards.
    pub differing: usize,
    /// Of the updates that should add up, those that are missing in the region that has the fewest; `None` for types whose
    /// updates do not.
    pub lost: Option<u64>,
    /// From the last write until all keys were the same everywhere, in milliseconds; `None` when some never were.
    pub equal_after_ms: Option<f64>,
    /// How well the emulation did, when it can tell.
    pub forwarder: Option<ForwarderReport>,
}

/// Keys that are written together: the rest of the round follows them, and other regions are as far.
const TOGETHER: usize = 64;
/// Links are up all the time: regions that have not moved for so long will not.
const QUIET: Duration = Duration::from_secs(5);

impl Conflict {
    /// Why this cannot be measured between these regions, if so.
    pub(super) fn problem(&self, regions: &[String]) -> Option<String> {
        if self.types.is_empty() || self.keys == 0 || self.rounds == 0 {
            return Some("types, keys and rounds must be at least one".to_owned());
        }
        keys_problem(self.keys)
            .or_else(|| problem::zero(&[("settle_limit", self.settle_limit)]))
            .or_else(|| problem::twice("types", &self.types))
            .or_else(|| self.network.problem(regions))
    }

    /// Measures each of the stage's servers in turn, and adds what it finds to `report`.
    pub(super) fn run(&self, stage: &Stage<'_>, report: &mut ConflictReport) -> anyhow::Result<()> {
        stage.each(|server| {
            let mut place = Place::open(stage, server, server.name(), &self.network, &[])?;
            let addresses = place.clients();
            let patience = Patience::of(&self.network, &stage.regions, QUIET, self.settle_limit);
            for &kind in &self.types {
                (stage.tell)(format!("{}: {}", server.name(), kind.name()));
                let _before = place.take_report()?;
                let run = self.conflict(server, kind, &addresses, patience);
                let mut run = run.with_context(|| kind.name().to_owned())?;
                place.check()?;
                run.forwarder = place.take_report()?;
                report.runs.push(run);
            }
            Ok(())
        })
    }

    fn conflict(
        &self,
        server: &dyn Adapter,
        kind: ConflictType,
        addresses: &[SocketAddr],
        patience: Patience,
    ) -> Result<ConflictRun, ConnectionError> {
        let keys: Vec<String> = (0..self.keys)
            .map(|key| key_name(kind.prefix(), key))
            .collect();
        let barrier = Barrier::new(addresses.len());
        let accepted = thread::scope(|scope| {
            let (keys, barrier) = (&keys, &barrier);
            let writing = addresses.iter().enumerate().map(|(region, &address)| {
                scope.spawn(move || self.write(kind, region, address, keys, barrier))
            });
            let writing: Vec<_> = writing.collect();
            let accepted = writing
                .into_iter()
                .map(|region| region.join().expect("a writer does not panic"));
            accepted.collect::<Result<Vec<_>, _>>()
        })?;
        let writes = self.keys * u64::from(self.rounds);
        let mut readers = Readers::connect(addresses)?;
        let settled = readers.settle(&keys, patience)?;
        let total: u64 = accepted.iter().sum();
        Ok(ConflictRun {
            server: server.name().to_owned(),
            kind,
            keys: self.keys,
            accepted: total,
            refused: writes * addresses.len() as u64 - total,
            differing: settled.differing.len(),
            lost: lost(kind, &readers.read(&keys)?, total),
            equal_after_ms: settled.after.map(|after| after.as_secs_f64() * 1e3),
            forwarder: None,
        })
    }

    /// Writes every key in every round, side by side with the other regions, and tells how many writes were accepted.
    fn write(
        &self,
        kind: ConflictType,
        region: usize,
        address: SocketAddr,
        keys: &[String],
        barrier: &Barrier,
    ) -> Result<u64, ConnectionError> {
        // Every region comes to every barrier, whatever became of its connection.
        let mut client = Client::connect(address);
        let mut accepted = 0;
        for round in 0..self.rounds {
            for keys in keys.chunks(TOGETHER) {
                let mut requests = Vec::new();
                keys.iter()
                    .for_each(|key| kind.put(&mut requests, key, region, round));
                barrier.wait();
                if let Ok(connected) = &mut client {
                    match connected.ask(&requests, keys.len(), |reply| {
                        accepted += u64::from(!reply.starts_with(b"-"));
                    }) {
                        Ok(()) => {}
                        Err(error) => client = Err(error),
                    }
                }
            }
        }
        client.map(|_| accepted)
    }
}

/// Updates that are missing in the region that has the fewest.
fn lost(kind: ConflictType, held: &[Held], accepted: u64) -> Option<u64> {
    let regions = held.first()?.values.len();
    let sums = (0..regions).map(|region| {
        let sums = held.iter().map(|held| kind.sum(&held.values[region]));
        sums.sum::<Option<u64>>()
    });
    let sums: Option<Vec<u64>> = sums.collect();
    Some(accepted.saturating_sub(sums?.into_iter().min()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_that_should_add_up_are_counted() {
        let held = |first: &[u8], second: &[u8]| Held {
            key: String::new(),
            values: vec![first.to_vec(), second.to_vec()],
        };
        let counters = [
            held(b"$2\r\n12\r\n-", b"$2\r\n10\r\n-"),
            held(b"$1\r\n5\r\n-", b"$-1\r\n-"),
        ];
        assert_eq!(lost(ConflictType::Counter, &counters, 17), Some(7));
        let appended = [held(b"$4\r\nxxxx\r\n-", b"$3\r\nxxx\r\n-")];
        assert_eq!(lost(ConflictType::Append, &appended, 4), Some(1));
        assert_eq!(lost(ConflictType::Set, &appended, 4), None);
    }
}
