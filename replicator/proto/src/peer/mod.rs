//! The session with one other node, split by phase: [`handshake`], sending, receiving, [`stability`].
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

mod build;
pub mod handshake;
mod receive;
mod send;
pub mod stability;
mod window;

use std::time::Duration;

use parking_lot::Mutex;

pub use self::{
    build::Builder,
    receive::{ReceiveStats, Violation},
    send::SendStats,
    window::WindowLimits,
};
use self::{
    handshake::{Expected, Identity, Refusal},
    receive::Receiver,
    send::Sender,
    stability::Stability,
};
use crate::{
    log::{Log, PeerIndex},
    store::Store,
    time::{Time, Wall},
    wire::control::{Control, Hello, Watermark},
};

/// Acknowledgements that are sent without waiting for more.
const ACKS_AT_ONCE: usize = 16;

/// Limits and intervals of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// About how large a batch gets, in bytes. A single larger entry travels alone.
    pub batch_bytes: usize,
    /// How long after a batch the next one is sent, so that updates have company. An idle link sends at once.
    pub flush_interval: Duration,
    /// Bounds of what is in flight.
    pub window: WindowLimits,
    /// How long an acknowledgement waits for company.
    pub ack_delay: Duration,
    /// How often a node says how far time has come.
    pub watermark_interval: Duration,
    /// How long a new link may stay without a hello.
    pub hello_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_bytes: 64 * 1024,
            flush_interval: Duration::from_micros(750),
            window: WindowLimits {
                min_bytes: 1024 * 1024,
                max_bytes: 64 * 1024 * 1024,
            },
            ack_delay: Duration::from_millis(5),
            watermark_interval: Duration::from_millis(250),
            hello_timeout: Duration::from_secs(5),
        }
    }
}

/// What all sessions of a node share.
#[derive(Debug)]
pub struct Node<'a, S> {
    /// Who we are.
    pub identity: &'a Identity,
    /// Our writes.
    pub log: &'a Log,
    /// Our keyspace.
    pub store: &'a S,
    /// What every region has heard.
    pub stability: &'a Stability,
    /// Builds batches for all of them.
    pub builder: &'a Mutex<Builder>,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A link is up; nothing was said on it yet.
    Connected,
    /// A control frame arrived.
    Control(&'a [u8]),
    /// A batch arrived.
    Batch(&'a [u8]),
    /// The link is gone.
    Disconnected,
    /// Time passed, or the log was appended to.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a control frame.
    Control(Vec<u8>),
    /// Send a batch on a stream of its own.
    Batch(Vec<u8>),
    /// Both sides agree upon the link: updates flow.
    Established,
    /// Close the link and wait before dialing again; the text says why.
    Close(String),
}

/// What a [`Peer`] asks for, in order.
pub type Outbox = Vec<Output>;

/// Where a session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// No link.
    Down,
    /// A link without an agreement yet.
    Handshaking,
    /// Updates flow.
    Up,
    /// The last link was refused, by us or by the peer; the text says why.
    Refused(String),
}

