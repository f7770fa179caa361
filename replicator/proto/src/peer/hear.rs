//! What the control frames of a peer do: which may come when, and who takes them in.

use super::{
    Node, OUT_OF_TURN, Outbox, Output, Peer, State,
    handshake::{self, Refusal, TurnedAway},
    lead::Lead,
    send::Reader,
};
use crate::{
    store::Store,
    time::{Time, Wall},
    wire::{
        WIRE_FOLDED, WIRE_HEARSAY, WIRE_MEMBERS, WIRE_REPAIR, WIRE_VERSION,
        control::{Control, Hello},
    },
};

impl Peer {
    /// Takes in a control frame. The error says why the link must be refused.
    pub(super) fn hear<S: Store>(
        &mut self,
        now: Time,
        wall: Wall,
        bytes: &[u8],
        node: &Node<'_, S>,
        out: &mut Outbox,
    ) -> Result<(), TurnedAway> {
        if matches!(self.state, State::Down | State::Refused(_)) {
            return Ok(());
        }
        let frame = Control::decode(bytes).map_err(|error| TurnedAway::because(&error))?;
        let Some(frame) = frame else {
            // A kind that only a newer release knows, and that it can do without.
            return Ok(());
        };
        match frame {
            Control::Hello(hello) if self.state == State::Handshaking => {
                // Of a refused clock, too, it shows how far it is off.
                self.lead = Lead::default();
                self.lead.hear(hello.wall, wall);
                self.agree(now, wall, &hello, node)?;
                out.push(Output::Control(Control::Ready.encode()));
                self.tell_hearsay(node, out);
                Ok(())
            }
            Control::Refuse(reason) => {
                let reason = format!(
                    "refused by {}; in its words: {reason:?}",
                    self.expected.region
                );
                self.disconnect(node.lives);
                self.state = State::Refused(reason.clone());
                out.push(Output::Close(reason.into()));
                Ok(())
            }
            frame @ (Control::Hello(_)
            | Control::Ready
            | Control::Ack(_)
            | Control::Watermark(_)
            | Control::Want
            | Control::Sent(_)
            | Control::Compare(_)
            | Control::Compared(_)
            | Control::Listing(_)
            | Control::Wanted(_)
            | Control::Sketches(_)
            | Control::Found(_)
            | Control::Chosen(_)
            | Control::Pushed(_)
            | Control::Repaired(_)
            | Control::Clock(_)
            | Control::Hearsay(_)
            | Control::Over(_)
            | Control::Regions(_)
            | Control::Twin(_)
            | Control::Count(_)) => match self.state {
                State::Up => Ok(self.hear_agreed(now, wall, frame, node, out)?),
                State::Down | State::Handshaking | State::Refused(_) => {
                    Err(TurnedAway::because(&OUT_OF_TURN))
                }
            },
        }
    }

    /// As [`Self::hear`], on a link that is agreed upon.
    fn hear_agreed<S: Store>(
        &mut self,
        now: Time,
        wall: Wall,
        frame: Control,
        node: &Node<'_, S>,
        out: &mut Outbox,
    ) -> Result<(), String> {
        match frame {
            Control::Ready => {
                if self.sender.start() {
                    out.push(Output::Established);
                }
            }
            Control::Ack(ids) => {
                for id in ids {
                    let complete = self.sender.acknowledge(id, node, now);
                    if let Some(known) = complete.filter(|_| self.repairs()) {
                        out.push(Output::Control(Control::Sent(known).encode()));
                    }
                }
            }
            Control::Watermark(watermark) => {
                node.log
                    .clock()
                    .observe(watermark.stamp, wall)
                    .map_err(|skew| skew.to_string())?;
                self.receiver.hear(watermark);
                if !self.repairs() {
                    // It says nothing of time while it owes a sweep.
                    node.lives.receive_what_it_can(self.index);
                }
                self.settle(wall, node);
            }
            Control::Want => self.give_all(node, out),
            Control::Count(keys) => self.keys_told = Some(keys),
            Control::Sent(known) => node.lives.receive(self.index, known),
            frame @ (Control::Compare(_)
            | Control::Compared(_)
            | Control::Listing(_)
            | Control::Wanted(_)
            | Control::Sketches(_)
            | Control::Found(_)
            | Control::Chosen(_)
            | Control::Pushed(_)
            | Control::Repaired(_)) => return self.compare(frame, wall, node, out),
            Control::Clock(theirs) => self.lead.hear(theirs, wall),
            Control::Hearsay(hearsay) => return self.hear_hearsay(hearsay, wall, node),
            Control::Over(over) => self.hear_over(&over, wall, node),
            Control::Regions(regions) => return self.hear_members(regions, wall, node),
            Control::Twin(twin) => self.hear_twin(twin, now),
            Control::Hello(_) | Control::Refuse(_) => return Err(OUT_OF_TURN.to_owned()),
        }
        Ok(())
    }

    fn agree<S: Store>(
        &mut self,
        now: Time,
        wall: Wall,
        hello: &Hello,
        node: &Node<'_, S>,
    ) -> Result<(), Refusal> {
        let clock = (wall, node.log.clock().max_skew());
        handshake::check(
            hello,
            node.identity,
            &self.expected,
            self.receiver.incarnation(),
            clock,
        )?;
        node.roster.admits(self.index, hello.incarnation)?;
        handshake::check_folded(hello.wire, node.store)?;
        // First of all: what the peer is sent from here on, others hear of its new life before they forget anything more.
        let stamp = node.log.clock().stamp(wall);
        let was_released = node.lives.meet(self.index, hello.incarnation, stamp);
        node.lives
            .reads_folded(self.index, hello.wire >= WIRE_FOLDED);
        if hello.wire < WIRE_MEMBERS {
            node.lives.learn_regions();
        }
        let reader = Reader {
            is_known: hello.incarnation == self.receiver.incarnation(),
            was_released,
            asks: hello.wire >= WIRE_REPAIR,
            knows_absence: hello.wire >= WIRE_HEARSAY,
        };
        self.sender.resume(&hello.resume, reader, node, now)?;
        self.receiver.connect(hello.incarnation);
        self.wire = hello.wire.min(WIRE_VERSION);
        self.has_asked = false;
        self.keys_told = None;
        self.next_watermark = now;
        self.connects += 1;
        self.state = State::Up;
        Ok(())
    }
}
