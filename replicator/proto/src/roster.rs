//! The regions that a node has to do with at present: those that it was configured with, and what [`Members`] say on top.
//!
//! ```text
//!  configured ──┐
//!  an operator ─┼─▶ Members ─▶ seats: one a region, numbered for good ─▶ Log, Lives
//!  a peer's ────┘              frames to all peers, who take them in and tell theirs
//! ```
//!
//! A region is known to the log and to the lives before anybody is told that it is known: so once every region has
//! confirmed, none forgets a deletion that a new region has not heard of. A seat is never given to another region; that of
//! one which was removed stays empty until it is added again.
//!
//! It does not know how a region is linked, nor how the register is kept on disk.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::{
    hlc::{Origin, Stamp},
    lives::Lives,
    log::{Log, PEERS_MAX, PeerIndex},
    members::{Member, Members, REMOVALS_MAX, is_address, is_name},
    peer::handshake::{Expected, Refusal},
};

/// A region beside the node's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Its name and number.
    pub expected: Expected,
    /// Host and port of its replication port; of one that was removed, where it was.
    pub address: String,
    /// Whether it belongs to the cluster.
    pub is_present: bool,
    /// Whether it was added or removed while nodes ran, whatever the configuration says.
    pub is_recorded: bool,
    /// A node that began before this is refused.
    since: Stamp,
    removals: u16,
}

/// Why a region is not added or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Not a number of a region.
    #[error("{0} is no region id: give 1 to {max}", max = Origin::MAX)]
    Id(u8),
    /// Not a name that a region may have.
    #[error("\"{0}\" cannot name a region: use lower-case letters, digits and dashes, at most 63")]
    Name(String),
    /// Not an address.
    #[error("\"{0}\" is no address: give host:port")]
    Address(String),
    /// The region of the node that was asked.
    #[error("{0} is the region of this node: ask the node of another region")]
    Own(String),
    /// The number belongs to another region, or did.
    #[error("id {id} belongs to {by}{}: an id is never given to another region", if *.was_removed { ", which was removed" } else { "" })]
    IdTaken {
        /// The number.
        id: u8,
        /// Whose it is.
        by: String,
        /// Whether that was removed.
        was_removed: bool,
    },
    /// The name belongs to a region with another number.
    #[error("{region} has id {id}: give --id {id}, or another name")]
    NameTaken {
        /// The name.
        region: String,
        /// The number of that region.
        id: u8,
    },
    /// Nothing by that name.
    #[error("there is no region {0}")]
    Unknown(String),
    /// The node has just started: its decision could be undone by an earlier one of which it knows nothing.
    #[error(
        "this node is loading, and was not told yet which regions there are: ask one that serves, or try again"
    )]
    Uninformed,
    /// A number cannot tell more removals apart.
    #[error("{0} was removed too often")]
    Removals(String),
}

#[derive(Debug, Default)]
struct Inner {
    members: Members,
    /// By [`PeerIndex`].
    seats: Vec<Seat>,
}

/// The regions of one node's cluster.
#[derive(Debug)]
pub struct Roster {
    own: Expected,
    /// Raised by every change of the register; 1 at first.
    version: AtomicU64,
    inner: Mutex<Inner>,
}

impl Roster {
    /// The roster of the node of `own`, as configured and as the register says that was kept. The seats are numbered in
    /// this order.
    #[must_use]
    pub fn new(
        own: Expected,
        configured: impl IntoIterator<Item = (Expected, String)>,
        members: Members,
    ) -> Self {
        let seat = |(expected, address)| Seat {
            expected,
            address,
            is_present: true,
            is_recorded: false,
            since: Stamp::ZERO,
            removals: 0,
        };
        let mut inner = Inner {
            members: Members::default(),
            seats: configured.into_iter().map(seat).collect(),
        };
        for member in members.iter().cloned() {
            inner.put(&own, member);
        }
        Self {
            own,
            version: AtomicU64::new(1),
            inner: Mutex::new(inner),
        }
    }

