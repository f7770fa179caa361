//! What a node says about itself: one shape for `/status`, `/metrics` and `greenwich status`.
//!
//! Plain numbers at one moment. It does not know where they come from.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

/// What an operator must know about a restart; part of every status.
pub const RESTART_NOTE: &str = "nothing is kept on disk: a restarted node comes back empty, and its peers send it everything that they hold";

/// A node at one moment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Status {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the region.
    pub region: String,
    /// Number of the region, 1 to 63.
    pub id: u8,
    /// Release of the program.
    pub version: String,
    /// Which life of this region's node this is; differs after every restart.
    pub incarnation: u64,
    /// Time since the start.
    pub uptime_ms: u64,
    /// How far the system's clock is ahead of this node's, which follows it slowly; negative is behind.
    #[serde(default)]
    pub clock_error_ms: i64,
    /// Why the node is not ready to serve, in plain words; empty when it is.
    pub not_ready: Vec<String>,
    /// How far the node is that waits for what its peers hold; none once clients are served.
    #[serde(default)]
    pub loading: Option<Loading>,
    /// Keys that a client can see.
    pub keys: u64,
    /// Deleted and expired keys that are remembered until every region has heard of their end.
    #[serde(default)]
    pub husks: u64,
    /// What these take, of the memory of all entries.
    #[serde(default)]
    pub husk_bytes: u64,
    /// Memory of the process.
    pub memory: Memory,
    /// Connections of clients.
    pub clients: Clients,
    /// Commands of clients.
    pub commands: Commands,
    /// What reading commands found.
    pub lookups: Lookups,
    /// Values that this node saw expire since the start, each once.
    pub expired: u64,
    /// The log of updates that peers read.
    pub log: UpdateLog,
    /// One for each other region.
    pub links: Vec<Link>,
    /// Other processes that claim the node's region, as peers said within the last seconds.
    #[serde(default)]
    pub twins: Vec<Twin>,
    /// Whether a peer has heard of a later process of the node's region, so that what is written here is lost.
    #[serde(default)]
    pub superseded: bool,
    /// Whether a peer says that the node's region was removed from the cluster.
    #[serde(default)]
    pub removed: bool,
    /// [`RESTART_NOTE`].
    pub note: String,
}

/// How far a node is that waits for what its peers hold. What is not known is none.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Loading {
    /// Since when, in milliseconds since the Unix epoch.
    pub started_at_ms: u64,
    /// Regions whose keys have not all arrived.
    pub awaited: Vec<String>,
    /// Links that are refused, and why.
    #[serde(default)]
    pub refused: Vec<String>,
    /// Keys that have.
    pub keys: u64,
    /// About how many there are, by what the fullest of the peers said, or by what is here if that is more.
    pub total_keys: Option<u64>,
    /// Rate over the last five seconds or so.
    pub keys_per_second: Option<f64>,
    /// How long the rest takes at that rate: an estimate.
    pub seconds_left: Option<f64>,
}

/// Memory of the process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// What the system counts as resident.
    pub resident_bytes: u64,
    /// What entries take: keys, values and their stamps.
    pub entry_bytes: u64,
}

/// Connections of clients.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Clients {
    /// Connected at this moment.
    pub connected: u64,
    /// Accepted since the start.
    pub accepted: u64,
    /// Refused since the start because `max_clients` were connected.
    pub refused: u64,
}

/// Commands of clients.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Commands {
    /// Rate over the last second or so.
    pub per_second: f64,
    /// Run since the start.
    pub total: u64,
}

/// What commands that read found since the start; each key of a command counts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lookups {
    /// Live values.
    pub hits: u64,
    /// Nothing.
    pub misses: u64,
}

/// The log of updates that peers read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UpdateLog {
    /// Memory in use.
    pub bytes: u64,
    /// Memory that it may use; beyond it the oldest updates are dropped, and a peer that still
    /// needed them is caught up by a sweep.
    pub limit_bytes: u64,
    /// Units that were forgotten at their limit: a sweep or a repair may bring their keys apart.
    #[serde(default)]
    pub dropped_units: u64,
}

