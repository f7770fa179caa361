//! A node's sessions: one with each region of its roster, begun and ended as these come and go.

use greenwich_proto::{
    hlc::Stamp,
    log::PeerIndex,
    peer::{Input, Node, Outbox, Peer, Report},
    roster::{ChangeError, Seat},
    store::Store,
    time::Time,
};

use super::{Performed, Region, address, expected, name};
use crate::{
    meanwhile::Meanwhile,
    workload::{Key, Operation},
};

/// Regions whose sessions are not what the roster says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// There is a session with them, and they were removed.
    pub gone: Vec<usize>,
    /// They are there, and there is no session with them.
    pub come: Vec<usize>,
}

impl<S: Store> Region<S> {
    /// The session with another region, if there is one.
    #[must_use]
    pub fn session(&self, other: usize) -> Option<&Peer> {
        let PeerIndex(at) = self.number_of(other)?;
        self.peers[at].as_ref()
    }

    /// How the session with another region fares, if there is one.
    #[must_use]
    pub fn report(&self, other: usize, now: Time) -> Option<Report> {
        let session = self.session(other)?;
        Some(session.report(&self.log, self.clock.read(now)))
    }

    /// How another region is numbered in the log, if it ever was known.
    #[must_use]
    pub fn number_of(&self, other: usize) -> Option<PeerIndex> {
        let at = self.seats.iter().position(|(of, _)| *of == other);
        at.map(PeerIndex)
    }

    /// Whether another region belongs to the cluster as far as this one knows.
    #[must_use]
    pub fn knows(&self, other: usize) -> bool {
        self.seats.contains(&(other, true))
    }

    /// The regions that belong to the cluster beside this one, as far as it knows.
    #[must_use]
    pub fn known(&self) -> Vec<usize> {
        let known = self.seats.iter().filter(|(_, is_there)| *is_there);
        known.map(|(of, _)| *of).collect()
    }

    /// Whether all of them have confirmed that they know the same of the cluster.
    #[must_use]
    pub fn is_heard_by_all(&self) -> bool {
        self.is_heard_by(&self.known())
    }

    /// Whether others have confirmed that they know the same of the cluster.
    #[must_use]
    pub fn is_heard_by(&self, others: &[usize]) -> bool {
        let mut sessions = others.iter().map(|&other| self.session(other));
        sessions.all(|session| session.is_some_and(|session| session.is_informed(&self.roster)))
    }

    /// When another region was added, by the stamp before which none of its nodes may have begun.
    #[must_use]
    pub fn added_at(&self, other: usize) -> Option<Stamp> {
        let members = self.roster.members();
        let mut members = members.iter();
        let member = members.find(|member| member.region == name(other));
        member.map(|member| member.since)
    }

    /// What it has heard of other regions, in words.
    #[must_use]
    pub fn lives(&self) -> String {
        format!("{:?}", self.lives)
    }

    /// Whether it may be asked to add a region, or to remove one.
    #[must_use]
    pub fn is_informed(&self) -> bool {
        self.lives.is_informed()
    }

    /// An operator adds a region, or removes one.
    ///
    /// # Errors
    /// As the roster says.
    pub fn change(&mut self, other: usize, is_added: bool, now: Time) -> Result<bool, ChangeError> {
        let stamp = self.log.clock().stamp(self.clock.read(now));
        let (log, lives) = (&self.log, &self.lives);
        match is_added {
            true => {
                let region = expected(other);
                self.roster.add(region, address(other), stamp, log, lives)
            }
            false => self.roster.remove(&name(other), stamp, log, lives),
        }
    }

    /// Takes notice of the roster. Returns whether it has changed since the last look.
    pub fn look_at_roster(&mut self) -> bool {
        let version = self.roster.version();
        let is_changed = std::mem::replace(&mut self.version, version) != version;
        if is_changed {
            let seat = |seat: Seat| (usize::from(seat.expected.origin.0) - 1, seat.is_present);
            self.seats = self.roster.seats().into_iter().map(seat).collect();
            self.peers.resize_with(self.seats.len(), || None);
        }
        is_changed
    }

    /// Which sessions are to be begun and ended.
    #[must_use]
    pub fn changes(&self) -> Changes {
        let mut changes = Changes::default();
        for (&(other, is_there), session) in self.seats.iter().zip(&self.peers) {
            match (is_there, session) {
                (true, None) => changes.come.push(other),
                (false, Some(_)) => changes.gone.push(other),
                (true, Some(_)) | (false, None) => {}
            }
        }
        changes
    }

    /// Begins a session with a region that was added.
    pub fn begin_session(&mut self, other: usize, now: Time) {
        if let Some(index) = self.number_of(other) {
            let session = Peer::new(index, expected(other), self.limits, now);
            self.peers[index.0] = Some(session);
        }
    }

    /// Ends the session with a region that was removed.
    pub fn end_session(&mut self, other: usize) {
        if let Some(PeerIndex(at)) = self.number_of(other) {
            self.peers[at] = None;
        }
    }

    /// Tells the session with another region what happened. Behind so many looks of the session a client runs a command;
    /// the second result is what that did, if it came to it.
    pub fn handle(
        &mut self,
        now: Time,
        other: usize,
        input: Input<'_>,
        meanwhile: Option<(u64, &Operation, &[Key])>,
    ) -> (Outbox, Option<Performed>) {
        let wall = self.clock.read(now);
        let peer = self.number_of(other);
        let mut out = Outbox::new();
        let mut performed = None;
        // The sessions stand aside, so that a client can come while one of them works.
        let mut peers = std::mem::take(&mut self.peers);
        let store = match meanwhile {
            None => Meanwhile::quiet(&self.store),
            Some((looks, operation, all)) => Meanwhile::busy(&self.store, looks, || {
                performed = Some(self.perform(now, operation, all));
            }),
        };
        let node = Node {
            identity: &self.identity,
            log: &self.log,
            store: &store,
            lives: &self.lives,
            roster: &self.roster,
            builder: &self.builder,
        };
        let session = peer.and_then(|PeerIndex(at)| peers[at].as_mut());
        if let Some(session) = session {
            session.handle(now, wall, input, &node, &mut out);
        }
        drop(store);
        self.peers = peers;
        (out, performed)
    }

    /// Looks whether it may serve clients. Returns whether it has just begun to.
    pub fn look_whether_loaded(&mut self, now: Time, serves_at_once: bool) -> bool {
        let was_loading = self.is_loading;
        self.is_loading = !serves_at_once && self.lives.loading(now).is_some();
        was_loading && !self.is_loading
    }

    /// The other regions from which nothing has arrived whole.
    pub fn missing(&self) -> Vec<usize> {
        let missing = self.lives.missing().into_iter();
        missing
            .filter_map(|PeerIndex(at)| self.seats.get(at))
            .map(|(other, _)| *other)
            .collect()
    }
}
