//! The lives of the cluster's nodes: which are over, what each region is known to hold, and what may be forgotten.
//!
//! A node keeps no keys on disk. Each start is a *life* of its region, with an incarnation of its own; the next one begins
//! empty. What a life wrote before it ended may have reached some regions and not others, and nobody will send it again.
//!
//! # When may the dead be forgotten?
//!
//! A deletion may be forgotten when no region can ever hear of what it deleted for the first time: when every region
//! *holds* everything up to its stamp. A region claims so in its [`Watermark`], under two conditions:
//!
//! - *delivered*: everything that the present life of every region wrote up to that stamp has been applied here. A
//!   peer's word counts only once everything that it wrote before saying it is here, so an increment made in ignorance
//!   of a deletion is applied before that deletion is forgotten.
//! - *whole*: nothing is missing of what earlier lives left behind. Whoever hears of a new life stops raising its claim
//!   until it has received, from each other region, what that region held *after* it had heard of the same lives, or has
//!   found that both hold the same: then whatever any life left behind anywhere is here.
//!
//! ```text
//!  us-east ✝ ── half of its last writes reached eu-west, none ap-south
//!  us-east'   hello ──▶ eu-west, ap-south: not whole, claims stand still, so nobody forgets anything
//!             ap-south and eu-west compare what they hold, both knowing us-east': the rest is found ──▶ whole, claims rise
//! ```
//!
//! A claim belongs to a life: a region that starts again claims nothing until it is whole. Because a new life is heard of
//! before anything else is heard from it, no region takes an empty node's word for that of the full one before it.
//!
//! A region that was removed is one that has a new life of which nothing will be heard: what it left behind is found in
//! the same way, and nobody waits for it. One that is added claims nothing, so nothing more is forgotten until it is whole.
//!
//! This module knows stamps and incarnations; it does not know keys, or how a transfer travels.

use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{
    entry::totals::Actor,
    fingerprint::end_of,
    hlc::{Origin, Stamp},
    log::PeerIndex,
    time::Time,
    wire::control::{Standing, Watermark},
};

/// An incarnation is a time in milliseconds: the year 10889 is the last that fits. Above it stands how often the region was
/// removed.
const INCARNATION_BITS: u32 = 48;

/// Lives that a node has heard of: the newest of each region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Known(Vec<(u8, u64)>);

impl Known {
    /// The incarnation of a region; zero when nothing was heard of it.
    #[must_use]
    pub fn of(&self, origin: Origin) -> u64 {
        let of = |(id, incarnation): &(u8, u64)| (*id == origin.0).then_some(*incarnation);
        self.0.iter().find_map(of).unwrap_or(0)
    }
}

impl FromIterator<Actor> for Known {
    fn from_iter<I: IntoIterator<Item = Actor>>(lives: I) -> Self {
        let pair = |life: Actor| (life.origin.0, life.incarnation);
        Self(lives.into_iter().map(pair).collect())
    }
}

/// What is known of one peer's present life.
#[derive(Debug)]
struct Peer {
    origin: Origin,
    /// How often its region was removed: what it did before is of earlier lives.
    removals: u16,
    /// Whether it is removed at present, and waited for by nobody.
    is_removed: bool,
    /// Zero when none was heard of.
    incarnation: u64,
    is_linked: bool,
    /// Whether it refuses this node, and serves in its place or without it.
    turned_away: bool,
    /// Everything that it wrote up to here has been applied here.
    delivered: Stamp,
    /// What this life claims to hold.
    holds: Stamp,
    /// The lives that it knew when the last transfer began that arrived whole.
    received: Option<Received>,
}

/// What a transfer from a peer has brought.
#[derive(Debug)]
enum Received {
    /// Everything that the peer held when it knew these lives.
    With(Known),
    /// All that a release before transfers were told of can bring.
    AllItCan,
}

impl Received {
    fn includes(&self, origin: Origin, incarnation: u64) -> bool {
        match self {
            Self::With(known) => known.of(origin) >= incarnation,
            Self::AllItCan => true,
        }
    }
}

#[derive(Debug)]
struct Inner {
    peers: Vec<Peer>,
    /// What this node claims to hold.
    held: Stamp,
    /// What is held here was in doubt until then: a life was heard of, or a peer's repair brought something.
    in_doubt_until: Stamp,
    /// Once served, always served.
    has_loaded: bool,
}

/// The lives that a node has heard of, its own included.
#[derive(Debug)]
pub struct Lives {
    own: Actor,
    /// Peers that cannot be reached are waited for until then.
    patience_ends: Time,
    inner: Mutex<Inner>,
}

