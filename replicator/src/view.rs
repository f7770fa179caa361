//! What the driver of a peer shows of its link to the rest of the node. It decides nothing.

use greenwich_proto::{
    log::{Log, PeerIndex},
    peer::{Peer, Report, handshake::Expected},
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{clock::wall, link::LinkStats};

/// What a driver shows of its link.
#[derive(Clone, Debug, Default)]
pub struct LinkView {
    /// Whether there is a QUIC connection.
    pub is_connected: bool,
    /// Whether the peer agreed to the present link, or since [`crate::Replicator::was_heard`] last asked to another.
    pub is_heard: bool,
    /// Whether the peer, or this node, turned the last connection away.
    pub is_refused: bool,
    /// Whether the peer said that this node's region was removed from the cluster.
    pub is_removed: bool,
    /// Why there is no connection, or none that is agreed upon.
    pub reason: Option<String>,
    /// What an operator should know of a link that is up.
    pub warning: Option<String>,
    /// How the link fares; of the last one when there is none.
    pub stats: LinkStats,
    /// UDP payload of earlier links, sent and received.
    pub past_bytes: (u64, u64),
    /// Batches sent over earlier links, as they were built and as they were encoded.
    pub past_batch_bytes: (u64, u64),
}

impl LinkView {
    /// The connection is gone: what it counted is of the past.
    pub(crate) fn disconnect(&mut self) {
        (self.is_connected, self.warning) = (false, None);
        let stats = &mut self.stats;
        self.past_bytes.0 += std::mem::take(&mut stats.sent_bytes);
        self.past_bytes.1 += std::mem::take(&mut stats.received_bytes);
        self.past_batch_bytes.0 += std::mem::take(&mut stats.batch_bytes);
        self.past_batch_bytes.1 += std::mem::take(&mut stats.encoded_batch_bytes);
    }
}

/// What a driver and the rest of the node share.
pub(crate) struct PeerCell {
    pub(crate) index: PeerIndex,
    pub(crate) expected: Expected,
    pub(crate) peer: Mutex<Peer>,
    pub(crate) view: Mutex<LinkView>,
    /// The log was appended to.
    pub(crate) appended: Notify,
}

impl PeerCell {
    pub(crate) fn report(&self, log: &Log) -> Report {
        self.peer.lock().report(log, wall())
    }
}
