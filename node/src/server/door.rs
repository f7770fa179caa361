//! Whether commands about keys are run, and why not. It does not know which commands these are, or who decides.

use std::sync::{
    OnceLock,
    atomic::{
        AtomicU8,
        Ordering::{AcqRel, Relaxed},
    },
};

use parking_lot::Mutex;

use crate::status::Loading;

/// What clients get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Service {
    /// Everything.
    Open,
    /// Nothing about keys: the node waits for what its peers hold.
    Loading,
    /// Nothing about keys, for good: what is written here reaches nobody, as a later process of the region has its place.
    Superseded,
}

/// What all client threads look at before they run a command.
#[derive(Debug)]
pub struct Door {
    service: AtomicU8,
    loading: Mutex<Option<Loading>>,
    superseded: OnceLock<String>,
}

impl Default for Door {
    /// An open one.
    fn default() -> Self {
        Self {
            service: AtomicU8::new(Service::Open as u8),
            loading: Mutex::default(),
            superseded: OnceLock::new(),
        }
    }
}

impl Door {
    /// What clients get at this moment.
    #[inline]
    #[must_use]
    pub fn service(&self) -> Service {
        match self.service.load(Relaxed) {
            open if open == Service::Open as u8 => Service::Open,
            loading if loading == Service::Loading as u8 => Service::Loading,
            _ => Service::Superseded,
        }
    }

    /// The node waits for what its peers hold, before the first client is there.
    pub fn load(&self) {
        self.service.store(Service::Loading as u8, Relaxed);
    }

    /// The node has loaded. Returns whether clients are served from now on.
    pub fn open(&self) -> bool {
        self.tell_loading(None);
        let [loading, open] = [Service::Loading, Service::Open].map(|service| service as u8);
        match self
            .service
            .compare_exchange(loading, open, AcqRel, Relaxed)
        {
            Ok(_) => true,
            Err(found) => found == open,
        }
    }

    /// Serves nobody any more, for the first reason that is told.
    pub fn supersede(&self, reason: String) {
        self.superseded.get_or_init(|| reason);
        self.service.store(Service::Superseded as u8, Relaxed);
    }

    /// Why nobody is served any more.
    #[must_use]
    pub fn superseded(&self) -> Option<&str> {
        self.superseded.get().map(String::as_str)
    }

    /// Tells how far the node is that loads; `None` when clients are served.
    pub fn tell_loading(&self, loading: Option<Loading>) {
        *self.loading.lock() = loading;
    }

    /// How far the node was when somebody told last, while it loads.
    #[must_use]
    pub fn loading(&self) -> Option<Loading> {
        self.loading.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_superseded_while_it_loaded_never_serves() {
        let door = Door::default();
        door.load();
        assert_eq!(door.service(), Service::Loading);
        door.supersede("first".to_owned());
        door.supersede("second".to_owned());
        assert!(!door.open());
        assert_eq!(door.service(), Service::Superseded);
        assert_eq!(door.superseded(), Some("first"));
    }

    #[test]
    fn who_has_loaded_serves() {
        let door = Door::default();
        assert!(door.open(), "there was nothing to load");
        door.load();
        door.tell_loading(Some(Loading::default()));
        assert!(door.open());
        assert_eq!((door.service(), door.loading()), (Service::Open, None));
    }
}
