//! Lives that are over, and of which nothing is missing anywhere: nobody hears anything new of them.
//!
//! When a node is whole, whatever the lives before the present ones left behind is here ([`super`]), and every stamp of that
//! was seen by its clock. Once every region holds everything up to that moment, each holds the same of those lives, and none
//! will ever hear more: what they counted can be told in one number.

use super::{Inner, Known, Lives};
use crate::{entry::totals::Actor, hlc::Stamp, log::PeerIndex};

/// The lives before some others, of which every region has heard everything once it has heard of all up to a stamp.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    as_of: Stamp,
    present: Known,
}

impl Ended {
    /// None.
    pub(crate) const NONE: Self = Self {
        as_of: Stamp::ZERO,
        present: Known(Vec::new()),
    };

    /// The lives before those that are `present` as of a stamp.
    #[must_use]
    pub const fn before(present: Known, as_of: Stamp) -> Self {
        Self { as_of, present }
    }

    /// What must have been heard of by all.
    #[must_use]
    pub const fn as_of(&self) -> Stamp {
        self.as_of
    }

    /// Whether a life is among them.
    #[must_use]
    pub fn has(&self, life: Actor) -> bool {
        life.incarnation < self.present.of(life.origin)
    }
}

impl Lives {
    /// Whether the life that was met knows what a folded total is.
    pub(crate) fn reads_folded(&self, peer: PeerIndex, reads_folded: bool) {
        self.inner.lock().peers[peer.0].reads_folded = reads_folded;
    }
}

impl Inner {
    /// Whether nothing of what ended lives left behind is missing here, wherever that was.
    pub(super) fn has_everything(&self) -> bool {
        self.is_whole() && self.present().all(|(_, peer)| peer.is_awaited())
    }

    /// Notes which lives are over at `now`, if nothing of them is missing. A region that has left, or that would not
    /// understand what becomes of it, voids all that was noted.
    pub(super) fn note_ended(&mut self, own: Actor, now: Stamp) {
        if !self.present().all(|(_, peer)| peer.reads_folded) {
            self.ended = Ended::NONE;
            return;
        }
        if !self.has_everything() {
            return;
        }
        let peers = self.present().map(|(_, peer)| Actor {
            origin: peer.origin,
            incarnation: peer.incarnation,
        });
        let present: Known = peers.chain([own]).collect();
        if present != self.ended.present {
            self.ended = Ended::before(present, now);
        }
    }
}
