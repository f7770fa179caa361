//! The session with one other node, split by phase: [`handshake`], sending, receiving, sweeping.
//!
//! A [`Peer`] lives as long as the node and outlasts its links. Whoever drives it tells it what happened and performs
//! what it asks for:
//!
//! ```text
//!             ┌─ Connected, Control, Batch, Disconnected, Tick ─▶ Peer::handle ─▶ Outbox: Control, Batch, Close
//!  driver ────┤
//!             └─ sleeps until Peer::deadline, the log is appended to, or something arrives
//! ```
//!
//! A batch travels alone and is applied on arrival, in any order; a lost packet delays only the updates that it carried.

mod answer;
mod apart;
mod build;
mod compare;
mod descent;
mod differences;
mod field;
mod findings;
mod glimpse;
mod groups;
pub mod handshake;
mod hear;
mod hearsay;
mod interface;
mod lead;
mod lists;
mod membership;
mod push;
mod receive;
mod relayed;
mod repair;
mod send;
mod sketch;
mod sweep;
mod window;
mod young;

use std::time::Duration;

pub use self::{
    build::Builder,
    compare::Compares,
    differences::{DIFFERENCE_KEY_BYTES_MAX, DIFFERENCES_MAX, Difference, Held},
    interface::{Input, Limits, Node, Outbox, Output, Report, State},
    receive::{ReceiveStats, Violation},
    relayed::Relayed,
    send::SendStats,
    window::WindowLimits,
};
use self::{
    compare::Comparison,
    handshake::{Expected, TurnedAway},
    lead::Lead,
    membership::Membership,
    receive::{Moment, Receiver},
    send::Sender,
};
use crate::{
    lives::Lives,
    log::{Log, PeerIndex},
    store::Store,
    time::{Time, Wall},
    wire::{
        WIRE_CLOCKS, WIRE_REPAIR,
        control::{Control, Hearsay, Watermark},
    },
};

const OUT_OF_TURN: &str = "a control frame arrived out of turn";

/// Words of time that a peer has not sent after which it counts as silent. The link may be gone, which the transport notices
/// later; what the peer writes meanwhile comes by comparisons with others, which do not wait for it then.
const WORDS_MISSED: u32 = 3;

/// Acknowledgements that are sent without waiting for more.
const ACKS_AT_ONCE: usize = 16;

/// The session with one other node.
#[derive(Debug)]
pub struct Peer {
    index: PeerIndex,
    expected: Expected,
    limits: Limits,
    state: State,
    hello_due: Time,
    next_watermark: Time,
    connects: u64,
    /// The wire version that both sides speak.
    wire: u32,
    /// Whether the peer was asked for everything on this link.
    has_asked: bool,
    /// About how many keys the peer holds, as it said when it was asked for them.
    keys_told: Option<u64>,
    comparison: Comparison,
    /// What the peer had heard of others when it sent its last part of a comparison.
    hearsay: Option<Hearsay>,
    /// What repairs had changed here at the last look.
    repaired: u64,
    lead: Lead,
    /// When something arrived last, and whether that is too long ago for a link that lives.
    heard_at: Time,
    is_silent: bool,
    membership: Membership,
    sender: Sender,
    receiver: Receiver,
}

impl Peer {
    /// A session that has no link yet.
    #[must_use]
    pub fn new(index: PeerIndex, expected: Expected, limits: Limits, now: Time) -> Self {
        Self {
            index,
            expected,
            limits,
            state: State::Down,
            hello_due: now,
            next_watermark: now,
            connects: 0,
            wire: 0,
            has_asked: false,
            keys_told: None,
            comparison: Comparison::default(),
            hearsay: None,
            repaired: 0,
            lead: Lead::default(),
            heard_at: now,
            is_silent: false,
            membership: Membership::default(),
            sender: Sender::new(index, limits, now),
            receiver: Receiver::default(),
        }
    }

    /// Starts over without a link, as one that has heard nothing of its peer: after a panic, nothing that it knew is
    /// certain. What it counted stays.
    pub fn reset<S>(&mut self, now: Time, node: &Node<'_, S>) {
        let mut fresh = Self::new(self.index, self.expected.clone(), self.limits, now);
        fresh.connects = self.connects;
        fresh.sender.stats = self.sender.stats;
        fresh.receiver.stats = self.receiver.stats;
        fresh.receiver.differences = std::mem::take(&mut self.receiver.differences);
        fresh.receiver.relays = std::mem::take(&mut self.receiver.relays);
        *self = fresh;
        node.lives.part(self.index);
        node.log.set_linked(self.index, false);
    }

