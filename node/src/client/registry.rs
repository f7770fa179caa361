//! Every client of the server.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use dashmap::DashMap;

use super::Handle;

/// The clients by their ids.
#[derive(Debug, Default)]
pub struct Clients {
    handles: DashMap<u64, Arc<Handle>>,
    last_id: AtomicU64,
    count: AtomicUsize,
}

impl Clients {
    /// An id that no client had before.
    pub fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Relaxed) + 1
    }

    /// Takes one of `max` places, if there is one.
    pub fn take_place(&self, max: usize) -> bool {
        self.count
            .fetch_update(Relaxed, Relaxed, |count| (count < max).then_some(count + 1))
            .is_ok()
    }

    /// Gives a place back.
    pub fn leave_place(&self) {
        self.count.fetch_sub(1, Relaxed);
    }

    /// Makes a client visible.
    pub fn insert(&self, handle: Arc<Handle>) {
        self.handles.insert(handle.id, handle);
    }

    /// Forgets a client.
    pub fn remove(&self, id: u64) {
        self.handles.remove(&id);
    }

    /// The number of places taken.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// One client.
    #[must_use]
    pub fn find(&self, id: u64) -> Option<Arc<Handle>> {
        self.handles.get(&id).map(|handle| Arc::clone(&handle))
    }

    /// All clients, by id.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Handle>> {
        let mut all: Vec<_> = self
            .handles
            .iter()
            .map(|handle| Arc::clone(&handle))
            .collect();
        all.sort_unstable_by_key(|handle| handle.id);
        all
    }
}
