//! What a session tells beside its own writes: what was heard of other regions, and which keys have ended.
//!
//! What follows from either is not known here: the first is [`crate::lives`]' to say, and whether a key has ended is the
//! join's.

use super::{Node, Outbox, Output, Peer};
use crate::{
    store::Store,
    time::Wall,
    wire::{
        WIRE_HEARSAY,
        control::{Control, Hearsay, Over},
    },
};

impl Peer {
    /// Tells what was heard of others.
    pub(super) fn tell_hearsay<S>(&self, node: &Node<'_, S>, out: &mut Outbox) {
        if self.wire >= WIRE_HEARSAY {
            let hearsay = Control::Hearsay(node.lives.hearsay());
            out.push(Output::Control(hearsay.encode()));
        }
    }

    /// Takes in what the peer has heard of others.
    pub(super) fn hear_hearsay<S>(
        &mut self,
        hearsay: Hearsay,
        wall: Wall,
        node: &Node<'_, S>,
    ) -> Result<(), String> {
        let clock = node.log.clock();
        let settled = clock.observe(hearsay.settled, wall);
        settled.map_err(|skew| skew.to_string())?;
        let (now, latest) = (clock.stamp(wall), wall + clock.max_skew());
        node.lives.listen(self.index, &hearsay, now, latest);
        self.hearsay = Some(hearsay);
        Ok(())
    }

    /// Tells the peer what it still holds of what has ended.
    pub(super) fn tell_over(&mut self, out: &mut Outbox) {
        let over = self.receiver.take_over();
        if self.wire >= WIRE_HEARSAY && !over.is_empty() {
            out.push(Output::Control(Control::Over(over).encode()));
        }
    }

    /// Drops what has ended elsewhere: this node was away for so long that it was not told, or was given it by one that was.
    pub(super) fn hear_over<S: Store>(&mut self, over: &[Over], wall: Wall, node: &Node<'_, S>) {
        self.receiver.drop_ended(over, node.store, wall);
    }
}
