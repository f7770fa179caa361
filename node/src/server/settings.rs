//! What CONFIG SET may change while the server runs.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use parking_lot::RwLock;

/// Settings that take effect at once.
#[derive(Debug)]
pub struct Settings {
    /// Connections at one time.
    pub clients_max: AtomicUsize,
    /// As many as the system has files for.
    pub clients_possible: usize,
    /// A client that sends nothing for as many seconds is disconnected; 0: never.
    pub idle_seconds_max: AtomicU64,
    password: RwLock<Option<Arc<str>>>,
    asks_password: AtomicBool,
}

impl Settings {
    /// With the values of the configuration, and no more clients than possible.
    #[must_use]
    pub fn new(
        (clients_max, clients_possible): (usize, usize),
        idle_seconds_max: u64,
        password: Option<&str>,
    ) -> Self {
        let settings = Self {
            clients_max: AtomicUsize::new(clients_max.min(clients_possible)),
            clients_possible,
            idle_seconds_max: AtomicU64::new(idle_seconds_max),
            password: RwLock::new(None),
            asks_password: AtomicBool::new(false),
        };
        settings.set_password(password.unwrap_or_default());
        settings
    }

    /// Whether clients must give a password.
    #[inline]
    #[must_use]
    pub fn asks_password(&self) -> bool {
        self.asks_password.load(Relaxed)
    }

    /// The password that clients give.
    #[must_use]
    pub fn password(&self) -> Option<Arc<str>> {
        self.password.read().clone()
    }

    /// Changes the password for clients to come; an empty one lets everybody in.
    pub fn set_password(&self, password: &str) {
        let mut held = self.password.write();
        *held = (!password.is_empty()).then(|| password.into());
        self.asks_password.store(held.is_some(), Relaxed);
    }

    /// Whether this is the password. Takes the same time whichever byte differs first.
    #[must_use]
    pub fn is_password(&self, given: &[u8]) -> bool {
        self.password.read().as_deref().is_some_and(|password| {
            let differing = password
                .bytes()
                .zip(given)
                .fold(0, |differing, (a, b)| differing | (a ^ b));
            password.len() == given.len() && differing == 0
        })
    }
}
