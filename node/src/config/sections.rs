//! The settings of a node, their meaning and their defaults: the only place where either is written.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::documented::documented;
use super::units::{BitRate, Bytes, Percent, Period, Secret};

documented! {
    /// One node of one region.
    #[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
    #[serde(deny_unknown_fields)]
    pub struct Config {
        /// Name of the cluster: lower-case letters, digits and dashes. A peer of another cluster is
        /// refused.
        #[serde(default = "default_cluster")]
        pub cluster: String,
        /// Directory that belongs to this node alone; it is created, and locked while the node runs.
        /// Relative paths in this file start at the directory of the file.
        #[serde(default = "default_data_dir")]
        pub data_dir: PathBuf,
        /// Which region this node is; required.
        pub region: Region,
        /// Where Redis clients connect.
        #[serde(default)]
        pub client: Client,
        /// Where operators and monitoring connect.
        #[serde(default)]
        pub admin: Admin,
        /// What is said to other regions.
        #[serde(default)]
        pub replication: Replication,
        /// Impairment of links, one table a peer.
        #[serde(default)]
        pub emulation: Vec<Emulation>,
        /// What is logged.
        #[serde(default)]
        pub log: Log,
    }
}

documented! {
    /// Which region this node is. Both settings are required.
    #[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
    #[serde(deny_unknown_fields)]
    pub struct Region {
        /// Name of the region: lower-case letters, digits and dashes, at most 63. The node's
        /// certificate must carry this name.
        pub name: String,
        /// Number of the region, 1 to 63, unique in the cluster and never given to another region.
        /// Of two writes with the same stamp the one from the higher id wins.
        pub id: u8,
    }
}

documented! {
    /// Where Redis clients connect.
    #[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct Client {
        /// TCP address of the Redis protocol. Any address but loopback should have a password.
        pub bind: SocketAddr,
        /// Threads that serve clients; 0 means one a core, less one that is left to replication.
        pub threads: usize,
        /// Connections at one time; one more is answered with an error and closed. Fewer where the
        /// limit of open files does not allow as many, which is logged.
        pub max_clients: usize,
        /// Password that clients give with AUTH. Without one, every client is let in.
        pub password: Option<Secret>,
        /// Replies waiting for a client that does not read them; beyond this it is disconnected.
        pub output_buffer_limit: Bytes,
        /// Unparsed input held for a client; beyond this it is disconnected. Must exceed
        /// max_value_size and be less than 4GiB.
        pub query_buffer_limit: Bytes,
        /// Largest argument of a command, and so the largest value. 512MiB at most, as in Redis.
        pub max_value_size: Bytes,
        /// A client that sends nothing for this long is disconnected; 0s means never.
        pub idle_timeout: Period,
    }
}

impl Default for Client {
    fn default() -> Self {
        Self {
            bind: loopback(6401),
            threads: 0,
            max_clients: 10_000,
            password: None,
            output_buffer_limit: Bytes::mib(64),
            query_buffer_limit: Bytes::gib(1),
            max_value_size: Bytes::mib(512),
            idle_timeout: Period::seconds(0),
        }
    }
}

documented! {
    /// Where operators and monitoring connect: /healthz, /readyz, /status and /metrics over HTTP.
    #[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct Admin {
        /// TCP address of the admin port.
        pub bind: SocketAddr,
        /// Bearer token for /status and /metrics. Required when the address is not loopback; 16
        /// characters or more.
        pub token: Option<Secret>,
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            bind: loopback(9401),
            token: None,
        }
    }
}