/// Another process that claims the region of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Twin {
    /// When it started, in milliseconds since the Unix epoch.
    pub incarnation: u64,
    /// Where it dialled from.
    pub address: String,
    /// The region whose node refused it.
    pub refused_by: String,
}

/// The link to one other region.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Link {
    /// Name of the other region.
    pub region: String,
    /// Number of the other region.
    pub id: u8,
    /// Where its replication port is configured to be.
    pub address: String,
    /// Where the link stands.
    pub state: LinkState,
    /// Whether nothing has arrived for the better part of a second over a link that is up: it may be broken.
    #[serde(default)]
    pub silent: bool,
    /// Why it is refused or down, with the values of both sides; what is wrong although it is up.
    pub reason: Option<String>,
    /// Whether the other region has been away for so long that deletions are forgotten without it.
    #[serde(default)]
    pub released: bool,
    /// Smoothed round trip; none before the first measurement.
    pub rtt_ms: Option<f64>,
    /// How far the other region's clock is ahead of this one's, to half of what the ways there and back differ by;
    /// negative is behind. None before the first link; of the last one while there is none.
    #[serde(default)]
    pub clock_skew_ms: Option<f64>,
    /// Age of the oldest local update that the other region has not acknowledged; 0 when none.
    pub lag_ms: u64,
    /// Local updates that the other region has not acknowledged.
    pub lag_updates: u64,
    /// Sent and not yet acknowledged.
    pub in_flight_bytes: u64,
    /// Bytes on the wire towards the other region.
    pub sent: Flow,
    /// Bytes on the wire from the other region.
    pub received: Flow,
    /// Batches sent and received.
    pub batches: Batches,
    /// What became of updates.
    pub updates: Updates,
    /// What other regions than that one wrote and came over this link, since the start.
    #[serde(default)]
    pub relayed: Relayed,
    /// How the other region's updates arrive while the link is not up, or silent; none otherwise, and when they do not.
    #[serde(default)]
    pub via: Option<Via>,
    /// Whether the other region is being caught up by a sweep over all keys: its cursor fell off the
    /// log.
    pub sweeping: bool,
    /// Sweeps over all keys that were begun for the peer: its first link, a restart, a fall off the log.
    pub sweeps: u64,
    /// What comparisons with the peer have found.
    #[serde(default)]
    pub compared: Compared,
    /// Times that the link came up again after it was up.
    pub reconnects: u64,
    /// Impairment of what this node sends; none outside a rehearsal.
    pub emulation: Option<EmulatedLink>,
}

/// Where a link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// No connection yet; being tried.
    #[default]
    Connecting,
    /// Connected; the two sides compare cluster, wire version, lanes and clocks.
    Handshaking,
    /// Updates flow.
    Up,
    /// The two sides do not agree; see the reason.
    Refused,
    /// The connection was lost; being tried again.
    Down,
}

/// Bytes in one direction.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Flow {
    /// Rate over the last second or so.
    pub bytes_per_second: f64,
    /// Since the start.
    pub bytes: u64,
}

/// Batches over a link since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Batches {
    /// Sent, repetitions included.
    pub sent: u64,
    /// Received and applied.
    pub received: u64,
    /// Bytes of those that were sent, as they were built.
    pub sent_bytes: u64,
    /// The same as they were encoded: fewer with compression.
    pub sent_encoded_bytes: u64,
}

/// Updates over a link since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Updates {
    /// Sent.
    pub sent: u64,
    /// Not sent because a later update of the same key carried them.
    pub coalesced: u64,
    /// Records whose keys were sent without others that belong to them, because all were too much for one batch.
    pub split: u64,
    /// Received.
    pub received: u64,
    /// Received and changed an entry.
    pub applied: u64,
    /// Received and changed nothing: the entry was as new or newer.
    pub superseded: u64,
}

/// Updates that took a way around a broken link: they came with repairs, and their bytes are those of the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Relayed {
    /// How many.
    pub updates: u64,
    /// How large they were, before compression.
    pub bytes: u64,
}

