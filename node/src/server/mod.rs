//! What all connections of a node share, and the threads that serve them.

mod buffers;
mod channels;
mod connection;
mod counters;
pub mod descriptors;
mod door;
mod listen;
pub mod process;
mod serve;
mod settings;

use std::{
    fmt, mem,
    net::SocketAddr,
    sync::{Arc, OnceLock, atomic::Ordering::Relaxed},
    time::Instant,
};

use greenwich_replicator::news::News;
use parking_lot::Mutex;
use tokio::sync::Notify;

pub use self::{
    channels::{Channels, Topic},
    counters::{Counters, Snapshot, ThreadCounters, Totals},
    door::{Door, Service},
    listen::BACKLOG,
    serve::{Serving, serve},
    settings::Settings,
};
use crate::{client::Clients, config::Config, keyspace::Keyspace, resp, status::Link};

/// What all connections share.
pub struct Server {
    /// Every key.
    pub keyspace: Arc<Keyspace>,
    /// The name of the region.
    pub region: String,
    /// Which life of the region's node this is.
    pub incarnation: u64,
    /// What one client may have.
    pub limits: Limits,
    /// What CONFIG SET changes.
    pub settings: Settings,
    /// Every client.
    pub clients: Clients,
    /// Who is subscribed to what.
    pub channels: Channels,
    /// What was counted.
    pub counters: Counters,
    /// To be notified (`notify_waiters`) when a peer has acknowledged writes, from any thread.
    pub acknowledged: Arc<Notify>,
    /// What was logged of late about clients.
    pub news: Mutex<News>,
    /// Whether commands about keys are run.
    pub door: Door,
    /// When the server was made.
    pub started: Instant,
    bind: SocketAddr,
    address: OnceLock<SocketAddr>,
    /// Locked for a moment by whoever holds other locks: nothing is locked while this is.
    links: Mutex<Arc<[Link]>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
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
    pub fn new(
        config: &Config,
        keyspace: Arc<Keyspace>,
        incarnation: u64,
        acknowledged: Arc<Notify>,
    ) -> Self {
        let client = &config.client;
        let request = client.request_limits();
        let output_bytes_max = client.output_buffer_limit.as_usize();
        Self {
            keyspace,
            region: config.region.name.clone(),
            incarnation,
            limits: Limits {
                request,
                output_bytes_max,
                reply_bytes_max: output_bytes_max.max(request.bulk_bytes_max + 1024),
            },
            settings: Settings::new(
                (client.max_clients, descriptors::clients_possible(config)),
                client.idle_timeout.0.as_secs(),
                client.password.as_ref().map(|password| password.0.as_str()),
            ),
            clients: Clients::default(),
            channels: Channels::default(),
            bind: client.bind,
            address: OnceLock::new(),
            links: Mutex::default(),
            counters: Counters::new(client.thread_count()),
            acknowledged,
            news: Mutex::default(),
            door: Door::default(),
            started: Instant::now(),
        }
    }

    /// Where clients connect; with the port that the system chose, if it was asked to, once the port is open.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address.get().copied().unwrap_or(self.bind)
    }

    /// Tells how the links to other regions are. To be called about every second, for INFO cannot ask: it runs inside
    /// EXEC with shards locked, and the holder of a link's lock may wait for a shard.
    pub fn tell_links(&self, links: Vec<Link>) {
        let links = links.into();
        let before = mem::replace(&mut *self.links.lock(), links);
        drop(before);
    }

    /// How the links to other regions were when somebody told last.
    #[must_use]
    pub fn links(&self) -> Arc<[Link]> {
        Arc::clone(&self.links.lock())
    }

    /// Forty digits that differ between regions and between lives, as redis-server's run id.
    #[must_use]
    pub fn run_id(&self) -> String {
        let region = self.region.bytes().fold(0_u64, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(byte.into())
        });
        format!("{:016x}{region:024x}", self.incarnation)
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

    /// What INFO shows: counts since CONFIG RESETSTAT.
    #[must_use]
    pub fn counts_since_reset(&self) -> Snapshot {
        self.counters.since_reset(self.keyspace.expired())
    }

    /// CONFIG RESETSTAT.
    pub fn reset_counts(&self) {
        self.counters.forget(self.keyspace.expired());
    }

    /// Commands since the start.
    #[must_use]
    pub fn commands_total(&self) -> u64 {
        self.counters.totals().commands
    }
}
