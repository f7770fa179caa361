//! One region's node: the real keyspace, log and sessions, with a wall clock that may be wrong.

mod commands;
mod sessions;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use greenwich::keyspace::{Access, Keyspace};
use greenwich_proto::{
    entry::{EntryRef, layout, totals::Actor},
    hlc::{Clock, Origin, Version},
    lives::Lives,
    log::{Log, Marks},
    members::Members,
    peer::{
        Builder, Limits, Peer,
        handshake::{Expected, Identity},
    },
    roster::Roster,
    store::Store,
    time::{Time, Wall},
};

use parking_lot::Mutex;

pub use self::sessions::Changes;
use crate::{
    clock::WallClock,
    oracle::{Effect, Held},
    swarm::Swarm,
    workload::Key,
};

/// The shards that one step of tending looks at: all of them.
const ALL_SHARDS: usize = 1024;

/// One region. `S` is the keyspace as its sessions see it.
#[derive(Debug)]
pub struct Region<S> {
    /// Its place among the regions.
    pub index: usize,
    /// Its wall clock.
    pub clock: WallClock,
    /// Its keys.
    pub keyspace: Arc<Keyspace>,
    /// Its writes.
    pub log: Arc<Log>,
    /// The key of each plain meaning, with its padding.
    padding: usize,
    identity: Identity,
    store: S,
    lives: Lives,
    roster: Roster,
    builder: Mutex<Builder>,
    limits: Limits,
    /// The regions of its configuration, with which every life of it begins.
    configured: Vec<usize>,
    /// The region of every seat of the roster as of `version`, and whether it is there.
    seats: Vec<(usize, bool)>,
    version: u64,
    /// The session of every seat, where there is one.
    peers: Vec<Option<Peer>>,
    /// When each session wants to be ticked, as far as scheduled.
    pub wakes: Vec<Option<Time>>,
    /// Whether it serves no clients yet, because it has not received what its peers hold.
    pub is_loading: bool,
}

/// The name of a region.
#[must_use]
pub fn name(index: usize) -> String {
    format!("region{index}")
}

/// The accounts of a group between which amounts are moved.
pub fn accounts(group: u64) -> [Key; 2] {
    [Key::Account(group, 0), Key::Account(group, 1)]
}

/// The name and the number of a region.
fn expected(index: usize) -> Expected {
    Expected {
        region: name(index),
        origin: origin(index),
    }
}

fn origin(index: usize) -> Origin {
    Origin(u8::try_from(index + 1).expect("few regions"))
}

fn address(index: usize) -> String {
    format!("{}:1", name(index))
}

/// What a node knows of its cluster when it starts.
#[derive(Clone, Debug, Default)]
pub struct Regions {
    /// The others of its configuration.
    pub configured: Vec<usize>,
    /// Which were added and removed since.
    pub members: Members,
}

/// What a client's command did.
#[derive(Debug)]
pub struct Performed {
    /// The keys that it changed; a FLUSHALL changes every key.
    pub changed: Vec<Changed>,
    /// Where its writes stand in the log.
    pub marks: Marks,
}

/// A key that a command changed.
#[derive(Debug)]
pub struct Changed {
    /// The key.
    pub key: Key,
    /// What was done to it.
    pub effect: Effect,
}

impl<S: Store> Region<S> {
    /// An empty node of a region.
    pub fn new(
        (index, regions): (usize, Regions),
        incarnation: u64,
        clock: WallClock,
        swarm: &Swarm,
        wrap: &impl Fn(Arc<Keyspace>) -> S,
        now: Time,
    ) -> Self {
        let hybrid = Clock::new(Duration::from_millis(swarm.max_skew_ms));
        let log = Arc::new(Log::new(hybrid, 0, swarm.log_bytes));
        let own = expected(index);
        let actor = Actor {
            origin: own.origin,
            incarnation,
        };
        let keyspace = Arc::new(Keyspace::new(
            Arc::clone(&log),
            actor,
            swarm.seed ^ incarnation ^ u64::from(own.origin.0),
        ));
        let Regions {
            configured,
            members,
        } = regions;
        let others = configured.iter();
        let others = others.map(|&other| (expected(other), address(other)));
        let roster = Roster::new(own.clone(), others, members);
        let patience = Duration::from_millis(swarm.loading_patience_ms);
        let lives = Lives::new(actor, [], now, patience).with_horizon(match swarm.horizon_ms {
            0 => Duration::MAX,
            horizon_ms => Duration::from_millis(horizon_ms),
        });
        roster.seat_all(&log, &lives);
        let mut region = Self {
            index,
            clock,
            padding: swarm.key_padding,
            identity: Identity {
                cluster: "sim".into(),
                region: own.region,
                origin: own.origin,
                incarnation,
                rules: 0,
            },
            store: wrap(Arc::clone(&keyspace)),
            lives,
            roster,
            builder: Mutex::default(),
            limits: swarm.limits,
            configured,
            seats: Vec::new(),
            version: 0,
            peers: Vec::new(),
            wakes: vec![None; swarm.regions],
            keyspace,
            log,
            is_loading: true,
        };
        region.look_at_roster();
        for other in region.changes().come {
            region.begin_session(other, now);
        }
        region
    }

