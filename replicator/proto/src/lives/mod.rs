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
//! Words travel: what a peer has heard of others counts here once both are known to hold the same ([`hearsay`]), so a
//! broken link between two regions holds nobody up.
//!
//! # Regions that are away
//!
//! A region of which nothing was heard for longer than the *horizon* is *released*: nobody waits for it, and the dead are
//! forgotten without it. What had been heard of it until then is kept apart ([`Settled`]), so that what it writes meanwhile
//! is news when it is back, and what others have forgotten is not. It claims no more than it had heard of the others until
//! it is proved to hold the same as they do.
//!
//! # Regions that come and go
//!
//! A region that was removed is one that has a new life of which nothing will be heard: what it left behind is found in
//! the same way, and nobody waits for it. One that is added claims nothing, so nothing more is forgotten until it is whole.
//!
//! This module knows stamps and incarnations; it does not know keys, or how a transfer travels.

mod ended;
mod gap;
mod hearsay;
mod loading;
mod received;
mod released;
mod seats;

use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{
    entry::totals::Actor,
    fingerprint::end_of,
    hlc::{Origin, Stamp},
    log::PeerIndex,
    settled::Settled,
    time::Time,
    wire::control::{Hearsay, Standing, Watermark},
};
pub use ended::Ended;
pub use gap::Gap;
pub use loading::Loading;
use received::Received;
use released::Horizon;

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
    /// Whether this life knows what a folded total is, as far as was heard.
    reads_folded: bool,
    /// Whether nothing arrives over that link.
    is_silent: bool,
    /// Whether it refuses this node, and serves in its place or without it.
    turned_away: bool,
    /// Whether it can be reached, but one of the two refuses the other.
    is_refused: bool,
    /// Everything that it wrote up to here has been applied here, or was in what has been compared.
    heard: Stamp,
    /// What earlier lives of it wrote beyond that.
    gap: Gap,
    /// What this life claims to hold.
    holds: Stamp,
    /// What others say that it claims, once everything up to the first stamp was heard of it.
    hearsay: Option<(Stamp, Stamp)>,
    /// It has been away for longer than anybody waits.
    is_released: bool,
    /// There has been no link to it since it was released.
    was_released: bool,
    /// What it counts as settled.
    settled: Stamp,
    /// The lives that it knew when the last transfer began that arrived whole.
    received: Option<Received>,
}