/// What a node that has just started still waits for, before it serves clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loading {
    /// Peers whose keys have not all arrived.
    pub awaited: Vec<PeerIndex>,
}

impl Lives {
    /// A life that begins at `now` and has heard of no other. Peers without a link are waited for as long as `patience`.
    #[must_use]
    pub fn new(
        own: Actor,
        peers: impl IntoIterator<Item = Origin>,
        now: Time,
        patience: Duration,
    ) -> Self {
        Self {
            own,
            patience_ends: now + patience,
            inner: Mutex::new(Inner {
                peers: peers.into_iter().map(Peer::unheard).collect(),
                held: Stamp::ZERO,
                in_doubt_until: Stamp::ZERO,
                has_loaded: false,
            }),
        }
    }

    /// The next peer is the node of `origin`.
    pub(crate) fn add(&self, origin: Origin) {
        self.inner.lock().peers.push(Peer::unheard(origin));
    }

    /// `peer` begins anew: its region was removed so often, and is still if that became known at `removed`.
    pub(crate) fn seat(&self, peer: PeerIndex, removals: u16, removed: Option<Stamp>) {
        let mut inner = self.inner.lock();
        let peer = &mut inner.peers[peer.0];
        *peer = Peer {
            removals,
            is_removed: removed.is_some(),
            ..Peer::unheard(peer.origin)
        };
        inner.in_doubt_until = removed.unwrap_or(inner.in_doubt_until);
    }

    /// Whether `peer` turned this node away: it can be reached, and holds what is not here.
    pub fn turn_away(&self, peer: PeerIndex, is_turned_away: bool) {
        self.inner.lock().peers[peer.0].turned_away = is_turned_away;
    }

    /// The newest life of every region that was heard of.
    #[must_use]
    pub fn known(&self) -> Known {
        let inner = self.inner.lock();
        let heard = inner.peers.iter().map(Peer::life);
        heard
            .filter(|life| life.incarnation > 0)
            .chain([self.own])
            .collect()
    }

    /// A link to `peer` was agreed upon at `now`, which is in its `incarnation`.
    pub(crate) fn meet(&self, peer: PeerIndex, incarnation: u64, now: Stamp) {
        let mut inner = self.inner.lock();
        let peer = &mut inner.peers[peer.0];
        (peer.is_linked, peer.turned_away) = (true, false);
        if incarnation > peer.incarnation {
            peer.incarnation = incarnation;
            peer.holds = Stamp::ZERO;
            inner.in_doubt_until = now;
        }
    }

    /// At `now`, a repair from `peer` has brought something that was missing here. What other peers hold was compared
    /// without it, and has to be compared anew.
    pub(crate) fn doubt(&self, peer: PeerIndex, now: Stamp) {
        let mut inner = self.inner.lock();
        inner.in_doubt_until = now;
        for (at, other) in inner.peers.iter_mut().enumerate() {
            if at != peer.0 && matches!(other.received, Some(Received::With(_))) {
                other.received = Some(Received::With(Known::default()));
            }
        }
    }

    /// `peer` held the same as this node at the end of `epoch`, and stands where it says: if neither side has been in doubt
    /// since, nothing is missing here of what it holds.
    pub(crate) fn prove(&self, peer: PeerIndex, epoch: u64, theirs: Standing) {
        let in_doubt_until = theirs.in_doubt_until.max(self.in_doubt_until());
        if end_of(epoch) > in_doubt_until {
            self.receive(peer, theirs.known);
        }
    }

    /// Until when what is held here was in doubt: an epoch that ended before proves nothing.
    pub(crate) fn in_doubt_until(&self) -> Stamp {
        self.inner.lock().in_doubt_until
    }

    /// Everything that peers with a link wrote up to here is here, where nothing later than `now` was written here.
    pub(crate) fn heard(&self, now: Stamp) -> Stamp {
        let inner = self.inner.lock();
        let linked = inner.peers.iter().filter(|peer| peer.is_linked);
        linked.map(|peer| peer.delivered).fold(now, Stamp::min)
    }

    /// The link to `peer` is gone.
    pub(crate) fn part(&self, peer: PeerIndex) {
        self.inner.lock().peers[peer.0].is_linked = false;
    }

    /// Everything that `peer` wrote before it sent `watermark` has been applied.
    pub(crate) fn accept(&self, peer: PeerIndex, watermark: &Watermark) {
        let peer = &mut self.inner.lock().peers[peer.0];
        peer.delivered = peer.delivered.max(watermark.stamp);
        peer.holds = peer.holds.max(watermark.holds);
    }

