//! What a node waits for before it serves clients.

use super::{Lives, Peer};
use crate::{log::PeerIndex, time::Time};

/// What a node that has just started still waits for, before it serves clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loading {
    /// Peers whose keys have not all arrived.
    pub awaited: Vec<PeerIndex>,
}

impl Lives {
    /// Peers from which nothing was ever received whole.
    #[must_use]
    pub fn missing(&self) -> Vec<PeerIndex> {
        let inner = self.inner.lock();
        let missing = inner.present().filter(|(_, peer)| peer.received.is_none());
        missing.map(|(at, _)| at).collect()
    }

    /// What this node waits for before it serves clients: until it holds what its peers held when it started, or, of those
    /// that cannot be reached, for a limited time. `None` from then on. If it agrees with nobody whom it reaches, it is more
    /// likely than they to be wrong, and waits.
    #[must_use]
    pub fn loading(&self, now: Time) -> Option<Loading> {
        let mut inner = self.inner.lock();
        if inner.has_loaded {
            return None;
        }
        let is_patient = now < self.patience_ends;
        let agrees = |(_, peer): (PeerIndex, &Peer)| peer.is_linked || peer.received.is_some();
        let is_alone = !inner.present().any(agrees);
        let is_reached =
            |peer: &Peer| peer.is_linked || peer.turned_away || (is_alone && peer.is_refused);
        let is_awaited = |peer: &Peer| peer.received.is_none() && (is_reached(peer) || is_patient);
        let awaited = inner.present().filter(|(_, peer)| is_awaited(peer));
        let awaited: Vec<PeerIndex> = awaited.map(|(at, _)| at).collect();
        inner.has_loaded = awaited.is_empty();
        (!awaited.is_empty()).then_some(Loading { awaited })
    }
}
