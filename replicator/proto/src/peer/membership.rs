//! What a session tells its peer of the cluster's regions, and what it hears of them: the whole register at the start of a
//! link and after each change. What is told back shows what the peer knows.

use super::{Node, Outbox, Output, Peer, handshake::Refusal};
use crate::{
    members::{Members, is_address},
    roster::Roster,
    time::{Time, Wall},
    wire::{
        WIRE_MEMBERS,
        control::{Control, Regions, Twin},
    },
};

/// What one session has told and heard.
#[derive(Debug, Default)]
pub(super) struct Membership {
    /// The version of the roster that was told on this link last; none has the number zero.
    told: u64,
    /// What the peer told on this link last.
    heard: Option<Members>,
    /// Where the peer finds us.
    reached_at: Option<String>,
    /// The other process of our region that the peer turned away last, and when it said so.
    twin: Option<(Time, Twin)>,
}

impl Membership {
    /// On the next link nothing has been said.
    pub(super) fn disconnect(&mut self) {
        (self.told, self.heard) = (0, None);
    }
}

impl Peer {
    /// Tells the register where the peer has not heard its latest state. The error says that the peer was removed.
    pub(super) fn tell_members<S>(
        &mut self,
        node: &Node<'_, S>,
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        let version = node.roster.version();
        if self.membership.told == version {
            return Ok(());
        }
        node.roster
            .admits(self.index, self.receiver.incarnation())?;
        self.membership.told = version;
        if self.wire >= WIRE_MEMBERS {
            let address = node.roster.seat(self.index).map(|seat| seat.address);
            let regions = Regions {
                members: node.roster.members(),
                reached_at: address.unwrap_or_default(),
            };
            out.push(Output::Control(Control::Regions(regions).encode()));
        }
        Ok(())
    }

    /// Takes in what the peer knows. The error says why the link must be refused.
    pub(super) fn hear_members<S>(
        &mut self,
        regions: Regions,
        wall: Wall,
        node: &Node<'_, S>,
    ) -> Result<(), String> {
        let Regions {
            members,
            reached_at,
        } = regions;
        members.check().map_err(|bad| bad.to_string())?;
        let clock = node.log.clock();
        clock
            .observe(members.newest(), wall)
            .map_err(|skew| skew.to_string())?;
        node.roster.join(&members, node.log, node.lives);
        node.lives.learn_regions();
        self.membership.heard = Some(members);
        self.membership.reached_at = Some(reached_at).filter(|address| is_address(address));
        Ok(())
    }

    /// The peer turned away another process of our region.
    pub(super) fn hear_twin(&mut self, twin: Twin, now: Time) {
        self.membership.twin = Some((now, twin));
    }

    /// What tells the peer that another process of its region was turned away, if it takes that.
    #[must_use]
    pub fn tell_twin(&self, twin: Twin) -> Option<Vec<u8>> {
        let hears = self.is_up() && self.wire >= WIRE_MEMBERS;
        hears.then(|| Control::Twin(twin).encode())
    }

    /// Whether the peer has confirmed, on the present link, that it knows all that `roster` does of the cluster's regions.
    #[must_use]
    pub fn is_informed(&self, roster: &Roster) -> bool {
        let heard = self.membership.heard.as_ref();
        heard.is_some_and(|members| roster.is_known_to(members))
    }

    /// Where the peer finds this node, in its words.
    #[must_use]
    pub fn reached_at(&self) -> Option<&str> {
        self.membership.reached_at.as_deref()
    }

    /// The other process of this node's region that the peer turned away last, and when it said so.
    #[must_use]
    pub fn twin(&self) -> Option<&(Time, Twin)> {
        self.membership.twin.as_ref()
    }
}
