//! A keyspace that a client writes to while a session works: a real node has threads, and batches are built in many steps.

use std::{
    cell::{Cell, RefCell},
    ops::Range,
};

use greenwich_proto::{
    entry::EntryRef,
    hlc::Version,
    settled::Settled,
    slots::KeyHash,
    store::{Applied, Store},
    time::Wall,
    wire::control::Over,
};

/// Passes everything on, and lets a client in behind one of the looks.
pub(crate) struct Meanwhile<'a, S> {
    store: &'a S,
    /// Looks before the client comes.
    looks: Cell<u64>,
    write: RefCell<Option<Box<dyn FnOnce() + 'a>>>,
}

impl<'a, S> Meanwhile<'a, S> {
    /// Nobody comes.
    pub(crate) fn quiet(store: &'a S) -> Self {
        Self {
            store,
            looks: Cell::new(0),
            write: RefCell::default(),
        }
    }

    /// `write` is called behind so many looks, if there are as many.
    pub(crate) fn busy(store: &'a S, looks: u64, write: impl FnOnce() + 'a) -> Self {
        Self {
            store,
            looks: Cell::new(looks),
            write: RefCell::new(Some(Box::new(write))),
        }
    }
}

impl<S: Store> Store for Meanwhile<'_, S> {
    fn export(&self, keys: &[&[u8]], visit: &mut dyn FnMut(&[u8])) {
        self.store.export(keys, visit);
        match self.looks.get() {
            0 => {
                if let Some(write) = self.write.take() {
                    write();
                }
            }
            looks => self.looks.set(looks - 1),
        }
    }

    fn join(&self, entries: &[EntryRef<'_>], forgot: &Settled, now: Wall) -> Applied {
        self.store.join(entries, forgot, now)
    }

    fn flush(&self, version: Version) {
        self.store.flush(version);
    }

    fn flushed(&self) -> Version {
        self.store.flushed()
    }

    fn settle(&self, settled: Settled) {
        self.store.settle(settled);
    }

    fn settled(&self) -> Settled {
        self.store.settled()
    }

    fn has_folded(&self) -> bool {
        self.store.has_folded()
    }

    fn bury(&self, over: &Over, now: Wall) -> bool {
        self.store.bury(over, now)
    }

    fn sweep(&self, position: u64, bytes: usize, visit: &mut dyn FnMut(&[u8])) -> Option<u64> {
        self.store.sweep(position, bytes, visit)
    }

    fn prints(&self, epoch: u64, visit: &mut dyn FnMut(usize, Option<u64>)) {
        self.store.prints(epoch, visit);
    }

    fn list_slots(&self, slots: Range<usize>, visit: &mut dyn FnMut(KeyHash, &[u8])) {
        self.store.list_slots(slots, visit);
    }
}