    /// Tells a log and lives that know of nobody who the peers are. To be called once, before any session begins.
    pub fn seat_all(&self, log: &Log, lives: &Lives) {
        for (at, seat) in self.inner.lock().seats.iter().enumerate() {
            lives.add(seat.expected.origin);
            seat.take_effect(PeerIndex(at), log, lives);
        }
    }

    /// All seats, in the order of their numbers.
    #[must_use]
    pub fn seats(&self) -> Vec<Seat> {
        self.inner.lock().seats.clone()
    }

    /// The seat of a peer.
    #[must_use]
    pub fn seat(&self, peer: PeerIndex) -> Option<Seat> {
        self.inner.lock().seats.get(peer.0).cloned()
    }

    /// The register.
    #[must_use]
    pub fn members(&self) -> Members {
        self.inner.lock().members.clone()
    }

    /// Changes whenever the register does.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Whether a peer that knows `theirs` knows all that is known here.
    #[must_use]
    pub fn is_known_to(&self, theirs: &Members) -> bool {
        theirs.includes(&self.inner.lock().members)
    }

    /// Takes in what a peer, or a file, knows. Returns whether that changed anything.
    pub fn join(&self, theirs: &Members, log: &Log, lives: &Lives) -> bool {
        let mut inner = self.inner.lock();
        let mut is_changed = false;
        for member in theirs.iter() {
            is_changed |= self.put(&mut inner, member.clone(), log, lives);
        }
        is_changed
    }

    /// Adds a region at `stamp`, or gives one that is there another address. Returns whether that changed anything.
    ///
    /// # Errors
    /// [`ChangeError`] when the name or the number belongs to another region, or is none, or the node has just started.
    pub fn add(
        &self,
        expected: Expected,
        address: String,
        stamp: Stamp,
        log: &Log,
        lives: &Lives,
    ) -> Result<bool, ChangeError> {
        let mut inner = self.inner.lock();
        let held = self.check(&inner, &expected)?;
        if !lives.is_informed() {
            return Err(ChangeError::Uninformed);
        }
        if !is_address(&address) {
            return Err(ChangeError::Address(address));
        }
        if held.is_some_and(|seat| seat.is_present && seat.address == address) {
            return Ok(false);
        }
        let kept = held.filter(|seat| seat.is_present);
        let member = Member {
            removals: held.map_or(0, |seat| seat.removals),
            stamp,
            id: expected.origin.0,
            region: expected.region.clone(),
            address: Some(address),
            since: kept.map_or(stamp, |seat| seat.since),
        };
        Ok(self.put(&mut inner, member, log, lives))
    }

    /// Removes a region at `stamp`. Returns whether it was there.
    ///
    /// # Errors
    /// [`ChangeError`] when there is no such region, it is the node's own, or the node has just started.
    pub fn remove(
        &self,
        region: &str,
        stamp: Stamp,
        log: &Log,
        lives: &Lives,
    ) -> Result<bool, ChangeError> {
        let mut inner = self.inner.lock();
        if region == self.own.region {
            return Err(ChangeError::Own(region.to_owned()));
        }
        let named = || {
            inner
                .seats
                .iter()
                .filter(|seat| seat.expected.region == region)
        };
        let held = named()
            .find(|seat| seat.is_present)
            .or_else(|| named().next());
        let Some(seat) = held else {
            return Err(ChangeError::Unknown(region.to_owned()));
        };
        if !lives.is_informed() {
            return Err(ChangeError::Uninformed);
        }
        if !seat.is_present {
            return Ok(false);
        }
        if seat.removals == REMOVALS_MAX {
            return Err(ChangeError::Removals(region.to_owned()));
        }
        let member = Member {
            removals: seat.removals + 1,
            stamp,
            id: seat.expected.origin.0,
            region: region.to_owned(),
            address: None,
            since: stamp,
        };
        Ok(self.put(&mut inner, member, log, lives))
    }

    /// Whether a node of a peer's region, which began with `incarnation`, may be linked.
    pub(crate) fn admits(&self, peer: PeerIndex, incarnation: u64) -> Result<(), Refusal> {
        let inner = self.inner.lock();
        let Some(seat) = inner.seats.get(peer.0) else {
            return Ok(());
        };
        let region = || seat.expected.region.clone();
        if !seat.is_present {
            return Err(Refusal::Removed { region: region() });
        }
        let since = seat.since.wall().0;
        if incarnation < since {
            return Err(Refusal::BeganBefore {
                region: region(),
                theirs: incarnation,
                since,
            });
        }
        Ok(())
    }

