//! What a session asks of its peer beside the log: everything, where nothing has come yet, and comparisons from then on.
//!
//! The comparison itself is in [`compare`](super::compare); here it is given what it needs of the session, and what it finds
//! is told to [`crate::lives`].

use super::{
    Node, Outbox, Output, Peer,
    compare::{Comparison, OutOfTurn, Surroundings},
};
use crate::{
    fingerprint::end_of,
    hlc::Stamp,
    store::Store,
    time::Wall,
    wire::{
        WIRE_COUNTS, WIRE_SKETCHES,
        control::{Compare, Compared, Control},
    },
};

impl Peer {
    /// Asks for everything where nothing has come yet, and compares what is held here from then on.
    pub(super) fn repair<S: Store>(&mut self, wall: Wall, node: &Node<'_, S>, out: &mut Outbox) {
        if node.lives.wants(self.index) {
            if !std::mem::replace(&mut self.has_asked, true) {
                out.push(Output::Control(Control::Want.encode()));
            }
            return;
        }
        self.doubt(wall, node);
        self.tell_over(out);
        if self.sender.is_sweeping() || !self.sender.is_started() || self.is_silent {
            return;
        }
        let heard = node.lives.heard(Stamp::at(wall));
        let asks = node.identity.origin < self.expected.origin;
        self.with_comparison(node, out, |comparison, with| {
            comparison.proceed(asks, heard, node, with);
        });
        self.note_end(node);
    }

    /// The peer asks for everything that is held here. So that it can say how long that will take, it is told how much it is.
    pub(super) fn give_all<S: Store>(&mut self, node: &Node<'_, S>, out: &mut Outbox) {
        if self.wire >= WIRE_COUNTS
            && let Some(keys) = node.store.keys()
        {
            out.push(Output::Control(Control::Count(keys).encode()));
        }
        self.sender.ask(node.log, node.lives.known());
    }

    /// Takes in a frame of a comparison.
    pub(super) fn compare<S: Store>(
        &mut self,
        frame: Control,
        wall: Wall,
        node: &Node<'_, S>,
        out: &mut Outbox,
    ) -> Result<(), String> {
        if let Control::Compare(Compare { standing, .. })
        | Control::Compared(Compared { standing, .. }) = &frame
        {
            let clock = node.log.clock();
            let followed = clock.observe(standing.flushed.stamp, wall);
            followed.map_err(|skew| skew.to_string())?;
            self.receiver.flush(standing.flushed, node.store);
        }
        self.doubt(wall, node);
        self.with_comparison(node, out, |comparison, with| match frame {
            Control::Compare(question) => comparison.hear_question(question),
            Control::Compared(answer) => comparison.hear_answer(&answer, with),
            Control::Listing(listing) => {
                let answer = comparison.answering()?;
                answer.hear_listing(&listing, node.store, with)
            }
            Control::Wanted(wanted) => comparison.asking()?.hear_wish(&wanted, with),
            Control::Sketches(sketches) => {
                let answer = comparison.answering()?;
                answer.hear_sketches(&sketches, node.store, with)
            }
            Control::Found(findings) => {
                let descent = comparison.asking()?;
                descent.hear_findings(&findings, node.store, with)
            }
            Control::Chosen(choice) => comparison.answering()?.hear_choice(&choice, with),
            Control::Pushed(parts) => comparison.asking()?.hear_pushed(parts),
            Control::Repaired(changed) => comparison.hear_repaired(changed, with),
            Control::Hello(_)
            | Control::Ready
            | Control::Refuse(_)
            | Control::Ack(_)
            | Control::Watermark(_)
            | Control::Want
            | Control::Sent(_)
            | Control::Clock(_)
            | Control::Hearsay(_)
            | Control::Over(_)
            | Control::Regions(_)
            | Control::Twin(_)
            | Control::Count(_) => Err(OutOfTurn),
        })
        .map_err(|out_of_turn| out_of_turn.to_string())?;
        self.note_end(node);
        Ok(())
    }

    /// Notes what a comparison that ended has brought, and what an equality has proved.
    fn note_end<S>(&mut self, node: &Node<'_, S>) {
        if let (Some(epoch), Some(hearsay)) = (self.comparison.take_ended(), &self.hearsay) {
            self.receiver.relays.reach(end_of(epoch), hearsay);
        }
        if let Some((epoch, theirs)) = self.comparison.take_proof() {
            node.lives
                .prove(self.index, epoch, theirs, self.hearsay.as_ref());
        }
    }

    /// Runs `act` on the comparison, and sends what it says.
    fn with_comparison<S, R>(
        &mut self,
        node: &Node<'_, S>,
        out: &mut Outbox,
        act: impl FnOnce(&mut Comparison, &mut Surroundings<'_>) -> R,
    ) -> R {
        let mut frames = Vec::new();
        let mut with = Surroundings {
            has_sketches: self.wire >= WIRE_SKETCHES,
            pushes: &mut self.sender.pushes,
            found: self.receiver.stats.repaired + self.receiver.stats.rejected,
            out: &mut frames,
        };
        let result = act(&mut self.comparison, &mut with);
        for frame in frames {
            if matches!(frame, Control::Compare(_) | Control::Compared(_)) {
                self.tell_hearsay(node, out);
            }
            out.push(Output::Control(frame.encode()));
        }
        result
    }

    /// Notes that a repair has brought something, if one has.
    fn doubt<S>(&mut self, wall: Wall, node: &Node<'_, S>) {
        let repaired = self.receiver.stats.repaired;
        if repaired > self.repaired {
            self.repaired = repaired;
            let now = node.log.clock().stamp(wall);
            node.lives.doubt(self.index, now);
        }
    }
}
