//! Regions that are added and removed while nodes run, as the lives see them: a removal ends a life, and what follows it is a
//! later one whatever its clock says. What was left behind is a gap until all that is here was compared.

use super::{Lives, Peer};
use crate::{
    hlc::{Origin, Stamp},
    log::PeerIndex,
};

impl Lives {
    /// The next peer is the node of `origin`.
    pub(crate) fn add(&self, origin: Origin) {
        self.inner.lock().peers.push(Peer::unheard(origin));
    }

    /// `peer` begins anew: it was added at `since`, and wrote nothing before. Its region was removed so often.
    pub(crate) fn seat(&self, peer: PeerIndex, removals: u16, since: Stamp) {
        let peer = &mut self.inner.lock().peers[peer.0];
        let mut gap = peer.gap;
        if removals > peer.removals {
            gap.widen(peer.heard, since);
        }
        *peer = Peer {
            removals,
            heard: since,
            gap: gap.ended(since),
            ..Peer::unheard(peer.origin)
        };
    }

    /// The region of `peer` was removed for the time that `removals` says, which became known at `now`.
    pub(crate) fn unseat(&self, peer: PeerIndex, removals: u16, now: Stamp) {
        let mut inner = self.inner.lock();
        let peer = &mut inner.peers[peer.0];
        let mut gap = peer.gap;
        // Whoever has not heard of the removal still takes what it writes.
        gap.widen(peer.heard, Stamp(u64::MAX));
        *peer = Peer {
            removals,
            is_removed: true,
            gap,
            ..Peer::unheard(peer.origin)
        };
        inner.in_doubt_until = now;
    }
}