    /// Which region the peer is.
    #[must_use]
    pub fn expected(&self) -> &Expected {
        &self.expected
    }

    /// Where the session stands.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// How often the link had come up, while it is up and something arrives over it.
    #[must_use]
    pub fn steady(&self) -> Option<u64> {
        (self.is_up() && !self.is_silent).then_some(self.connects)
    }

    /// What comparisons with the peer have found.
    #[must_use]
    pub fn compares(&self) -> Compares {
        self.comparison.found
    }

    /// Takes in what happened and appends what is to be done to `out`.
    pub fn handle<S: Store>(
        &mut self,
        now: Time,
        wall: Wall,
        input: Input<'_>,
        node: &Node<'_, S>,
        out: &mut Outbox,
    ) {
        if matches!(input, Input::Control(_) | Input::Batch(_)) {
            self.heard_at = now;
        }
        let result = match input {
            Input::Connected => {
                self.connect(now, wall, node, out);
                Ok(())
            }
            Input::Control(bytes) => self.hear(now, wall, bytes, node, out),
            Input::Batch(bytes) if self.is_up() => self
                .receiver
                .receive(
                    bytes,
                    node.log.clock(),
                    node.store,
                    Moment {
                        now,
                        wall,
                        repairs: self.comparison.repairs(),
                        ends: [node.identity.origin, self.expected.origin],
                    },
                )
                .map(|()| self.settle(wall, node))
                .map_err(|violation| TurnedAway::because(&violation)),
            Input::Batch(_) if self.state == State::Handshaking => {
                Err(TurnedAway::because(&"a batch arrived before the hello"))
            }
            // What still arrives on a link that was given up.
            Input::Batch(_) => Ok(()),
            Input::Disconnected => {
                self.disconnect(node.lives);
                Ok(())
            }
            Input::Tick => Ok(()),
        };
        if let Err(turned_away) = result {
            self.refuse(turned_away, node.lives, out);
        }
        self.proceed(now, wall, node, out);
        // One over whose link nothing arrives may be dead, and hold nothing any more.
        node.log.set_linked(self.index, self.steady().is_some());
    }

    /// About how many keys the peer holds, as it said when it was asked for all on this link.
    #[must_use]
    pub fn keys_told(&self) -> Option<u64> {
        self.keys_told
    }

    /// Counters of the sending half.
    #[must_use]
    pub fn sent(&self) -> &SendStats {
        &self.sender.stats
    }

    /// Whether the session must be told of the next append to the log. Otherwise it looks by itself at its deadline.
    #[must_use]
    pub fn awaits_append(&self) -> bool {
        self.is_up() && self.sender.is_idle()
    }

    /// The link lets so many bytes be in flight on its path: what goes beyond waits in the log.
    pub fn set_path(&mut self, bytes: u64) {
        self.sender.set_path(bytes);
    }

    /// When [`Input::Tick`] is due if nothing happens before. `None` while there is no link.
    #[must_use]
    pub fn deadline(&self, log: &Log) -> Option<Time> {
        match self.state {
            State::Down | State::Refused(_) => None,
            State::Handshaking => Some(self.hello_due),
            State::Up => {
                let flush = self.sender.flush_due(log);
                let ack = self
                    .receiver
                    .acks_waiting()
                    .map(|(since, _)| since + self.limits.ack_delay);
                [flush, ack, Some(self.next_watermark)]
                    .into_iter()
                    .flatten()
                    .min()
            }
        }
    }

    fn connect<S>(&mut self, now: Time, wall: Wall, node: &Node<'_, S>, out: &mut Outbox) {
        self.state = State::Handshaking;
        self.hello_due = now + self.limits.hello_timeout;
        (self.heard_at, self.is_silent) = (now, false);
        let hello = node.identity.hello(wall, self.receiver.resume_point());
        out.push(Output::Control(Control::Hello(hello).encode()));
    }

    fn disconnect(&mut self, lives: &Lives) {
        lives.part(self.index);
        if !matches!(self.state, State::Refused(_)) {
            self.state = State::Down;
        }
        self.sender.disconnect();
        self.receiver.disconnect();
        self.comparison.disconnect();
        self.hearsay = None;
        self.membership.disconnect();
    }

