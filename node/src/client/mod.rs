//! One client: what its connection remembers between commands, and the part that other connections see.
//!
//! Knows no sockets; the connection's task owns the [`Client`] and everybody may hold its [`Handle`].

mod handle;
mod registry;
mod transaction;

use std::{collections::HashSet, sync::Arc, time::Duration};

use greenwich_proto::log::Marks;

pub use self::{
    handle::{Handle, Labels},
    registry::Clients,
    transaction::{Queued, Transaction, Watched},
};
use crate::keyspace::{Lookups, Usage};

/// The state of one connection.
#[derive(Debug)]
pub struct Client {
    /// What others see.
    pub handle: Arc<Handle>,
    /// Whether it gave the password, or none was asked for when it connected.
    pub is_authenticated: bool,
    /// Which replies it wants.
    pub replies: Replies,
    /// When it does not want all: where that part of the running command's reply ends that it gets nevertheless.
    pub told: usize,
    /// The transaction since MULTI.
    pub transaction: Option<Box<Transaction>>,
    /// The keys since WATCH.
    pub watched: Vec<Watched>,
    /// Channels that it is subscribed to.
    pub channels: HashSet<Box<[u8]>>,
    /// Patterns that it is subscribed to.
    pub patterns: HashSet<Box<[u8]>>,
    /// Set by WAIT: what the connection waits for before it goes on.
    pub wait: Option<Wait>,
    /// Where its writes stood in the log before this command; only for commands with the flag `MARKS`.
    pub marks: Marks,
    /// Whether EXEC is running its commands.
    pub is_executing: bool,
    /// How full the keyspace was when EXEC began, if one of its commands asks.
    pub usage: Option<Usage>,
    /// What its commands found since the connection was last counted.
    pub lookups: Lookups,
    /// Errors that it was answered since then.
    pub errors: u64,
    /// Set by QUIT and its like: close when the replies are written.
    pub is_leaving: bool,
}

impl Client {
    /// A client that has just connected.
    #[must_use]
    pub fn new(handle: Arc<Handle>, is_authenticated: bool) -> Self {
        Self {
            handle,
            is_authenticated,
            replies: Replies::ALL,
            told: 0,
            transaction: None,
            watched: Vec::new(),
            channels: HashSet::new(),
            patterns: HashSet::new(),
            wait: None,
            marks: Marks::default(),
            is_executing: false,
            usage: None,
            lookups: Lookups::default(),
            errors: 0,
            is_leaving: false,
        }
    }

    /// Channels and patterns that it is subscribed to.
    #[inline]
    #[must_use]
    pub fn subscription_count(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }
}

/// Which replies a client wants, as CLIENT REPLY said: the three properties that redis-server keeps, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replies(u8);

impl Replies {
    /// All of them.
    pub const ALL: Self = Self(0);
    /// None.
    const OFF: u8 = 1;
    /// None to the running command.
    const SKIP: u8 = 1 << 1;
    /// None to the command after the running one.
    const SKIP_NEXT: u8 = 1 << 2;

    /// CLIENT REPLY ON.
    pub fn turn_on(&mut self) {
        self.0 &= !(Self::OFF | Self::SKIP);
    }

    /// CLIENT REPLY OFF.
    pub fn turn_off(&mut self) {
        self.0 |= Self::OFF;
    }

    /// CLIENT REPLY SKIP.
    pub fn skip_next(&mut self) {
        if self.0 & Self::OFF == 0 {
            self.0 |= Self::SKIP_NEXT;
        }
    }

    /// RESET, whose own reply may be one that is skipped.
    pub fn reset(&mut self) {
        self.0 &= Self::SKIP;
    }

    /// The next command runs.
    pub fn go_on(&mut self) {
        let skips = self.0 & Self::SKIP_NEXT != 0;
        self.0 = self.0 & Self::OFF | if skips { Self::SKIP } else { 0 };
    }

    /// Whether the replies of the running command are dropped.
    #[must_use]
    pub fn are_dropped(self) -> bool {
        self.0 & (Self::OFF | Self::SKIP) != 0
    }
}

/// What WAIT waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Regions that have applied the client's writes.
    pub regions: usize,
    /// How long at most; `None` for as long as it takes.
    pub time_max: Option<Duration>,
    /// Whether the client wants no reply.
    pub is_silent: bool,
}

/// Why a connection ends that its client did not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Doom {
    /// CLIENT KILL.
    Killed = 1,
    /// Too many messages wait for it, or too long a reply.
    OutputLimit = 2,
    /// The node stops.
    Shutdown = 3,
    /// It sent nothing for longer than a client may.
    Idle = 4,
}

impl Doom {
    const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Killed),
            2 => Some(Self::OutputLimit),
            3 => Some(Self::Shutdown),
            4 => Some(Self::Idle),
            _ => None,
        }
    }
}