documented! {
    /// What is said to other regions, over mutual TLS on QUIC.
    #[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct Replication {
        /// UDP address of the replication port.
        pub bind: SocketAddr,
        /// Certificate of the cluster's authority (PEM). Only its certificates are accepted.
        pub ca: PathBuf,
        /// This node's certificate (PEM), made with `greenwich certs node`.
        pub cert: PathBuf,
        /// Private key of the certificate (PEM). Keep it readable by the node alone.
        pub key: PathBuf,
        /// Congestion control: "steady" sends as fast as the path delivers, whether packets are lost
        /// or not, and keeps its queues short; "cubic" slows down when packets are lost.
        pub congestion: Congestion,
        /// What is done to the batches that this node sends: "none", or "zstd", which takes some
        /// CPU and makes text such as JSON two to four times shorter. A peer that cannot read it
        /// is sent plain batches.
        pub compression: Compression,
        /// Memory of the log of updates that peers have not acknowledged. At the limit the oldest
        /// are dropped, and a peer that still needed them is caught up by a sweep over all keys.
        pub log_limit: Bytes,
        /// Largest batch of updates on one stream. A larger single update travels alone.
        pub batch_limit: Bytes,
        /// How long after a batch the next one leaves; an idle link sends at once. Longer coalesces
        /// more, takes fewer bytes on the wire, and adds to the lag.
        pub flush_interval: Period,
        /// Unacknowledged bytes that a peer is always allowed, however slow the link was measured.
        pub in_flight_min: Bytes,
        /// Unacknowledged bytes that a peer is never allowed to exceed.
        pub in_flight_max: Bytes,
        /// A peer whose stamps run ahead of this node's clock by more than this is refused.
        pub max_skew: Period,
        /// A node that starts empty answers LOADING until it holds what its peers hold. Those that it cannot reach it
        /// waits for as long as this; too short, and it serves without keys that only they hold.
        pub loading_patience: Period,
        /// A region of which nothing was heard for longer than this is no longer waited for: deletions are forgotten without
        /// it, and lose against what it wrote before them while it was away. At least 1s; longer costs memory in an outage.
        pub horizon: Period,
        /// Memory of what was deleted or has expired, while regions are away. Beyond it the region that has been away for
        /// longest, and for 10s at least, is no longer waited for before its horizon. At least 1MiB.
        pub horizon_bytes: Bytes,
        /// The other regions; none means a region on its own.
        pub peers: Vec<Peer>,
    }
}

impl Default for Replication {
    fn default() -> Self {
        Self {
            bind: loopback(7401),
            ca: "ca.pem".into(),
            cert: "cert.pem".into(),
            key: "key.pem".into(),
            congestion: Congestion::Steady,
            compression: Compression::None,
            log_limit: Bytes::mib(256),
            batch_limit: Bytes::kib(64),
            flush_interval: Period::micros(750),
            in_flight_min: Bytes::mib(1),
            in_flight_max: Bytes::mib(64),
            max_skew: Period::seconds(5),
            loading_patience: Period::seconds(10),
            horizon: Period::seconds(24 * 60 * 60),
            horizon_bytes: Bytes::mib(256),
            peers: Vec::new(),
        }
    }
}

/// Congestion control of replication links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Congestion {
    Steady,
    Cubic,
}

/// What is done to batches before they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    None,
    Zstd,
}

documented! {
    /// Another region. All settings are required.
    #[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
    #[serde(deny_unknown_fields)]
    pub struct Peer {
        /// Name of the region; its certificate must carry this name.
        pub region: String,
        /// Number of the region, as in its own file.
        pub id: u8,
        /// UDP address of its replication port: "host:port". Looked up anew with each dial.
        pub address: String,
    }
}

documented! {
    /// REHEARSAL ONLY: impairs what this node sends to one peer, inside its own UDP socket. Both
    /// ends together make the round trip. Never part of a configuration that serves users.
    #[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
    #[serde(deny_unknown_fields)]
    pub struct Emulation {
        /// Region of the peer.
        pub peer: String,
        /// Delay of every packet, one way.
        #[serde(default = "no_time")]
        pub delay: Period,
        /// Largest deviation from the delay, either way.
        #[serde(default = "no_time")]
        pub jitter: Period,
        /// Share of packets that are lost.
        #[serde(default = "no_share")]
        pub loss: Percent,
        /// Rate of the link; packets wait for it. Without one, the link is unlimited.
        #[serde(default)]
        pub rate: Option<BitRate>,
    }
}

documented! {
    /// What is logged, to standard error.
    #[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct Log {
        /// "error", "warn", "info", "debug" or "trace".
        pub level: Level,
        /// "text" for people, "json" for machines.
        pub format: Format,
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: Level::Info,
            format: Format::Text,
        }
    }
}

/// The least important log line that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Text,
    Json,
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn default_cluster() -> String {
    "greenwich".into()
}

fn default_data_dir() -> PathBuf {
    "data".into()
}

fn no_time() -> Period {
    Period::seconds(0)
}

fn no_share() -> Percent {
    Percent(0.0)
}