    /// Its start.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.identity.incarnation
    }

    /// What its next life starts with: its configuration, and the file in which it keeps what was decided since.
    #[must_use]
    pub fn regions(&self) -> Regions {
        Regions {
            configured: self.configured.clone(),
            members: self.roster.members(),
        }
    }

    /// Runs `look` on what it holds of a key, as the oracle asks it.
    pub fn with_held<R>(&self, key: Key, look: impl FnOnce(Held<'_>) -> R) -> R {
        self.with_entry(key, |entry| {
            look(Held {
                entry,
                flushed: self.flushed(),
            })
        })
    }

    /// Does what a node does in the background.
    pub fn tend(&self, now: Time) {
        let wall = self.clock.read(now);
        self.store
            .settle(self.lives.settled(self.log.clock().stamp(wall)));
        self.keyspace.tend(wall, 0, ALL_SHARDS);
    }

    /// The keyspace as sessions see it.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The first slot whose fingerprint is not what its entries say.
    #[must_use]
    pub fn miscounted(&self) -> Option<usize> {
        self.keyspace.miscounted()
    }

    /// Runs `look` on what it holds of a key.
    pub fn with_entry<R>(&self, key: Key, look: impl FnOnce(Option<&EntryRef<'_>>) -> R) -> R {
        let mut held = None;
        self.keyspace
            .export(&[&key.bytes(self.padding)], &mut |entry| {
                held = Some(entry.to_vec())
            });
        look(held.as_deref().map(layout::view).as_ref())
    }

    /// The newest flush that it has heard of.
    #[must_use]
    pub fn flushed(&self) -> Version {
        self.keyspace.flushed()
    }

    /// The value and the deadline that clients see at `wall`.
    #[must_use]
    pub fn read(&self, key: Key, wall: Wall) -> Option<(String, Option<Wall>)> {
        let mut marks = Marks::default();
        let mut access = Access::new(&self.keyspace, wall, &mut marks);
        access.read(&key.bytes(self.padding), |view| {
            view.map(|view| {
                (
                    String::from_utf8_lossy(&view.value()).into_owned(),
                    view.deadline(),
                )
            })
        })
    }

    /// Runs `look` on what it holds of each of some keys, at one moment.
    pub fn with_entries<R>(
        &self,
        keys: &[Key],
        look: impl FnOnce(&BTreeMap<Key, EntryRef<'_>>) -> R,
    ) -> R {
        let names: BTreeMap<Vec<u8>, Key> = keys
            .iter()
            .map(|&key| (key.bytes(self.padding), key))
            .collect();
        let bytes: Vec<&[u8]> = names.keys().map(Vec::as_slice).collect();
        let mut held = Vec::new();
        self.keyspace
            .export(&bytes, &mut |entry| held.push(entry.to_vec()));
        let entries = held.iter().map(|entry| layout::view(entry));
        look(&entries.map(|entry| (names[entry.key], entry)).collect())
    }

    /// Reads keys as one transaction.
    #[must_use]
    pub fn read_together(&self, keys: &[Key], wall: Wall) -> Vec<Option<String>> {
        let bytes: Vec<Vec<u8>> = keys.iter().map(|key| key.bytes(self.padding)).collect();
        let names: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        let mut marks = Marks::default();
        Access::new(&self.keyspace, wall, &mut marks).together(&names, &[], |access| {
            let read = |name: &&[u8]| {
                access.read(name, |view| {
                    view.map(|view| String::from_utf8_lossy(&view.value()).into_owned())
                })
            };
            names.iter().map(read).collect()
        })
    }
}
