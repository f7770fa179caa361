//! The keyspace as sessions see it when nothing misbehaves.

use std::{ops::Range, sync::Arc};

use greenwich::keyspace::Keyspace;
use greenwich_proto::{
    entry::EntryRef,
    hlc::Version,
    settled::Settled,
    slots::KeyHash,
    store::{Applied, Store},
    time::Wall,
    wire::control::Over,
};

/// Passes everything on.
#[derive(Clone, Debug)]
pub struct Direct(pub Arc<Keyspace>);

impl Store for Direct {
    fn export(&self, keys: &[&[u8]], visit: &mut dyn FnMut(&[u8])) {
        self.0.export(keys, visit);
    }

    fn join(&self, entries: &[EntryRef<'_>], forgot: &Settled, now: Wall) -> Applied {
        self.0.join(entries, forgot, now)
    }

    fn flush(&self, version: Version) {
        self.0.flush(version);
    }

    fn flushed(&self) -> Version {
        self.0.flushed()
    }

    fn settle(&self, settled: Settled) {
        self.0.settle(settled);
    }

    fn settled(&self) -> Settled {
        self.0.settled()
    }

    fn has_folded(&self) -> bool {
        self.0.has_folded()
    }

    fn bury(&self, over: &Over, now: Wall) -> bool {
        self.0.bury(over, now)
    }

    fn sweep(&self, position: u64, bytes: usize, visit: &mut dyn FnMut(&[u8])) -> Option<u64> {
        self.0.sweep(position, bytes, visit)
    }

    fn prints(&self, epoch: u64, visit: &mut dyn FnMut(usize, Option<u64>)) {
        self.0.prints(epoch, visit);
    }

    fn list_slots(&self, slots: Range<usize>, visit: &mut dyn FnMut(KeyHash, &[u8])) {
        self.0.list_slots(slots, visit);
    }
}
