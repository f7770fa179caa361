//! One region's node: the real keyspace, log and sessions, with a wall clock that may be wrong.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use greenwich::keyspace::{Access, Keyspace, Slot};
use greenwich_proto::{
    decimal::Decimal,
    entry::{EntryRef, layout, totals::Actor},
    hlc::{Clock, Origin, Version},
    lives::Lives,
    log::{Log, Marks, PeerIndex},
    members::Members,
    peer::{
        Builder, Input, Node, Outbox, Peer,
        handshake::{Expected, Identity},
    },
    roster::Roster,
    store::Store,
    time::{Time, Wall},
};

use parking_lot::Mutex;

use crate::{
    clock::WallClock,
    meanwhile::Meanwhile,
    oracle::{Effect, Held},
    swarm::Swarm,
    workload::{Expiry, Key, Operation},
};

/// The shards that one step of tending looks at: all of them.
const ALL_SHARDS: usize = 1024;
/// The longest value that APPEND makes.
const VALUE_BYTES_MAX: usize = 60;

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
    peers: Vec<Peer>,
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

/// Where region `of` stands among the peers of region `at`.
fn peer_index(at: usize, of: usize) -> usize {
    if of < at { of } else { of - 1 }
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
    /// An empty region.
    pub fn new(
        index: usize,
        incarnation: u64,
        clock: WallClock,
        swarm: &Swarm,
        wrap: &impl Fn(Arc<Keyspace>) -> S,
        now: Time,
    ) -> Self {
        let origin = Origin(u8::try_from(index + 1).expect("few regions"));
        let peer_count = swarm.regions - 1;
        let hybrid = Clock::new(Duration::from_millis(swarm.max_skew_ms));
        let log = Arc::new(Log::new(hybrid, peer_count, swarm.log_bytes));
        let actor = Actor {
            origin,
            incarnation,
        };
        let keyspace = Arc::new(Keyspace::new(
            Arc::clone(&log),
            actor,
            swarm.seed ^ incarnation ^ u64::from(origin.0),
        ));
        let others = || (0..swarm.regions).filter(|other| *other != index);
        let region = |at: usize| Expected {
            region: name(at),
            origin: Origin(u8::try_from(at + 1).expect("few regions")),
        };
        let configured = others().map(|other| (region(other), format!("{}:1", name(other))));
        let roster = Roster::new(region(index), configured, Members::default());
        let origins = others().map(|other| Origin(u8::try_from(other + 1).expect("few regions")));
        let patience = Duration::from_millis(swarm.loading_patience_ms);
        let lives = Lives::new(actor, origins, now, patience);
        let peers = others()
            .enumerate()
            .map(|(at, other)| Peer::new(PeerIndex(at), region(other), swarm.limits, now));
        Self {
            index,
            clock,
            padding: swarm.key_padding,
            identity: Identity {
                cluster: "sim".into(),
                region: name(index),
                origin,
                incarnation,
                rules: 0,
            },
            store: wrap(Arc::clone(&keyspace)),
            lives: lives.with_horizon(match swarm.horizon_ms {
                0 => Duration::MAX,
                horizon_ms => Duration::from_millis(horizon_ms),
            }),
            roster,
            builder: Mutex::default(),
            peers: peers.collect(),
            wakes: vec![None; swarm.regions],
            keyspace,
            log,
            is_loading: true,
        }
    }

    /// Its start.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.identity.incarnation
    }

    /// The session with another region.
    #[must_use]
    pub fn peer(&self, other: usize) -> &Peer {
        &self.peers[peer_index(self.index, other)]
    }

    /// How another region is numbered in the log.
    #[must_use]
    pub fn number_of(&self, other: usize) -> PeerIndex {
        PeerIndex(peer_index(self.index, other))
    }

    /// Tells the session with another region what happened. Behind so many looks of the session a client runs a command;
    /// the second result is what that did, if it came to it.
    pub fn handle(
        &mut self,
        now: Time,
        other: usize,
        input: Input<'_>,
        meanwhile: Option<(u64, &Operation, &[Key])>,
    ) -> (Outbox, Option<Performed>) {
        let wall = self.clock.read(now);
        let mut out = Outbox::new();
        let mut performed = None;
        // The sessions stand aside, so that a client can come while one of them works.
        let mut peers = std::mem::take(&mut self.peers);
        let store = match meanwhile {
            None => Meanwhile::quiet(&self.store),
            Some((looks, operation, all)) => Meanwhile::busy(&self.store, looks, || {
                performed = Some(self.perform(now, operation, all));
            }),
        };
        let node = Node {
            identity: &self.identity,
            log: &self.log,
            store: &store,
            lives: &self.lives,
            roster: &self.roster,
            builder: &self.builder,
        };
        peers[peer_index(self.index, other)].handle(now, wall, input, &node, &mut out);
        drop(store);
        self.peers = peers;
        (out, performed)
    }

    /// Looks whether it may serve clients. Returns whether it has just begun to.
    pub fn look_whether_loaded(&mut self, now: Time, serves_at_once: bool) -> bool {
        let was_loading = self.is_loading;
        self.is_loading = !serves_at_once && self.lives.loading(now).is_some();
        was_loading && !self.is_loading
    }

    /// The other regions from which nothing has arrived whole.
    pub fn missing(&self) -> Vec<usize> {
        let missing = self.lives.missing().into_iter();
        missing
            .map(|PeerIndex(at)| if at < self.index { at } else { at + 1 })
            .collect()
    }

    /// Runs `look` on what it holds of a key, as the oracle asks it.
    pub fn with_held<R>(&self, key: Key, look: impl FnOnce(Held<'_>) -> R) -> R {
        let settled = self.keyspace.settled();
        self.with_entry(key, |entry| {
            look(Held {
                entry,
                flushed: self.flushed(),
                settled: &settled,
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

    /// Runs a client's command, for which `all` are all keys.
    pub fn perform(&self, now: Time, operation: &Operation, all: &[Key]) -> Performed {
        let mut marks = Marks::default();
        let changed = self.execute(self.clock.read(now), operation, all, &mut marks);
        Performed { changed, marks }
    }

    fn execute(
        &self,
        wall: Wall,
        operation: &Operation,
        all: &[Key],
        marks: &mut Marks,
    ) -> Vec<Changed> {
        match operation {
            Operation::Set(key, value, expiry) => self.change(*key, wall, marks, |slot| {
                let deadline = match expiry {
                    Expiry::None => None,
                    Expiry::After(ttl_ms) => Some(wall + Duration::from_millis(*ttl_ms)),
                    Expiry::Keep => slot.view().and_then(|view| view.deadline()),
                };
                slot.set(value.as_bytes(), deadline);
                Some(Done::Base(Some(value.clone().into_bytes()), deadline))
            }),
            Operation::Delete(key) => self.change(*key, wall, marks, |slot| {
                slot.delete().then_some(Done::Base(None, None))
            }),
            Operation::Expire(key, ttl_ms) => self.change(*key, wall, marks, |slot| {
                let at = Some(wall + Duration::from_millis(*ttl_ms));
                slot.set_deadline(at).then_some(Done::Deadline(at))
            }),
            Operation::Persist(key) => self.change(*key, wall, marks, |slot| {
                let is_mortal = slot.view().is_some_and(|view| view.deadline().is_some());
                (is_mortal && slot.set_deadline(None)).then_some(Done::Deadline(None))
            }),
            Operation::Increment(key, amount) => {
                self.change(*key, wall, marks, |slot| count(slot, *amount))
            }
            Operation::Append(key, suffix) => {
                self.change(*key, wall, marks, |slot| Some(append(slot, suffix)))
            }
            Operation::SetTokens(first, count, token) => {
                let keys = Key::tokens(*first, *count);
                self.change_together(&keys, wall, marks, |_, slot| {
                    slot.set(token.as_bytes(), None);
                    Some(Done::Base(Some(token.clone().into_bytes()), None))
                })
            }
            Operation::DeleteTokens(first, count) => {
                self.delete_together(&Key::tokens(*first, *count), wall, marks)
            }
            Operation::DeleteAccounts(group) => {
                self.delete_together(&accounts(*group), wall, marks)
            }
            Operation::Transfer(group, amount) => {
                self.change_together(&accounts(*group), wall, marks, |at, slot| {
                    count(slot, if at == 0 { -amount } else { *amount })
                })
            }
            Operation::Flush => {
                Access::new(&self.keyspace, wall, marks).flush();
                let effect = || Effect::Base {
                    version: self.flushed(),
                    body: None,
                    deadline: None,
                };
                all.iter()
                    .map(|&key| Changed {
                        key,
                        effect: effect(),
                    })
                    .collect()
            }
        }
    }

    fn change(
        &self,
        key: Key,
        wall: Wall,
        marks: &mut Marks,
        act: impl FnOnce(&mut Slot<'_>) -> Option<Done>,
    ) -> Vec<Changed> {
        let done = Access::new(&self.keyspace, wall, marks).update(&key.bytes(self.padding), act);
        done.map(|done| Changed {
            key,
            effect: self.effect(key, done),
        })
        .into_iter()
        .collect()
    }

    /// What is not there is skipped.
    fn delete_together(&self, keys: &[Key], wall: Wall, marks: &mut Marks) -> Vec<Changed> {
        self.change_together(keys, wall, marks, |_, slot| {
            slot.delete().then_some(Done::Base(None, None))
        })
    }

    fn change_together(
        &self,
        keys: &[Key],
        wall: Wall,
        marks: &mut Marks,
        act: impl Fn(usize, &mut Slot<'_>) -> Option<Done>,
    ) -> Vec<Changed> {
        let bytes: Vec<Vec<u8>> = keys.iter().map(|key| key.bytes(self.padding)).collect();
        let names: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        let done: Vec<_> =
            Access::new(&self.keyspace, wall, marks).together(&names, &names, |access| {
                names
                    .iter()
                    .enumerate()
                    .map(|(at, name)| access.update(name, |slot| act(at, slot)))
                    .collect()
            });
        let changed = keys
            .iter()
            .zip(done)
            .filter_map(|(&key, done)| Some((key, done?)));
        changed
            .map(|(key, done)| Changed {
                key,
                effect: self.effect(key, done),
            })
            .collect()
    }

    /// What the region says about the write that it has just accepted.
    fn effect(&self, key: Key, done: Done) -> Effect {
        self.with_entry(key, |entry| {
            let entry = entry.expect("what was just written is held");
            match done {
                Done::Base(body, deadline) => Effect::Base {
                    version: entry.version,
                    body,
                    deadline,
                },
                Done::Deadline(at) => Effect::Deadline {
                    version: entry.deadline.version,
                    at,
                },
                Done::Count(amount) => {
                    let actor = Actor {
                        origin: self.identity.origin,
                        incarnation: self.identity.incarnation,
                    };
                    let own = entry.totals.iter().find(|total| total.actor == actor);
                    Effect::Count {
                        base: entry.version,
                        amount,
                        actor,
                        stamp: own.expect("what was counted is in a total").stamp,
                    }
                }
            }
        })
    }
}

enum Done {
    Base(Option<Vec<u8>>, Option<Wall>),
    Deadline(Option<Wall>),
    Count(i64),
}

fn append(slot: &mut Slot<'_>, suffix: &str) -> Done {
    let seen = slot
        .view()
        .map(|view| (view.value().into_owned(), view.deadline()));
    let (mut value, deadline) = seen.unwrap_or_default();
    value.truncate(VALUE_BYTES_MAX);
    value.extend_from_slice(suffix.as_bytes());
    slot.set(&value, deadline);
    Done::Base(Some(value), deadline)
}

fn count(slot: &mut Slot<'_>, amount: i64) -> Option<Done> {
    slot.add(Decimal::from(amount))
        .is_ok()
        .then_some(Done::Count(amount))
}
