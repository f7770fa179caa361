//! What all connections of a node share, and the threads that serve them.

mod counters;
mod serve;
mod settings;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use tokio::sync::Notify;

pub use self::{
    counters::{Counters, ThreadCounters, Totals},
    serve::{Serving, serve},
    settings::Settings,
};
use crate::{client::Clients, config::Config, keyspace::Keyspace, resp};

/// What all connections share.
#[derive(Debug)]
pub struct Server {
    /// Every key.
    pub keyspace: Arc<Keyspace>,
    /// The name of the region.
    pub region: String,
    /// Which life of the region's node this is.
    pub incarnation: u64,
    /// Where clients connect.
    pub port: u16,
    /// What one client may have.
    pub limits: Limits,
    /// What CONFIG SET changes.
    pub settings: Settings,
    /// Every client.
    pub clients: Clients,
    /// What was counted.
    pub counters: Counters,
    /// To be notified (`notify_waiters`) when a peer has acknowledged writes, from any thread.
    pub acknowledged: Arc<Notify>,
    /// When the server was made.
    pub started: Instant,
}

/// What one client may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bounds on one request.
    pub request: resp::Limits,
    /// Messages that may wait for a client.
    pub output_bytes_max: usize,
    /// One reply: at least the largest value, whatever the limit on messages.
    pub reply_bytes_max: usize,
}

impl Server {
    /// A server without clients.
    #[must_use]
    pub fn new(config: &Config, keyspace: Arc<Keyspace>, incarnation: u64, acknowledged: Arc<Notify>) -> Self {
        let client = &config.client;
        let request = client.request_limits();
        let output_bytes_max = client.output_buffer_limit.as_usize();
        Self {
            keyspace,
            region: config.region.name.clone(),
            incarnation,
            port: client.bind.port(),
            limits: Limits {
                request,
                output_bytes_max,
                reply_bytes_max: output_bytes_max.max(request.bulk_bytes_max + 1024),
            },
            settings: Settings::new(
                client.max_clients,
                client.idle_timeout.0.as_secs(),
                client.password.as_ref().map(|password| password.0.as_str()),
            ),
            clients: Clients::default(),
            counters: Counters::new(client.thread_count()),
            acknowledged,
            started: Instant::now(),
        }
    }

    /// Connections at this moment.
    #[must_use]
    pub fn clients_connected(&self) -> u64 {
        self.clients.count() as u64
    }

    /// Connections accepted since the start.
    #[must_use]
    pub fn clients_accepted(&self) -> u64 {
        self.counters.accepted.load(Relaxed)
    }

    /// Connections refused since the start because as many as allowed were there.
    #[must_use]
    pub fn clients_refused(&self) -> u64 {
        self.counters.refused.load(Relaxed)
    }

    /// Commands since the start.
    #[must_use]
    pub fn commands_total(&self) -> u64 {
        self.counters.totals().commands
    }
}