#[derive(Debug)]
struct Inner {
    peers: Vec<Peer>,
    /// What earlier lives of this node wrote of which it has not heard.
    gap: Gap,
    /// What this node claims to hold.
    held: Stamp,
    /// What is held here was in doubt until then: a life was heard of, or a peer's repair brought something.
    in_doubt_until: Stamp,
    settled: Settled,
    ended: Ended,
    horizon: Horizon,
    /// A peer has said in this life which regions there are.
    knows_regions: bool,
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
                gap: Gap::before(Stamp::ZERO),
                held: Stamp::ZERO,
                in_doubt_until: Stamp::ZERO,
                settled: Settled::default(),
                ended: Ended::NONE,
                horizon: Horizon::default(),
                knows_regions: false,
                has_loaded: false,
            }),
        }
    }

    /// Whether `peer` turned this node away: it can be reached, and holds what is not here.
    pub fn turn_away(&self, peer: PeerIndex, is_turned_away: bool) {
        self.inner.lock().peers[peer.0].turned_away = is_turned_away;
    }

    /// Whether `peer` can be reached, but one of the two refuses the other: of their clocks, say, one is wrong.
    pub fn refuse(&self, peer: PeerIndex, is_refused: bool) {
        self.inner.lock().peers[peer.0].is_refused = is_refused;
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

    /// A link to `peer` was agreed upon at `now`, which is in its `incarnation`. Returns whether it was released before: what
    /// has ended meanwhile was forgotten without it.
    pub(crate) fn meet(&self, peer: PeerIndex, incarnation: u64, now: Stamp) -> bool {
        let mut inner = self.inner.lock();
        let met = &mut inner.peers[peer.0];
        (met.is_linked, met.is_silent) = (true, false);
        (met.turned_away, met.is_refused) = (false, false);
        let was_released = std::mem::take(&mut met.was_released);
        inner.welcome(peer.0, now);
        inner.hear_of(peer.0, incarnation, now);
        was_released
    }

    /// At `now`, a repair from `peer` has brought something that was missing here. What other peers hold was compared
    /// without it, and has to be compared anew.
    pub(crate) fn doubt(&self, peer: PeerIndex, now: Stamp) {
        let mut inner = self.inner.lock();
        inner.in_doubt_until = now;
        inner.doubt_all_but(peer.0);
    }

    /// `peer` held the same as this node at the end of `epoch`, and stands where it says: if neither side has been in doubt
    /// since, nothing is missing here of what it holds, and what it had heard of others was heard here, too.
    pub(crate) fn prove(
        &self,
        peer: PeerIndex,
        epoch: u64,
        theirs: Standing,
        hearsay: Option<&Hearsay>,
    ) {
        let end = end_of(epoch);
        if end > theirs.in_doubt_until.max(self.in_doubt_until()) {
            let mut inner = self.inner.lock();
            inner.peers[peer.0].received = Some(Received::With(theirs.known));
            if let Some(hearsay) = hearsay {
                inner.believe(self.own, peer.0, hearsay, end);
            }
        }
    }

    /// Until when what is held here was in doubt: an epoch that ended before proves nothing.
    pub(crate) fn in_doubt_until(&self) -> Stamp {
        self.inner.lock().in_doubt_until
    }

    /// Everything that peers with a link wrote up to here is here, where nothing later than `now` was written here. One
    /// that is silent is left out: what it wrote may have to come another way.
    pub(crate) fn heard(&self, now: Stamp) -> Stamp {
        let inner = self.inner.lock();
        let linked = inner.peers.iter();
        let linked = linked.filter(|peer| peer.is_linked && !peer.is_silent);
        linked.map(|peer| peer.heard).fold(now, Stamp::min)
    }

    /// Whether nothing arrives from `peer` any more, although it is linked.
    pub(crate) fn fall_silent(&self, peer: PeerIndex, is_silent: bool) {
        self.inner.lock().peers[peer.0].is_silent = is_silent;
    }

    /// The link to `peer` is gone.
    pub(crate) fn part(&self, peer: PeerIndex) {
        self.inner.lock().peers[peer.0].is_linked = false;
    }

    /// Everything that `peer` wrote before it sent `watermark` has been applied.
    pub(crate) fn accept(&self, peer: PeerIndex, watermark: &Watermark) {
        let peer = &mut self.inner.lock().peers[peer.0];
        peer.heard = peer.heard.max(watermark.stamp);
        // It claims less when it waits again for a region that was away.
        peer.holds = watermark.holds;
    }

    /// Everything that `peer` held when it knew these lives was sent, and is here. What it has forgotten was not sent: that
    /// is found by comparison only.
    pub(crate) fn receive(&self, peer: PeerIndex, known: Known) {
        let received = &mut self.inner.lock().peers[peer.0].received;
        if !matches!(received, Some(Received::TooLittle)) {
            *received = Some(Received::With(known));
        }
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

    /// What every region holds that is waited for: never less than before.
    pub fn settled(&self, now: Stamp) -> Settled {
        let mut inner = self.inner.lock();
        inner.release_beyond(now);
        let held = inner.claim(now);
        inner.note_ended(self.own, now);
        let claims = inner.awaited().map(|(_, peer)| peer.holds);
        let stamp = claims.fold(held, Stamp::min);
        if stamp >= inner.settled.stamp() {
            inner.settled = inner.settled_up_to(stamp, self.own.origin);
        }
        inner.settled.clone()
    }
}

/// What [`Peer::life`] puts together.
const fn removals_and_incarnation(life: u64) -> (u64, u64) {
    (
        life >> INCARNATION_BITS,
        life & ((1 << INCARNATION_BITS) - 1),
    )
}

impl Peer {
    fn unheard(origin: Origin) -> Self {
        Self {
            origin,
            removals: 0,
            is_removed: false,
            incarnation: 0,
            is_linked: false,
            reads_folded: false,
            is_silent: false,
            turned_away: false,
            is_refused: false,
            heard: Stamp::ZERO,
            gap: Gap::CLOSED,
            holds: Stamp::ZERO,
            hearsay: None,
            is_released: false,
            was_released: false,
            settled: Stamp::ZERO,
            received: None,
        }
    }

    const fn is_awaited(&self) -> bool {
        !self.is_removed && !self.is_released
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
        let received = match &self.peers[peer.0].received {
            None | Some(Received::TooLittle) => return true,
            Some(received) => received,
        };
        self.others(peer)
            .map(Peer::life)
            .any(|life| !received.includes(life.origin, life.incarnation))
    }

    /// Peers that are not away for longer than anybody waits.
    fn awaited(&self) -> impl Iterator<Item = (PeerIndex, &Peer)> {
        self.present().filter(|(_, peer)| peer.is_awaited())
    }

    fn is_whole(&self) -> bool {
        self.awaited()
            .all(|(at, peer)| peer.incarnation > 0 && !self.lacks(at))
    }

    /// What is held here for certain: what was heard of every peer that is waited for, but no more than before while something is missing.
    fn claim(&mut self, now: Stamp) -> Stamp {
        let heard = self.awaited().map(|(_, peer)| peer.heard);
        let heard = heard.fold(now, Stamp::min);
        if self.has_everything() {
            self.close_gaps();
        }
        self.held = match self.is_whole() {
            true => heard,
            false => self.held.min(heard),
        };
        self.held
    }

    /// A region is in this life. What it claimed in an earlier one is void.
    fn hear_of(&mut self, peer: usize, incarnation: u64, now: Stamp) {
        let peer = &mut self.peers[peer];
        if incarnation > peer.incarnation {
            match peer.incarnation {
                0 => peer.gap = Gap::before(now),
                _ => peer.gap.widen(peer.heard, now),
            }
            peer.incarnation = incarnation;
            peer.reads_folded = false;
            (peer.holds, peer.settled) = (Stamp::ZERO, Stamp::ZERO);
            peer.hearsay = None;
            self.in_doubt_until = now;
        }
    }

    /// What peers other than this one hold may be more than what is here.
    fn doubt_all_but(&mut self, peer: usize) {
        for at in (0..self.peers.len()).filter(|at| *at != peer) {
            self.doubt(at);
        }
    }

    /// As [`Self::doubt`]: what was written since the last comparison is in none, and counts as well.
    fn begin_to_doubt(&mut self, peer: usize, now: Stamp) {
        if matches!(self.peers[peer].received, Some(Received::With(_))) {
            self.in_doubt_until = now;
            self.doubt(peer);
        }
    }

    /// What a peer holds may be more than what is here: it has to be compared anew.
    fn doubt(&mut self, peer: usize) {
        let received = &mut self.peers[peer].received;
        if matches!(received, Some(Received::With(_))) {
            *received = Some(Received::TooLittle);
        }
    }
}

#[cfg(test)]
mod away;
#[cfg(test)]
mod membership;
#[cfg(test)]
mod over;

#[cfg(test)]
mod tests;