/// What a session looks like from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Where it stands.
    pub state: State,
    /// Start of the peer's process in milliseconds since the Unix epoch; zero before the first hello.
    pub incarnation: u64,
    /// Records that the peer has not acknowledged.
    pub lag_updates: u64,
    /// Age of the oldest of them, in milliseconds.
    pub lag_ms: u64,
    /// Bytes of unacknowledged batches.
    pub in_flight_bytes: u64,
    /// How many there may be.
    pub window_bytes: u64,
    /// Whether a sweep over the keyspace is under way.
    pub is_sweeping: bool,
    /// Times that the session was established.
    pub connects: u64,
    /// Counters of the sending half.
    pub sent: SendStats,
    /// Counters of the receiving half.
    pub received: ReceiveStats,
}

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
            sender: Sender::new(index, limits, now),
            receiver: Receiver::default(),
        }
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

    /// Takes in what happened and appends what is to be done to `out`.
    pub fn handle<S: Store>(
        &mut self,
        now: Time,
        wall: Wall,
        input: Input<'_>,
        node: &Node<'_, S>,
        out: &mut Outbox,
    ) {
        let result = match input {
            Input::Connected => {
                self.connect(now, wall, node, out);
                Ok(())
            }
            Input::Control(bytes) => self.hear(now, wall, bytes, node, out),
            Input::Batch(bytes) if self.state == State::Up => self
                .receiver
                .receive(bytes, node.log.clock(), node.store, now, wall)
                .map(|()| self.settle(wall, node))
                .map_err(|violation| violation.to_string()),
            Input::Batch(_) if self.state == State::Handshaking => {
                Err("a batch arrived before the hello".to_owned())
            }
            // What still arrives on a link that was given up.
            Input::Batch(_) => Ok(()),
            Input::Disconnected => {
                self.disconnect();
                Ok(())
            }
            Input::Tick => Ok(()),
        };
        if let Err(reason) = result {
            self.refuse(reason, out);
        }
        self.proceed(now, wall, node, out);
    }

    /// Counters of the sending half.
    #[must_use]
    pub fn sent(&self) -> &SendStats {
        &self.sender.stats
    }

    /// Whether the session must be told of the next append to the log. Otherwise it looks by itself at its deadline.
    #[must_use]
    pub fn awaits_append(&self) -> bool {
        self.state == State::Up && self.sender.is_idle()
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
        let hello = node.identity.hello(wall, self.receiver.resume_point());
        out.push(Output::Control(Control::Hello(hello).encode()));
    }

    fn disconnect(&mut self) {
        if !matches!(self.state, State::Refused(_)) {
            self.state = State::Down;
        }
        self.sender.disconnect();
        self.receiver.disconnect();
    }

    fn refuse(&mut self, reason: String, out: &mut Outbox) {
        self.disconnect();
        self.state = State::Refused(reason.clone());
        out.push(Output::Control(Control::Refuse(reason.clone()).encode()));
        out.push(Output::Close(reason));
    }

    /// Takes in a control frame. The error says why the link must be refused.
    fn hear<S: Store>(
        &mut self,
        now: Time,
        wall: Wall,
        bytes: &[u8],
        node: &Node<'_, S>,
        out: &mut Outbox,
    ) -> Result<(), String> {
        if matches!(self.state, State::Down | State::Refused(_)) {
            return Ok(());
        }
        match Control::decode(bytes).map_err(|error| error.to_string())? {
            Control::Hello(hello) if self.state == State::Handshaking => {
                self.agree(now, wall, &hello, node)
                    .map_err(|refusal| refusal.to_string())?;
                out.push(Output::Control(Control::Ready.encode()));
                Ok(())
            }
            Control::Ready if self.state == State::Up => {
                if self.sender.start() {
                    out.push(Output::Established);
                }
                Ok(())
            }
            Control::Refuse(reason) => {
                let reason = format!(
                    "refused by {}; in its words: {reason:?}",
                    self.expected.region
                );
                self.disconnect();
                self.state = State::Refused(reason.clone());
                out.push(Output::Close(reason));
                Ok(())
            }
            Control::Ack(ids) if self.state == State::Up => {
                ids.into_iter()
                    .for_each(|id| self.sender.acknowledge(id, node.log, now));
                Ok(())
            }
            Control::Watermark(watermark) if self.state == State::Up => {
                node.log
                    .clock()
                    .observe(watermark.stamp, wall)
                    .map_err(|skew| skew.to_string())?;
                self.receiver.hear(watermark);
                self.settle(wall, node);
                Ok(())
            }
            Control::Hello(_) | Control::Ready | Control::Ack(_) | Control::Watermark(_) => {
                Err("a control frame arrived out of turn".to_owned())
            }
        }
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
        let is_new = hello.incarnation != self.receiver.incarnation();
        let ours = node.identity.incarnation;
        self.sender
            .resume(&hello.resume, is_new, ours, node.log, now)?;
        self.receiver.connect(hello.incarnation);
        self.next_watermark = now;
        self.connects += 1;
        self.state = State::Up;
        Ok(())
    }

    /// Counts the peer's word once everything before it is here.
    fn settle<S: Store>(&mut self, wall: Wall, node: &Node<'_, S>) {
        while let Some(word) = self.receiver.accepted_word() {
            node.stability.accept(self.index, &word);
            node.store
                .settle(node.stability.settled(node.log.clock().stamp(wall)));
        }
    }

    /// Does what is due.
    fn proceed<S: Store>(&mut self, now: Time, wall: Wall, node: &Node<'_, S>, out: &mut Outbox) {
        match self.state {
            State::Down | State::Refused(_) => return,
            State::Handshaking if now >= self.hello_due => {
                return self.refuse(
                    format!("no hello within {:?}", self.limits.hello_timeout),
                    out,
                );
            }
            State::Handshaking => return,
            State::Up => {}
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
        if now >= self.next_watermark {
            // A peer that lacks what only a sweep brings must not count as having heard everything.
            if !self.sender.is_sweeping() {
                let (heads, stamp) = node.log.watermark(wall);
                let holds = node.stability.holds(stamp);
                let watermark = Watermark {
                    heads,
                    stamp,
                    holds,
                };
                out.push(Output::Control(Control::Watermark(watermark).encode()));
            }
            self.next_watermark = now + self.limits.watermark_interval;
        }
    }

    /// What the session looks like from outside.
    #[must_use]
    pub fn report(&self, log: &Log, wall: Wall) -> Report {
        let mut lag_updates = 0;
        let mut oldest = None;
        for (lane, applied) in self.sender.applied() {
            lag_updates += log.head(lane) - applied.min(log.head(lane));
            let stamp = log.stamp_after(lane, applied);
            oldest = stamp.into_iter().chain(oldest).min();
        }
        let lag = oldest.map_or(Duration::ZERO, |stamp| wall - stamp.wall());
        Report {
            state: self.state.clone(),
            incarnation: self.receiver.incarnation(),
            lag_updates,
            lag_ms: u64::try_from(lag.as_millis()).unwrap_or(u64::MAX),
            in_flight_bytes: self.sender.in_flight_bytes(),
            window_bytes: self.sender.window_bytes(),
            is_sweeping: self.sender.is_sweeping(),
            connects: self.connects,
            sent: self.sender.stats,
            received: self.receiver.stats,
        }
    }
}
