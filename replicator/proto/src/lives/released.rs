//! Regions that are away for longer than anybody waits for them. Without a horizon that is never.

use std::time::Duration;

use super::{Gap, Inner, Lives, Peer};
use crate::{
    hlc::{Origin, Stamp},
    log::PeerIndex,
    settled::Settled,
};

/// A region that is away for less than this is not released before its time, whatever is remembered for it. It is also how
/// long is waited for what that frees before another one is: the others have to compare what they hold first.
const PRESSED_ABSENCE: Duration = Duration::from_secs(10);

/// How long a region may be away before it is released.
#[derive(Debug)]
pub(super) struct Horizon {
    limit: Duration,
    /// The first time that anybody looked.
    since: Option<Stamp>,
    /// The last time that a region was released before its time.
    pressed: Option<Stamp>,
}

impl Default for Horizon {
    fn default() -> Self {
        Self {
            limit: Duration::MAX,
            since: None,
            pressed: None,
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

    /// Memory is short: of the regions that are away, releases the one that has been for longest before its time. One at a
    /// time, none that is not away for [`PRESSED_ABSENCE`]. Returns which.
    pub fn press(&self, now: Stamp) -> Option<PeerIndex> {
        let mut inner = self.inner.lock();
        let is_soon = |at: Stamp| now.wall() - at.wall() < PRESSED_ABSENCE;
        if inner.horizon.pressed.is_some_and(is_soon) {
            return None;
        }
        let away = inner.away(now);
        let (absence, longest) = away.max_by_key(|&(absence, _)| absence)?;
        if absence < PRESSED_ABSENCE {
            return None;
        }
        inner.horizon.pressed = Some(now);
        inner.release(longest, now);
        Some(longest)
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
    /// Peers that are waited for although they have no link, and for how long nothing has been heard of each.
    fn away(&mut self, now: Stamp) -> impl Iterator<Item = (Duration, PeerIndex)> {
        let since = *self.horizon.since.get_or_insert_with(|| {
            self.gap.agree(Gap::before(now));
            now
        });
        let away = self.awaited().filter(|(_, peer)| !peer.is_linked);
        away.map(move |(at, peer)| (now.wall() - peer.heard.max(since).wall(), at))
    }

    /// Releases peers that have been away for too long.
    pub(super) fn release_beyond(&mut self, now: Stamp) {
        let limit = self.horizon.limit;
        let away = self.away(now).filter(|(absence, _)| *absence > limit);
        let beyond: Vec<_> = away.map(|(_, peer)| peer).collect();
        for peer in beyond {
            self.release(peer, now);
        }
    }

    fn release(&mut self, peer: PeerIndex, now: Stamp) {
        let released = &mut self.peers[peer.0];
        (released.is_released, released.was_released) = (true, true);
        // What one region alone has heard of it, all must hold before anybody forgets.
        self.in_doubt_until = now;
        self.doubt_all_but(peer.0);
    }

    /// What every region holds that is waited for. Of those that are away, what was heard counts; of lives that are over,
    /// those of regions that were removed included, one that is away may have received more than anybody here. Before anybody
    /// has told which regions there are, all that others wrote is news.
    pub(super) fn settled_up_to(&self, stamp: Stamp, own: Origin) -> Settled {
        let settled = Settled::up_to(stamp);
        let peers = || self.present().map(|(_, peer)| peer);
        if peers().all(|peer| !peer.is_released) {
            return match self.ended.as_of() <= stamp {
                true => settled.with_ended(self.ended.clone()),
                false => settled,
            };
        }
        let is_behind = |peer: &&Peer| peer.is_released && peer.heard < stamp;
        let since_heard = |peer: &Peer| (peer.origin, (peer.heard, Stamp(u64::MAX)));
        let gap = |peer: &Peer| Some((peer.origin, peer.gap.bounds()?));
        let own_gap = self.gap.bounds().map(|bounds| (own, bounds));
        peers()
            .filter(is_behind)
            .map(since_heard)
            .chain(self.peers.iter().filter_map(gap))
            .chain(own_gap)
            .chain(self.unknown(own))
            .fold(settled, |settled, (origin, between)| {
                settled.but_for(origin, between)
            })
    }

    /// Regions of which this node may not have been told.
    fn unknown(&self, own: Origin) -> impl Iterator<Item = (Origin, (Stamp, Stamp))> {
        let is_known =
            move |origin| origin == own || self.peers.iter().any(|peer| peer.origin == origin);
        let all = (1..=Origin::MAX).map(Origin);
        all.filter(move |origin| !self.knows_regions && !is_known(*origin))
            .map(|origin| (origin, (Stamp::ZERO, Stamp(u64::MAX))))
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
            // What was written since the last epoch is in no comparison yet.
            self.in_doubt_until = now;
            self.doubt(peer);
            self.claim(now);
        }
    }

    /// A peer is heard of again, through others that hold the same as this node.
    pub(super) fn take_back(&mut self, peer: usize) {
        self.peers[peer].is_released = false;
    }
}
