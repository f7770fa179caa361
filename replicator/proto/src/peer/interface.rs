//! What a session is given, what it asks for, and what it looks like from outside.

use std::time::Duration;

use parking_lot::Mutex;

use super::{
    Builder, Compares, Difference, ReceiveStats, Relayed, SendStats, WindowLimits,
    handshake::{Identity, TurnedAway},
};
use crate::{hlc::Origin, lives::Lives, log::Log, roster::Roster};

/// Limits and intervals of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// About how large a batch gets, in bytes. A single larger entry travels alone.
    pub batch_bytes: usize,
    /// How long after a batch the next one is sent, so that updates have company. An idle link sends at once.
    pub flush_interval: Duration,
    /// Bounds of what is in flight.
    pub window: WindowLimits,
    /// How long an acknowledgement waits for company.
    pub ack_delay: Duration,
    /// How often a node says how far time has come.
    pub watermark_interval: Duration,
    /// How long a new link may stay without a hello.
    pub hello_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_bytes: 64 * 1024,
            flush_interval: Duration::from_micros(750),
            window: WindowLimits {
                min_bytes: 1024 * 1024,
                max_bytes: 64 * 1024 * 1024,
            },
            ack_delay: Duration::from_millis(5),
            watermark_interval: Duration::from_millis(250),
            hello_timeout: Duration::from_secs(5),
        }
    }
}

/// What all sessions of a node share.
#[derive(Debug)]
pub struct Node<'a, S> {
    /// Who we are.
    pub identity: &'a Identity,
    /// Our writes.
    pub log: &'a Log,
    /// Our keyspace.
    pub store: &'a S,
    /// Who has lived, and what every region holds.
    pub lives: &'a Lives,
    /// Which regions there are.
    pub roster: &'a Roster,
    /// Builds batches for all of them.
    pub builder: &'a Mutex<Builder>,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A link is up; nothing was said on it yet.
    Connected,
    /// A control frame arrived.
    Control(&'a [u8]),
    /// A batch arrived.
    Batch(&'a [u8]),
    /// The link is gone.
    Disconnected,
    /// Time passed, or the log was appended to.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a control frame.
    Control(Vec<u8>),
    /// Send a batch on a stream of its own.
    Batch(Vec<u8>),
    /// Both sides agree upon the link: updates flow.
    Established,
    /// Close the link and wait before dialing again.
    Close(TurnedAway),
}

/// What a [`Peer`](super::Peer) asks for, in order.
pub type Outbox = Vec<Output>;

/// Where a session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// No link.
    Down,
    /// A link without an agreement yet.
    Handshaking,
    /// Updates flow.
    Up,
    /// The last link was refused, by us or by the peer; the text says why.
    Refused(String),
}

/// What a session looks like from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Where it stands.
    pub state: State,
    /// Whether nothing has arrived of late over a link that is up: nobody waits for what the peer writes.
    pub is_silent: bool,
    /// Start of the peer's process in milliseconds since the Unix epoch; zero before the first hello.
    pub incarnation: u64,
    /// Records that the peer has not acknowledged.
    pub lag_updates: u64,
    /// Age of the oldest of them, in milliseconds.
    pub lag_ms: u64,
    /// Bytes of unacknowledged batches.
    pub in_flight_bytes: u64,
    /// How many there may be.
    pub window_bytes: u64,
    /// Whether a sweep over the keyspace is under way.
    pub is_sweeping: bool,
    /// What comparisons with the peer have found.
    pub compares: Compares,
    /// The keys that repairs have changed here lately, the oldest first; at most
    /// [`DIFFERENCES_MAX`](super::DIFFERENCES_MAX).
    pub differences: Vec<Difference>,
    /// Times that the session was established.
    pub connects: u64,
    /// How far the peer's clock was ahead of ours when its word arrived, in milliseconds: its lead, less the time that the
    /// word took. Negative is behind; of the last link when there is none.
    pub clock_lead_ms: Option<i64>,
    /// What came over the link that other regions than the peer wrote, by region.
    pub relayed: Vec<(Origin, Relayed)>,
    /// Counters of the sending half.
    pub sent: SendStats,
    /// Counters of the receiving half.
    pub received: ReceiveStats,
}
