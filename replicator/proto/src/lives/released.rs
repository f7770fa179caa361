//! Regions that are away for longer than anybody waits for them. Without a horizon that is never.

use std::time::Duration;

use super::{Inner, Lives};
use crate::{hlc::Stamp, log::PeerIndex};

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

    /// Peers that are away for longer than anybody waits.
    #[must_use]
    pub fn released(&self) -> Vec<PeerIndex> {
        let inner = self.inner.lock();
        let released = inner.present().filter(|(_, peer)| peer.is_released);
        released.map(|(at, _)| at).collect()
    }
}

impl Inner {
    /// Releases peers that have been away for too long.
    pub(super) fn release(&mut self, now: Stamp) {
        let since = *self.horizon.since.get_or_insert(now);
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

    /// A peer is heard of again. What is claimed here includes what was heard of it, and no more.
    pub(super) fn take_back(&mut self, peer: usize) {
        self.peers[peer].is_released = false;
    }
}
