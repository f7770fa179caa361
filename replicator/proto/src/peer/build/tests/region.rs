//! A region as small as can be: a table of entries, a log, and what it wrote as units.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    ops::Range,
    time::Duration,
};

use crate::{
    decimal::Decimal,
    entry::{
        Body, Deadline, EntryRef,
        join::{Forgotten, Joined, join},
        layout,
        totals::{Actor, Total, Totals},
    },
    hlc::{Clock, Origin, Version},
    log::{LANES, Log},
    settled::Settled,
    slots::KeyHash,
    store::{Applied, Store},
    time::Wall,
};

pub(super) const WALL: Wall = Wall(1_000);
/// Keys are spread over so many lanes.
const LANES_USED: usize = 3;
/// Keys that are swept.
const SWEPT_KEYS: Key = 10;

pub(super) type Key = u16;

/// What a write does to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Set,
    Delete,
    Expire,
    Add,
}

/// Keys that are changed together, or one alone.
pub(super) type Write = Vec<(Key, Change)>;

/// A write and its version.
#[derive(Debug)]
struct Written {
    version: Version,
    /// The base of each key before it.
    changes: Vec<(Key, Change, Version)>,
}

pub(super) struct Region {
    pub(super) origin: Origin,
    pub(super) log: Log,
    entries: RefCell<BTreeMap<Vec<u8>, Box<[u8]>>>,
    written: RefCell<Vec<Written>>,
    /// What clients write while keys are looked up, one write behind each look.
    pub(super) meanwhile: RefCell<VecDeque<Write>>,
    /// Bytes of every value.
    pub(super) value_bytes: usize,
}

pub(super) fn name(key: Key) -> Vec<u8> {
    format!("key{key}").into_bytes()
}

impl Region {
    pub(super) fn new(origin: u8, peers: usize) -> Self {
        Self {
            origin: Origin(origin),
            log: Log::new(Clock::new(Duration::from_secs(5)), peers, 64 << 20),
            entries: RefCell::default(),
            written: RefCell::default(),
            meanwhile: RefCell::default(),
            value_bytes: 10,
        }
    }

    /// Does what a client asks for. Unlike a real one, it needs no locks.
    pub(super) fn write(&self, write: &Write) {
        let names: Vec<Vec<u8>> = write.iter().map(|(key, _)| name(*key)).collect();
        let lane = usize::from(write[0].0) % LANES_USED;
        let position = match names.as_slice() {
            [name] => self.log.append_key(lane, WALL, name),
            names => self.log.append(lane, WALL, names.iter().map(Vec::as_slice)),
        };
        let version = Version {
            stamp: position.stamp,
            origin: self.origin,
        };
        let mut changes = Vec::new();
        for (name, &(key, change)) in names.iter().zip(write) {
            changes.push((key, change, self.base(name)));
            self.change(name, version, change);
        }
        let mut written = self.written.borrow_mut();
        written.push(Written { version, changes });
    }

    fn base(&self, name: &[u8]) -> Version {
        let held = self.held(name);
        held.map_or(Version::ZERO, |held| layout::view(&held).version)
    }

    fn change(&self, name: &[u8], version: Version, change: Change) {
        let held = self.held(name);
        let absent = EntryRef::absent(name, Version::ZERO);
        let held = held.as_deref().map_or(absent, layout::view);
        let value = vec![b'7'; self.value_bytes];
        let own = Deadline { version, at: None };
        let mut totals = Vec::new();
        let entry = match change {
            Change::Set | Change::Delete => EntryRef {
                version,
                body: match change {
                    Change::Set => Body::Bytes(&value),
                    Change::Delete | Change::Expire | Change::Add => Body::Dead,
                },
                deadline: own,
                ..absent
            },
            Change::Expire => EntryRef {
                deadline: Deadline {
                    at: Some(WALL + Duration::from_hours(1)),
                    ..own
                },
                ..held
            },
            Change::Add => {
                let actor = self.actor();
                let sum = held.totals.of(actor).saturating_add(Decimal::from(1));
                let stamp = version.stamp;
                let total = Total {
                    actor,
                    stamp,
                    sum,
                    folded: None,
                };
                held.totals.encode_with(&total, &mut totals);
                EntryRef {
                    totals: Totals::from_bytes(&totals).unwrap(),
                    ..held
                }
            }
        };
        let bytes = layout::to_box(&entry);
        self.entries.borrow_mut().insert(name.to_vec(), bytes);
    }

