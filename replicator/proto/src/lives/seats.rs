//! Regions that are added and removed while nodes run, as the lives see them: a removal ends a life, and what follows it is a
//! later one whatever its clock says. What was left behind is a gap until all that is here was compared.

use super::{Ended, Lives, Peer};
use crate::{
    hlc::{Origin, Stamp},
    log::PeerIndex,
};

impl Lives {
    /// The next peer is the node of `origin`.
    pub(crate) fn add(&self, origin: Origin) {
        self.inner.lock().peers.push(Peer::unheard(origin));
    }

    /// A peer has said which regions there are, or is of a release that can say nothing of it.
    pub(crate) fn learn_regions(&self) {
        self.inner.lock().knows_regions = true;
    }

    /// Whether a peer has said so, or none could be reached for as long as this node waited.
    #[must_use]
    pub fn is_informed(&self) -> bool {
        let inner = self.inner.lock();
        inner.knows_regions || inner.has_loaded
    }

    /// `peer` begins anew: it was added at `since`, and wrote nothing before. Its region was removed so often, which became
    /// known at `now`. Returns whether it does: a link with a node that began since may have been quicker than the news that
    /// its region was removed, and added again.
    pub(crate) fn seat(&self, peer: PeerIndex, removals: u16, since: Stamp, now: Stamp) -> bool {
        let mut inner = self.inner.lock();
        inner.ended = Ended::NONE;
        let peer = &mut inner.peers[peer.0];
        if peer.incarnation > 0 && peer.incarnation >= since.wall().0 {
            peer.removals = removals;
            return false;
        }
        let mut gap = peer.gap;
        // Until now, what a node wrote was taken in that did not belong to the cluster.
        let was_taken_in = removals > peer.removals;
        if was_taken_in {
            gap.widen(peer.heard, since);
        }
        *peer = Peer {
            removals,
            heard: since,
            gap: gap.ended(since),
            ..Peer::unheard(peer.origin)
        };
        if was_taken_in {
            inner.in_doubt_until = now;
        }
        true
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
        inner.ended = Ended::NONE;
    }
}
