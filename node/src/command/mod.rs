//! Commands: a table of rows, each with what Redis says about it and the function that runs it.
//!
//! ```text
//!   request ─▶ dispatch: row? arity? authenticated? allowed here? ─▶ run(context, request) ─▶ reply
//!                                                              └───▶ queue of MULTI ─▶ EXEC
//! ```
//!
//! A family of commands is one file with a list of rows; [`table`] holds the families. Knows the keyspace, the client
//! that asks and the server's shared state; does not know sockets.

mod client;
mod config;
mod connection;
mod counter;
mod dispatch;
mod docs;
mod error;
mod expiry;
mod flags;
mod generic;
pub(crate) mod glob;
mod help;
mod hints;
mod info;
mod introspection;
mod lcs;
mod object;
mod options;
mod parse;
pub(crate) mod pubsub;
mod range;
mod replication;
mod rows;
mod scan;
mod string;
pub mod table;
mod transaction;
mod unit_size;

use greenwich_proto::time::Wall;

pub use self::{dispatch::execute, error::CommandError, flags::Flags};
use crate::{
    client::{Client, Replies},
    keyspace::Access,
    resp::{Reply, Request},
    server::Server,
};

/// The function behind a command. Writes its one reply; what it wrote is dropped when it fails.
pub type Run = fn(&mut Context<'_, '_>, Request<'_>) -> Result<(), CommandError>;

/// One row of the table, a command or a subcommand.
#[derive(Debug)]
pub struct Command {
    /// In lower case; of a subcommand, without its command.
    pub name: &'static str,
    /// Number of arguments, names included; when negative, at least as many.
    pub arity: i32,
    /// What is true of it.
    pub flags: Flags,
    /// Which arguments are keys.
    pub keys: Keys,
    /// What it is about.
    pub group: Group,
    /// The version of Redis that brought it.
    pub since: &'static str,
    /// One sentence without its full stop.
    pub summary: &'static str,
    /// Its subcommands. A command that has some is never run itself when one of them is named.
    pub subcommands: &'static [Self],
    /// Runs it. The request is the whole one, names included.
    pub run: Run,
}

impl Command {
    /// Whether a request of `len` arguments fits.
    #[inline]
    #[must_use]
    pub fn accepts(&self, len: usize) -> bool {
        let wanted = self.arity.unsigned_abs() as usize;
        if self.arity < 0 {
            len >= wanted
        } else {
            len == wanted
        }
    }

    /// The keys of a request, in their order.
    pub fn keys_of<'a>(&self, request: Request<'a>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let Keys { first, last, step } = self.keys;
        let len = i32::try_from(request.len()).unwrap_or(i32::MAX);
        let last = if last < 0 {
            len + last
        } else {
            last.min(len - 1)
        };
        // Without a first key, every argument is behind the last one.
        let last = if first == 0 { -1 } else { last };
        (first..=last)
            .step_by(usize::try_from(step.max(1)).unwrap_or(1))
            .filter_map(move |at| request.get(usize::try_from(at).ok()?))
    }
}

/// Which arguments of a request are keys, as COMMAND INFO shows it; all zero: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// The first.
    pub first: i32,
    /// The last; when negative, from the end.
    pub last: i32,
    /// From one to the next.
    pub step: i32,
}

impl Keys {
    /// No argument.
    pub const NONE: Self = Self::new(0, 0, 0);
    /// The argument behind the command's name.
    pub const FIRST: Self = Self::new(1, 1, 1);
    /// Every argument.
    pub const ALL: Self = Self::new(1, -1, 1);

    /// Every `step`th from `first` to `last`.
    #[must_use]
    pub const fn new(first: i32, last: i32, step: i32) -> Self {
        Self { first, last, step }
    }
}

/// What a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Connection,
    Generic,
    Pubsub,
    Server,
    String,
    Transactions,
}

impl Group {
    /// The name that COMMAND DOCS shows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Generic => "generic",
            Self::Pubsub => "pubsub",
            Self::Server => "server",
            Self::String => "string",
            Self::Transactions => "transactions",
        }
    }
}

/// What a command works with.
#[derive(Debug)]
pub struct Context<'a, 'k> {
    /// The keys.
    pub access: &'a mut Access<'k>,
    /// The connection that asks.
    pub client: &'a mut Client,
    /// What all connections share.
    pub server: &'a Server,
    /// Where the reply goes.
    pub reply: &'a mut Reply,
}

impl Context<'_, '_> {
    /// The time at which the command runs.
    #[must_use]
    pub fn now(&self) -> Wall {
        self.access.now()
    }

    /// What is written so far reaches the client however few replies it wants: messages of channels and what confirms
    /// a subscription are no replies, and CLIENT REPLY within EXEC decides about what follows it.
    pub fn tell(&mut self) {
        if self.client.replies != Replies::ALL {
            self.client.told = self.reply.len();
        }
    }

    /// For commands that reply with many values: call it between them.
    ///
    /// # Errors
    /// When more would wait for the client than any client may have waiting.
    pub fn check_reply_size(&self) -> Result<(), CommandError> {
        if self.reply.len() > self.server.limits.reply_bytes_max {
            return Err(CommandError::ReplyTooLong);
        }
        Ok(())
    }
}
