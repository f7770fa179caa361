//! Looks at how long regions have been away, also while nobody says anything: what need not be remembered for them any more
//! is settled, and who is no longer waited for is told in the log.
//!
//! It does not know how long is too long, nor what may be forgotten then: that is [`greenwich_proto::lives`].

use std::{sync::Arc, time::Duration};

use greenwich_proto::{hlc::Stamp, log::PeerIndex, store::Store};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::{clock::wall, driver::Shared};

/// How often it looks. A horizon is at least as long.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long regions that are away are waited for before the dead are forgotten without them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HorizonLimits {
    /// For as long as this after something was heard of them last.
    pub absence: Duration,
    /// As long as what is remembered of the dead takes no more bytes. Beyond that those that were away for longest are
    /// released before their time.
    pub husk_bytes: u64,
}

impl HorizonLimits {
    /// Everybody is waited for, however long.
    pub const NONE: Self = Self {
        absence: Duration::MAX,
        husk_bytes: u64::MAX,
    };
}

/// Whoever looks at it.
pub(crate) struct Horizon<S> {
    shared: Arc<Shared<S>>,
    limits: HorizonLimits,
    ticks: Interval,
    /// Peers that were beyond it at the last look.
    released: Vec<PeerIndex>,
}

impl<S: Store> Horizon<S> {
    pub(crate) fn new(shared: Arc<Shared<S>>, limits: HorizonLimits) -> Self {
        let mut ticks = interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            shared,
            limits,
            ticks,
            released: Vec::new(),
        }
    }

    /// Resolves when the next look is due.
    pub(crate) async fn due(&mut self) {
        self.ticks.tick().await;
    }

    /// Settles what those that are waited for have heard.
    pub(crate) fn look(&mut self) {
        let shared = Arc::clone(&self.shared);
        let now = shared.log.clock().stamp(wall());
        self.press(now);
        shared.store.settle(shared.lives.settled(now));
        self.tell(shared.lives.released());
    }

    /// Has a region released before its time where the dead take too much.
    fn press(&mut self, now: Stamp) {
        let husk_bytes = self.shared.store.husk_bytes();
        if husk_bytes <= self.limits.husk_bytes {
            return;
        }
        let Some(peer) = self.shared.lives.press(now) else {
            return;
        };
        for region in self.regions(&[peer], &[]) {
            tracing::info!(
                peer = region,
                husk_bytes,
                horizon_bytes = self.limits.husk_bytes,
                "nobody waits for the region any more: what is remembered of deleted keys takes more than \
                 replication.horizon_bytes, and is forgotten without it"
            );
        }
        self.released.push(peer);
    }

    /// Says who has been released since the last look, and who is waited for again.
    fn tell(&mut self, released: Vec<PeerIndex>) {
        for region in self.regions(&released, &self.released) {
            tracing::info!(
                peer = region,
                horizon = ?self.limits.absence,
                "nobody waits for the region any more: nothing was heard of it for longer than replication.horizon, and what \
                 is deleted is forgotten without it"
            );
        }
        for region in self.regions(&self.released, &released) {
            tracing::info!(peer = region, "the region is waited for again");
        }
        self.released = released;
    }

    /// Regions of the peers that are among `these` and not among `those`, but for regions that were removed.
    fn regions(&self, these: &[PeerIndex], those: &[PeerIndex]) -> Vec<String> {
        let peers = these.iter().filter(|peer| !those.contains(peer));
        let seats = peers.filter_map(|&peer| self.shared.roster.seat(peer));
        seats
            .filter(|seat| seat.is_present)
            .map(|seat| seat.expected.region)
            .collect()
    }
}