    /// Everything that `peer` held when it knew these lives is here: it was sent, or it was compared and is the same.
    pub(crate) fn receive(&self, peer: PeerIndex, known: Known) {
        self.inner.lock().peers[peer.0].received = Some(Received::With(known));
    }

    /// As [`Self::receive`], from a peer of a release that does not say which lives it knows.
    pub(crate) fn receive_what_it_can(&self, peer: PeerIndex) {
        self.inner.lock().peers[peer.0].received = Some(Received::AllItCan);
    }

    /// Whether to ask `peer` for everything that it holds: nothing has come from it since the start. What is missing later
    /// is found by comparison.
    #[must_use]
    pub(crate) fn wants(&self, peer: PeerIndex) -> bool {
        self.inner.lock().peers[peer.0].received.is_none()
    }

    /// This node holds everything of every region up to here, where nothing later than `now` was written here.
    pub(crate) fn holds(&self, now: Stamp) -> Stamp {
        self.inner.lock().claim(now)
    }

    /// Every region holds everything up to here.
    pub(crate) fn settled(&self, now: Stamp) -> Stamp {
        let mut inner = self.inner.lock();
        let held = inner.claim(now);
        let present = inner.present();
        present.map(|(_, peer)| peer.holds).fold(held, Stamp::min)
    }

    /// Peers from which nothing was ever received whole.
    #[must_use]
    pub fn missing(&self) -> Vec<PeerIndex> {
        let inner = self.inner.lock();
        let missing = inner.present().filter(|(_, peer)| peer.received.is_none());
        missing.map(|(at, _)| at).collect()
    }

    /// What this node waits for before it serves clients: until it holds what its peers held when it started, or, of those
    /// that cannot be reached, for a limited time. `None` from then on.
    #[must_use]
    pub fn loading(&self, now: Time) -> Option<Loading> {
        let mut inner = self.inner.lock();
        if inner.has_loaded {
            return None;
        }
        let is_patient = now < self.patience_ends;
        let is_reached = |peer: &Peer| peer.is_linked || peer.turned_away;
        let is_awaited = |peer: &Peer| peer.received.is_none() && (is_reached(peer) || is_patient);
        let awaited = inner.present().filter(|(_, peer)| is_awaited(peer));
        let awaited: Vec<PeerIndex> = awaited.map(|(at, _)| at).collect();
        inner.has_loaded = awaited.is_empty();
        (!awaited.is_empty()).then_some(Loading { awaited })
    }
}

impl Peer {
    fn unheard(origin: Origin) -> Self {
        Self {
            origin,
            removals: 0,
            is_removed: false,
            incarnation: 0,
            is_linked: false,
            turned_away: false,
            delivered: Stamp::ZERO,
            holds: Stamp::ZERO,
            received: None,
        }
    }

    /// A removal is followed by later lives only, whatever their clocks said.
    fn life(&self) -> Actor {
        Actor {
            origin: self.origin,
            incarnation: u64::from(self.removals) << INCARNATION_BITS | self.incarnation,
        }
    }
}

impl Inner {
    /// Peers whose regions belong to the cluster.
    fn present(&self) -> impl Iterator<Item = (PeerIndex, &Peer)> {
        let peers = self.peers.iter().enumerate();
        let present = peers.filter(|(_, peer)| !peer.is_removed);
        present.map(|(at, peer)| (PeerIndex(at), peer))
    }

    fn others(&self, peer: PeerIndex) -> impl Iterator<Item = &Peer> {
        let is_other = move |(at, _): &(usize, &Peer)| *at != peer.0;
        self.peers
            .iter()
            .enumerate()
            .filter(is_other)
            .map(|(_, other)| other)
    }

    /// Whether `peer` may hold what earlier lives left behind and this node has not received.
    fn lacks(&self, peer: PeerIndex) -> bool {
        let Some(received) = &self.peers[peer.0].received else {
            return true;
        };
        self.others(peer)
            .map(Peer::life)
            .any(|life| !received.includes(life.origin, life.incarnation))
    }

    fn is_whole(&self) -> bool {
        self.present()
            .all(|(at, peer)| peer.incarnation > 0 && !self.lacks(at))
    }

    /// Raises the claim while nothing is missing.
    fn claim(&mut self, now: Stamp) -> Stamp {
        if self.is_whole() {
            let delivered = self.present().map(|(_, peer)| peer.delivered);
            self.held = self.held.max(delivered.fold(now, Stamp::min));
        }
        self.held
    }
}