/// The way around a link that is not up.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Via {
    /// Names of the regions over whose links the updates come.
    pub regions: Vec<String>,
    /// Everything that was written before this has arrived.
    pub behind_ms: u64,
    /// What has come that way since the start.
    pub relayed: Relayed,
}

/// What comparisons of the two regions have found since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Compared {
    /// Both regions held the same of everything that was written up to then, in milliseconds since the Unix epoch; none
    /// before the first such comparison.
    pub equal_as_of_ms: Option<u64>,
    /// Comparisons that ended.
    pub rounds: u64,
    /// Of them, those that found something missing on either side.
    pub different: u64,
    /// Entries that were found missing on either side.
    pub repaired: u64,
    /// Keys that repairs have changed here lately, the oldest first: a bounded number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<DifferingKey>,
}

/// A key that differed, and was repaired here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DifferingKey {
    /// When the other region's state arrived, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The key in quotes, as redis-cli shows it; the beginning of a long one, and its length.
    pub key: String,
    /// What was held here before; none for nothing.
    pub here: Option<HeldKey>,
    /// What the other region had.
    pub there: HeldKey,
}

/// What a region held of a key, without the value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HeldKey {
    /// When the value was written, or deleted, in milliseconds since the Unix epoch.
    pub written_at_ms: u64,
    /// How many stamps of the same millisecond come before.
    #[serde(default)]
    pub written_tick: u16,
    /// Number of the region that did; 0 is the passing of a deadline.
    pub by: u8,
    /// When anything of it changed last: value, deadline or count.
    pub changed_at_ms: u64,
    /// How many stamps of the same millisecond come before.
    #[serde(default)]
    pub changed_tick: u16,
    /// Number of the region that did; 0 is the passing of a deadline, or what an older node does not say.
    #[serde(default)]
    pub changed_by: u8,
    /// Whether it was deleted.
    pub deleted: bool,
    /// When it expires.
    pub deadline_ms: Option<u64>,
    /// Whether something was counted on it.
    pub counter: bool,
    /// What each region has counted on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<Count>,
}

/// What a region has counted on a key since its value was written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Count {
    /// Number of the region.
    pub by: u8,
    /// A decimal number.
    pub total: String,
}

/// Impairment of a link in a rehearsal.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EmulatedLink {
    /// Delay of every packet, one way.
    pub delay_ms: f64,
    /// Largest deviation from the delay.
    pub jitter_ms: f64,
    /// Share of packets lost, 0 to 100.
    pub loss_percent: f64,
    /// Rate of the link; none is unlimited.
    pub rate_bits_per_second: Option<u64>,
}

impl Status {
    /// Whether clients are served.
    pub fn is_ready(&self) -> bool {
        self.not_ready.is_empty()
    }

    /// The links over which nothing flows.
    pub fn links_not_up(&self) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(|link| link.state != LinkState::Up)
    }
}

impl Loading {
    /// How much of all keys has arrived, 0 to 100.
    pub fn percent(&self) -> Option<f64> {
        let total = self.total_keys.filter(|total| *total > 0)?;
        Some(self.keys as f64 / total as f64 * 100.0)
    }
}

impl Display for Loading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "loading: {}", self.keys)?;
        if let Some((total, percent)) = self.total_keys.zip(self.percent()) {
            write!(f, " of about {total} keys have arrived ({percent:.0} %)")?;
        } else {
            f.write_str(" keys have arrived")?;
        }
        if let Some(rate) = self.keys_per_second {
            write!(f, ", {rate:.0} a second")?;
        }
        if let Some(seconds) = self.seconds_left {
            write!(f, ", about {seconds:.0} s left")?;
        }
        write!(f, "; not all of {} yet", self.awaited.join(", "))?;
        let mut refused = self.refused.iter();
        refused.try_for_each(|refused| write!(f, "; link refused: {refused}"))
    }
}

impl LinkState {
    /// The word for people and for JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Handshaking => "handshaking",
            Self::Up => "up",
            Self::Refused => "refused",
            Self::Down => "down",
        }
    }
}
