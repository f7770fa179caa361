//! Looks at how long regions have been away, also while nobody says anything: what need not be remembered for them any more
//! is settled, and who is no longer waited for is told in the log.
//!
//! It does not know how long is too long, nor what may be forgotten then: that is [`greenwich_proto::lives`].

use std::{sync::Arc, time::Duration};

use greenwich_proto::{log::PeerIndex, store::Store};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::{clock::wall, driver::Shared};

/// How often it looks. A horizon is at least as long.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Whoever looks at it.
pub(crate) struct Horizon<S> {
    shared: Arc<Shared<S>>,
    limit: Duration,
    ticks: Interval,
    /// Peers that were beyond it at the last look.
    released: Vec<PeerIndex>,
}

impl<S: Store> Horizon<S> {
    pub(crate) fn new(shared: Arc<Shared<S>>, limit: Duration) -> Self {
        let mut ticks = interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            shared,
            limit,
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
        let Shared {
            log, store, lives, ..
        } = &*self.shared;
        store.settle(lives.settled(log.clock().stamp(wall())));
        let released = lives.released();
        for region in self.regions(&released, &self.released) {
            tracing::info!(
                peer = region,
                horizon = ?self.limit,
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
