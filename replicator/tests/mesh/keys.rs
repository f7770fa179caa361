//! A keyspace that is as simple as can be, and tells when a key arrived.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use greenwich_proto::{
    entry::{
        Body, Deadline, EntryRef,
        join::{Forgotten, Joined, join},
        layout,
        totals::Totals,
    },
    hlc::{Origin, Version},
    log::{LANES, Log},
    settled::Settled,
    store::{Applied, Store},
    time::Wall,
};
use parking_lot::Mutex;

/// What it says that it remembers of the dead.
pub(crate) const HUSK_BYTES: u64 = 1_000;

#[derive(Default)]
pub(crate) struct Keys {
    held: Mutex<BTreeMap<Vec<u8>, Held>>,
    settled: Mutex<Settled>,
    /// The next join panics.
    pub(crate) panics_next: AtomicBool,
}

struct Held {
    entry: Box<[u8]>,
    since: Instant,
}

impl Keys {
    /// Writes a value as a client of region `origin` would.
    pub(crate) fn set(&self, log: &Log, origin: Origin, key: &str, value: &[u8], wall: Wall) {
        let mut held = self.held.lock();
        let lane = key.bytes().map(usize::from).sum::<usize>() % LANES;
        let position = log.append(lane, wall, std::iter::once(key.as_bytes()));
        let version = Version {
            stamp: position.stamp,
            origin,
        };
        let entry = layout::to_box(&EntryRef {
            key: key.as_bytes(),
            version,
            body: Body::Bytes(value),
            deadline: Deadline { version, at: None },
            totals: Totals::EMPTY,
        });
        held.insert(key.into(), Held::now(entry));
    }

    pub(crate) fn len(&self) -> usize {
        self.held.lock().len()
    }

    /// When the key's present state came, if it is here.
    pub(crate) fn since(&self, key: &str) -> Option<Instant> {
        Some(self.held.lock().get(key.as_bytes())?.since)
    }
}

impl Held {
    fn now(entry: Box<[u8]>) -> Self {
        Self {
            entry,
            since: Instant::now(),
        }
    }
}

impl Store for Keys {
    fn export(&self, keys: &[&[u8]], visit: &mut dyn FnMut(&[u8])) {
        let held = self.held.lock();
        let found = keys.iter().filter_map(|key| held.get(*key));
        found.for_each(|held| visit(&held.entry));
    }

    fn join(&self, incoming: &[EntryRef<'_>], _: &Settled, _: Wall) -> Applied {
        assert!(
            !self.panics_next.swap(false, Ordering::SeqCst),
            "a join that was told to panic"
        );
        let mut held = self.held.lock();
        for entry in incoming {
            let present = held.get(entry.key).map(|held| layout::view(&held.entry));
            let joined = match join(present.as_ref(), entry, Forgotten::default()) {
                None | Some(Joined::Local) => continue,
                Some(Joined::Incoming) => layout::to_box(entry),
                Some(Joined::Mixed(bytes)) => bytes,
            };
            held.insert(entry.key.to_vec(), Held::now(joined));
        }
        Applied {
            changed: incoming.len() as u64,
            superseded: 0,
        }
    }

    fn flush(&self, _: Version) {
        self.held.lock().clear();
    }

    fn flushed(&self) -> Version {
        Version::ZERO
    }

    fn settle(&self, settled: Settled) {
        *self.settled.lock() = settled;
    }

    fn settled(&self) -> Settled {
        self.settled.lock().clone()
    }

    fn husk_bytes(&self) -> u64 {
        HUSK_BYTES
    }

    fn sweep(&self, _: u64, _: usize, visit: &mut dyn FnMut(&[u8])) -> Option<u64> {
        let held = self.held.lock();
        held.values().for_each(|held| visit(&held.entry));
        None
    }
}