    /// The region's seat, if it has one and nothing else has its name or number.
    fn check<'a>(
        &self,
        inner: &'a Inner,
        expected: &Expected,
    ) -> Result<Option<&'a Seat>, ChangeError> {
        let Expected { region, origin } = expected;
        if !is_name(region) {
            return Err(ChangeError::Name(region.clone()));
        }
        if !(1..=Origin::MAX).contains(&origin.0) {
            return Err(ChangeError::Id(origin.0));
        }
        if *region == self.own.region {
            return Err(ChangeError::Own(region.clone()));
        }
        let taken = |by: &str, was_removed| ChangeError::IdTaken {
            id: origin.0,
            by: by.to_owned(),
            was_removed,
        };
        if *origin == self.own.origin {
            return Err(taken(&self.own.region, false));
        }
        let of_name = |seat: &&Seat| seat.is_present && seat.expected.region == *region;
        if let Some(other) = inner.seats.iter().find(of_name)
            && other.expected.origin != *origin
        {
            return Err(ChangeError::NameTaken {
                region: region.clone(),
                id: other.expected.origin.0,
            });
        }
        let held = inner
            .seats
            .iter()
            .find(|seat| seat.expected.origin == *origin);
        match held {
            Some(seat) if seat.expected.region != *region => {
                Err(taken(&seat.expected.region, !seat.is_present))
            }
            held => Ok(held),
        }
    }

    /// Takes in one record, and has the log and the lives know before anybody is told.
    fn put(&self, inner: &mut Inner, member: Member, log: &Log, lives: &Lives) -> bool {
        let Some(news) = inner.put(&self.own, member) else {
            return false;
        };
        if let News::Seated(peer) = news {
            lives.add(inner.seats[peer.0].expected.origin);
        }
        if let News::Seated(peer) | News::Changed(peer) = news {
            inner.seats[peer.0].take_effect(peer, log, lives);
        }
        self.version.fetch_add(1, Ordering::AcqRel);
        true
    }
}

/// What a record was, besides news to the register.
enum News {
    /// Nothing: of the own region, or another address.
    Noted,
    /// Of a region that had no seat.
    Seated(PeerIndex),
    /// Of one that was removed, or added again.
    Changed(PeerIndex),
}

impl Inner {
    /// Notes a record; `None` when it is no news.
    fn put(&mut self, own: &Expected, member: Member) -> Option<News> {
        let seat = Seat {
            expected: Expected {
                region: member.region.clone(),
                origin: Origin(member.id),
            },
            address: member.address.clone().unwrap_or_default(),
            is_present: member.address.is_some(),
            is_recorded: true,
            since: member.since,
            removals: member.removals,
        };
        if !self.members.put(member) {
            return None;
        }
        if seat.expected.origin == own.origin {
            return Some(News::Noted);
        }
        let is_same = |held: &Seat| held.expected.origin == seat.expected.origin;
        let Some(at) = self.seats.iter().position(is_same) else {
            debug_assert!(self.seats.len() < PEERS_MAX, "there are no more numbers");
            self.seats.push(seat);
            return Some(News::Seated(PeerIndex(self.seats.len() - 1)));
        };
        let held = &mut self.seats[at];
        let standing = |seat: &Seat| (seat.is_present, seat.removals);
        let is_changed = standing(held) != standing(&seat);
        *held = seat;
        Some(match is_changed {
            true => News::Changed(PeerIndex(at)),
            false => News::Noted,
        })
    }
}

impl Seat {
    fn take_effect(&self, peer: PeerIndex, log: &Log, lives: &Lives) {
        let now = log.clock().newest();
        if self.is_present {
            if lives.seat(peer, self.removals, self.since, now) {
                log.admit(peer);
            }
        } else {
            lives.unseat(peer, self.removals, now);
            log.dismiss(peer);
        }
    }
}

#[cfg(test)]
mod tests;
