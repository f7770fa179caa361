//! Regions that are away for longer than anybody waits for them.

use std::time::Duration;

use super::{Inner, Lives};
use crate::{hlc::Stamp, log::PeerIndex};

/// A link that was lost is waited for so long at least, whatever it costs.
const AWAY_MIN: Duration = Duration::from_secs(10);

/// How long a region may be away before it is released.
#[derive(Debug)]
pub(super) struct Horizon {
    limit: Duration,
    /// What is kept because of it takes more memory than it may.
    is_pressed: bool,
    /// The first time that anybody looked.
    since: Option<Stamp>,
}

impl Default for Horizon {
    fn default() -> Self {
        Self {
            limit: Duration::MAX,
            is_pressed: false,
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

    /// Whether what is kept for regions that are away takes more memory than it may: then they are released, if they have
    /// been away for more than a few seconds.
    pub fn press(&self, is_pressed: bool) {
        self.inner.lock().horizon.is_pressed = is_pressed;
    }

    /// Peers that nobody waits for, because they have been away for too long.
    #[must_use]
    pub fn released(&self) -> Vec<PeerIndex> {
        let inner = self.inner.lock();
        let is_released = |&at: &usize| inner.peers[at].is_released;
        let released = (0..inner.peers.len()).filter(is_released);
        released.map(PeerIndex).collect()
    }

    /// Whether this node was away for longer than peers have waited, and may still hold what they have forgotten.
    #[must_use]
    pub fn is_catching_up(&self) -> bool {
        let inner = self.inner.lock();
        let behind = |peer: &super::Peer| peer.is_linked && peer.settled > inner.held;
        inner.held > Stamp::ZERO && inner.peers.iter().any(behind)
    }
}

impl Inner {
    /// Releases peers that have been away for too long.
    pub(super) fn release(&mut self, now: Stamp) {
        let since = *self.horizon.since.get_or_insert(now);
        for at in 0..self.peers.len() {
            let peer = &self.peers[at];
            let away = now.wall() - peer.heard.max(since).wall();
            let is_too_long =
                away > self.horizon.limit || (self.horizon.is_pressed && away > AWAY_MIN);
            if is_too_long && !peer.is_linked && !peer.is_released {
                self.peers[at].is_released = true;
                // What one region alone has heard of it, all must hold before anybody forgets.
                self.in_doubt_until = now;
                self.doubt_all_but(at);
            }
        }
    }

    /// A peer is heard of again. What is claimed here includes what was heard of it, and no more.
    pub(super) fn take_back(&mut self, peer: usize) {
        self.peers[peer].is_released = false;
    }
}
