//! What clients' commands do to a node's keys, and what the node says of that.

use std::time::Duration;

use greenwich::keyspace::{Access, Slot};
use greenwich_proto::{
    decimal::Decimal,
    entry::totals::Actor,
    log::Marks,
    store::Store,
    time::{Time, Wall},
};

use super::{Changed, Performed, Region, accounts};
use crate::{
    oracle::Effect,
    workload::{Expiry, Key, Operation},
};

/// The longest value that APPEND makes.
const VALUE_BYTES_MAX: usize = 60;

impl<S: Store> Region<S> {
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
            Operation::Set(key, value, expiry) => self.change_key(*key, wall, marks, |slot| {
                let deadline = match expiry {
                    Expiry::None => None,
                    Expiry::After(ttl_ms) => Some(wall + Duration::from_millis(*ttl_ms)),
                    Expiry::Keep => slot.view().and_then(|view| view.deadline()),
                };
                slot.set(value.as_bytes(), deadline);
                Some(Done::Base(Some(value.clone().into_bytes()), deadline))
            }),
            Operation::Delete(key) => self.change_key(*key, wall, marks, |slot| {
                slot.delete().then_some(Done::Base(None, None))
            }),
            Operation::Expire(key, ttl_ms) => self.change_key(*key, wall, marks, |slot| {
                let at = Some(wall + Duration::from_millis(*ttl_ms));
                slot.set_deadline(at).then_some(Done::Deadline(at))
            }),
            Operation::Persist(key) => self.change_key(*key, wall, marks, |slot| {
                let is_mortal = slot.view().is_some_and(|view| view.deadline().is_some());
                (is_mortal && slot.set_deadline(None)).then_some(Done::Deadline(None))
            }),
            Operation::Increment(key, amount) => {
                self.change_key(*key, wall, marks, |slot| count(slot, *amount))
            }
            Operation::Append(key, suffix) => {
                self.change_key(*key, wall, marks, |slot| Some(append(slot, suffix)))
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

    fn change_key(
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