    fn refuse(&mut self, turned_away: TurnedAway, lives: &Lives, out: &mut Outbox) {
        let reason = turned_away.reason.clone();
        self.disconnect(lives);
        self.state = State::Refused(reason.clone());
        out.push(Output::Control(Control::Refuse(reason).encode()));
        out.push(Output::Close(turned_away));
    }

    /// Counts the peer's word once everything before it is here.
    fn settle<S: Store>(&mut self, wall: Wall, node: &Node<'_, S>) {
        while let Some(word) = self.receiver.accepted_word() {
            node.lives.accept(self.index, &word);
            node.store
                .settle(node.lives.settled(node.log.clock().stamp(wall)));
        }
    }

    /// Does what is due.
    fn proceed<S: Store>(&mut self, now: Time, wall: Wall, node: &Node<'_, S>, out: &mut Outbox) {
        match self.state {
            State::Down | State::Refused(_) => return,
            State::Handshaking if now >= self.hello_due => {
                let reason = format!("no hello within {:?}", self.limits.hello_timeout);
                return self.refuse(reason.into(), node.lives, out);
            }
            State::Handshaking => return,
            State::Up => {}
        }
        let told = self.tell_members(node, out);
        let admitted = told.and_then(|()| handshake::check_folded(self.wire, node.store));
        if let Err(refusal) = admitted {
            return self.refuse(refusal.into(), node.lives, out);
        }
        let outputs = out.len();
        self.sender
            .fill(now, node, &mut |batch| out.push(Output::Batch(batch)));
        // Beside a batch they cost a few bytes, alone a packet.
        let has_company = out.len() > outputs;
        let delay = match has_company {
            true => self.limits.ack_delay / 2,
            false => self.limits.ack_delay,
        };
        if let Some((since, count)) = self.receiver.acks_waiting()
            && (count >= ACKS_AT_ONCE || now >= since + delay)
        {
            out.push(Output::Control(
                Control::Ack(self.receiver.take_acks()).encode(),
            ));
        }
        self.note_silence(now, node.lives);
        if self.repairs() {
            self.repair(wall, node, out);
        }
        if now >= self.next_watermark {
            self.tell_time(wall, node, out);
            if self.wire >= WIRE_CLOCKS {
                out.push(Output::Control(Control::Clock(wall).encode()));
            }
            self.next_watermark = now + self.limits.watermark_interval;
        }
    }

    fn note_silence(&mut self, now: Time, lives: &Lives) {
        let is_silent = now.since(self.heard_at) > self.limits.watermark_interval * WORDS_MISSED;
        if is_silent != std::mem::replace(&mut self.is_silent, is_silent) {
            lives.fall_silent(self.index, is_silent);
        }
    }

    /// Whether the peer asks for what it lacks, and compares what it holds.
    fn repairs(&self) -> bool {
        self.wire >= WIRE_REPAIR
    }

    /// Tells the peer how far time has come here.
    fn tell_time<S>(&self, wall: Wall, node: &Node<'_, S>, out: &mut Outbox) {
        if !self.repairs() && self.sender.is_sweeping() {
            // A peer that does not know that it lacks something must not count as having heard everything.
            return;
        }
        let (heads, stamp) = node.log.watermark(wall);
        let holds = node.lives.holds(stamp);
        let watermark = Watermark {
            heads,
            stamp,
            holds,
        };
        out.push(Output::Control(Control::Watermark(watermark).encode()));
    }

    /// What the session looks like from outside.
    #[must_use]
    pub fn report(&self, log: &Log, wall: Wall) -> Report {
        let mut lag_updates = 0;
        let mut oldest = None;
        for (lane, applied) in self.sender.applied() {
            lag_updates += log.count_after(lane, applied);
            let stamp = log.stamp_after(lane, applied);
            oldest = stamp.into_iter().chain(oldest).min();
        }
        let lag = oldest.map_or(Duration::ZERO, |stamp| wall - stamp.wall());
        Report {
            state: self.state.clone(),
            is_silent: self.is_up() && self.is_silent,
            incarnation: self.receiver.incarnation(),
            lag_updates,
            lag_ms: u64::try_from(lag.as_millis()).unwrap_or(u64::MAX),
            in_flight_bytes: self.sender.in_flight_bytes(),
            window_bytes: self.sender.window_bytes(),
            is_sweeping: self.sender.is_sweeping(),
            compares: self.comparison.found,
            differences: self.receiver.differences.recent(),
            connects: self.connects,
            clock_lead_ms: self.lead.ms(),
            relayed: self.receiver.relays.all(),
            sent: self.sender.stats,
            received: self.receiver.stats,
        }
    }
}
