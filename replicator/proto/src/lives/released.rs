//! Regions that are away for longer than anybody waits for them. Without a horizon, which nodes do not set, that is never.

use std::time::Duration;

use super::{Gap, Inner, Lives, Peer};
use crate::{
    hlc::{Origin, Stamp},
    settled::Settled,
};

/// How long a region may be away before it is released.
#[derive(Debug)]
pub(super) struct Horizon {
    limit: Duration,
    /// The first time that anybody looked.
    since: Option<Stamp>,
}

impl Default for Horizon {
    fn default() -> Self {
        Self {
            limit: Duration::MAX,
            since: None,
        }
    }
}

impl Lives {
    /// Regions are waited for as long as this.
    #[must_use]
    pub fn with_horizon(self, limit: Duration) -> Self {
        self.inner.lock().horizon.limit = limit;
        self
    }
}

impl Inner {
    /// Releases peers that have been away for too long.
    pub(super) fn release(&mut self, now: Stamp) {
        let since = *self.horizon.since.get_or_insert_with(|| {
            self.gap.agree(Gap::before(now));
            now
        });
        for at in 0..self.peers.len() {
            let peer = &self.peers[at];
            let away = now.wall() - peer.heard.max(since).wall();
            if away > self.horizon.limit && peer.is_awaited() && !peer.is_linked {
                self.peers[at].is_released = true;
                // What one region alone has heard of it, all must hold before anybody forgets.
                self.in_doubt_until = now;
                self.doubt_all_but(at);
            }
        }
    }

    /// What every region holds that is waited for. Of those that are away, what was heard counts; of lives that are over,
    /// one that is away may have received more than anybody here.
    pub(super) fn settled_up_to(&self, stamp: Stamp, own: Origin) -> Settled {
        let settled = Settled::up_to(stamp);
        let peers = || self.present().map(|(_, peer)| peer);
        if peers().all(|peer| !peer.is_released) {
            return settled;
        }
        let is_behind = |peer: &&Peer| peer.is_released && peer.heard < stamp;
        let since_heard = |peer: &Peer| (peer.origin, (peer.heard, Stamp(u64::MAX)));
        let gap = |peer: &Peer| Some((peer.origin, peer.gap.bounds()?));
        let own_gap = self.gap.bounds().map(|bounds| (own, bounds));
        peers()
            .filter(is_behind)
            .map(since_heard)
            .chain(peers().filter_map(gap))
            .chain(own_gap)
            .fold(settled, |settled, (origin, between)| {
                settled.but_for(origin, between)
            })
    }

    /// Nothing is missing here of what ended lives left behind, wherever that was.
    pub(super) fn close_gaps(&mut self) {
        self.gap = Gap::CLOSED;
        for peer in &mut self.peers {
            peer.gap = Gap::CLOSED;
        }
    }

    /// There is a link to a peer again. If it had been released, it may hold what was forgotten meanwhile, and have forgotten
    /// what is held here: what is claimed here is what was heard of it, until both are found to hold the same.
    pub(super) fn welcome(&mut self, peer: usize, now: Stamp) {
        if std::mem::take(&mut self.peers[peer].is_released) {
            self.doubt(peer);
            self.claim(now);
        }
    }

    /// A peer is heard of again, through others that hold the same as this node.
    pub(super) fn take_back(&mut self, peer: usize) {
        self.peers[peer].is_released = false;
    }
}