#[cfg(test)]
mod membership;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LANES;

    pub(super) const EU: PeerIndex = PeerIndex(0);
    pub(super) const AP: PeerIndex = PeerIndex(1);
    pub(super) const NOW: Stamp = Stamp(1_000);

    /// us-east, whose peers are eu-west and ap-south.
    pub(super) fn us() -> Lives {
        let own = Actor {
            origin: Origin(1),
            incarnation: 10,
        };
        Lives::new(
            own,
            [Origin(2), Origin(3)],
            Time(0),
            Duration::from_secs(10),
        )
    }

    pub(super) fn known(lives: [u64; 3]) -> Known {
        let life = |(at, incarnation)| Actor {
            origin: Origin(at),
            incarnation,
        };
        (1..).zip(lives).map(life).collect()
    }

    pub(super) fn word(stamp: u64, holds: u64) -> Watermark {
        Watermark {
            heads: [0; LANES],
            stamp: Stamp(stamp),
            holds: Stamp(holds),
        }
    }

    /// Both peers are met and have sent everything.
    pub(super) fn whole() -> Lives {
        let us = us();
        for (peer, incarnation) in [(EU, 20), (AP, 30)] {
            us.meet(peer, incarnation, Stamp::ZERO);
            us.receive(peer, known([10, 20, 30]));
        }
        us
    }

    #[test]
    fn nothing_is_claimed_before_everything_was_received() {
        let us = us();
        us.meet(EU, 20, Stamp::ZERO);
        us.accept(EU, &word(500, 500));
        us.receive(EU, known([10, 20, 30]));
        assert_eq!(us.holds(NOW), Stamp::ZERO, "nothing came from ap-south");
        us.meet(AP, 30, Stamp::ZERO);
        us.accept(AP, &word(400, 300));
        assert_eq!(us.holds(NOW), Stamp::ZERO);
        us.receive(AP, known([10, 20, 30]));
        assert_eq!(us.holds(NOW), Stamp(400));
        assert_eq!(us.settled(NOW), Stamp(300));
    }

    #[test]
    fn a_claim_stands_still_until_everybody_has_told_what_a_life_left_behind() {
        let us = whole();
        us.accept(EU, &word(500, 500));
        us.accept(AP, &word(500, 500));
        assert_eq!(us.settled(NOW), Stamp(500));
        us.meet(EU, 21, Stamp::ZERO);
        us.accept(EU, &word(900, 0));
        us.accept(AP, &word(900, 500));
        assert_eq!(
            us.holds(NOW),
            Stamp(500),
            "ap-south may hold what is not here"
        );
        us.receive(AP, known([10, 21, 30]));
        assert_eq!(us.holds(NOW), Stamp(900));
        assert_eq!(us.settled(NOW), Stamp::ZERO, "the new life claims nothing");
    }

    #[test]
    fn what_a_source_knew_when_it_began_is_what_counts() {
        let us = whole();
        us.meet(EU, 21, Stamp::ZERO);
        us.receive(AP, known([10, 20, 30]));
        us.accept(EU, &word(900, 900));
        us.accept(AP, &word(900, 900));
        assert_eq!(us.holds(NOW), Stamp::ZERO);
    }

    #[test]
    fn what_a_repair_brings_puts_what_others_hold_in_doubt() {
        let us = whole();
        us.accept(EU, &word(900, 900));
        us.accept(AP, &word(900, 900));
        us.doubt(EU, Stamp(600));
        assert_eq!(
            (us.holds(NOW), us.in_doubt_until()),
            (Stamp::ZERO, Stamp(600))
        );
        us.receive(AP, known([10, 20, 30]));
        assert_eq!(us.holds(NOW), Stamp(900));
    }

    #[test]
    fn clients_wait_for_every_peer_that_can_be_reached() {
        let us = us();
        us.meet(EU, 20, Stamp::ZERO);
        let awaited = |lives: &Lives, at| lives.loading(Time(at)).map(|loading| loading.awaited);
        assert_eq!(awaited(&us, 0), Some(vec![EU, AP]));
        assert_eq!(awaited(&us, 10_000_000), Some(vec![EU]), "ap-south is away");
        us.receive(EU, known([10, 20, 0]));
        assert_eq!(awaited(&us, 10_000_000), None);
        us.meet(AP, 30, Stamp::ZERO);
        assert_eq!(
            awaited(&us, 10_000_001),
            None,
            "clients are served once and for all"
        );
    }
}