    fn actor(&self) -> Actor {
        Actor {
            origin: self.origin,
            incarnation: 1,
        }
    }

    fn held(&self, name: &[u8]) -> Option<Box<[u8]>> {
        self.entries.borrow().get(name).cloned()
    }

    /// What is held, to be compared.
    pub(super) fn contents(&self) -> BTreeMap<Vec<u8>, Box<[u8]>> {
        self.entries.borrow().clone()
    }

    /// Whether this region shows a change to what was on `base`.
    fn shows(&self, version: Version, (key, change, base): (Key, Change, Version)) -> Shown {
        let Some(held) = self.held(&name(key)) else {
            return Shown::No;
        };
        let entry = layout::view(&held);
        let is_counted =
            |total: Total| total.actor.origin == version.origin && total.stamp >= version.stamp;
        let (is_shown, is_overwritten) = match change {
            Change::Set | Change::Delete => (entry.version == version, entry.version > version),
            Change::Expire => (
                entry.deadline.version == version,
                entry.deadline.version > version,
            ),
            // It belongs to its base.
            Change::Add => (
                entry.version == base && entry.totals.iter().any(is_counted),
                entry.version > base,
            ),
        };
        match (is_shown, is_overwritten) {
            (true, _) => Shown::Yes,
            (_, true) => Shown::Overwritten,
            _ => Shown::No,
        }
    }

    /// Panics when this region shows a part of what `other` wrote at once.
    pub(super) fn assert_whole(&self, other: &Self) {
        for Written { version, changes } in other.written.borrow().iter() {
            let shown: Vec<Shown> = changes
                .iter()
                .map(|&change| self.shows(*version, change))
                .collect();
            let is_torn = shown.contains(&Shown::Yes) && shown.contains(&Shown::No);
            assert!(!is_torn, "{version:?} {changes:?} is shown as {shown:?}");
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Yes,
    Overwritten,
    No,
}

impl Store for Region {
    fn export(&self, keys: &[&[u8]], visit: &mut dyn FnMut(&[u8])) {
        for key in keys {
            if let Some(held) = self.held(key) {
                visit(&held);
            }
        }
        let write = self.meanwhile.borrow_mut().pop_front();
        if let Some(write) = write {
            self.write(&write);
        }
    }

    fn join(&self, incoming: &[EntryRef<'_>], _: &Settled, _: Wall) -> Applied {
        for entry in incoming {
            let held = self.held(entry.key);
            let held = held.as_deref().map(layout::view);
            let joined = match join(held.as_ref(), entry, Forgotten::default()) {
                None | Some(Joined::Local) => continue,
                Some(Joined::Incoming) => layout::to_box(entry),
                Some(Joined::Mixed(bytes)) => bytes,
            };
            self.entries.borrow_mut().insert(entry.key.to_vec(), joined);
        }
        if incoming.len() > 1 {
            let changed = incoming.iter().map(|entry| (entry.key, entry.newest()));
            self.log.units().note(changed);
        }
        Applied::default()
    }

    fn flush(&self, _: Version) {}

    fn flushed(&self) -> Version {
        Version::ZERO
    }

    fn settle(&self, _: Settled) {}

    fn settled(&self) -> Settled {
        Settled::default()
    }

    /// A position is the number of a key.
    fn sweep(&self, position: u64, bytes: usize, visit: &mut dyn FnMut(&[u8])) -> Option<u64> {
        let mut left = bytes;
        for key in Key::try_from(position).unwrap()..SWEPT_KEYS {
            if left == 0 {
                return Some(key.into());
            }
            if let Some(held) = self.held(&name(key)) {
                visit(&held);
                left = left.saturating_sub(held.len());
            }
        }
        None
    }

    fn list_slots(&self, slots: Range<usize>, visit: &mut dyn FnMut(KeyHash, &[u8])) {
        for (key, entry) in self.entries.borrow().iter() {
            let key = KeyHash::of(key);
            if slots.contains(&key.slot()) {
                visit(key, entry);
            }
        }
    }
}

const _: () = assert!(LANES_USED <= LANES);
