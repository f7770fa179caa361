//! What a client has queued since MULTI, and what it watches.

use crate::{command::table::Row, resp::RequestBuf};

/// A transaction that is being queued takes no further command beyond this many bytes.
const QUEUE_BYTES_MAX: usize = 64 << 20;

/// The commands since MULTI.
#[derive(Debug, Default)]
pub struct Transaction {
    commands: Vec<Queued>,
    bytes: usize,
    is_aborted: bool,
}

/// One command that waits for EXEC.
#[derive(Debug)]
pub struct Queued {
    /// What runs.
    pub row: &'static Row,
    /// With what.
    pub request: RequestBuf,
}

/// A key since WATCH. A key that was absent, was written and is absent again counts as unchanged.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The key.
    pub key: Box<[u8]>,
    /// The fingerprint of what it was; `None` for an absent key.
    pub was: Option<u64>,
}

impl Transaction {
    /// Whether there is room for another command. An aborted transaction keeps nothing and always has room.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.bytes <= QUEUE_BYTES_MAX
    }

    /// Adds a command.
    pub fn push(&mut self, queued: Queued) {
        if !self.is_aborted {
            self.bytes += queued.request.memory_bytes() + size_of::<Queued>();
            self.commands.push(queued);
        }
    }

    /// A command was refused: EXEC will answer EXECABORT.
    pub fn abort(&mut self) {
        *self = Self {
            is_aborted: true,
            ..Self::default()
        };
    }

    /// Whether a command was refused.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.is_aborted
    }

    /// The commands in their order.
    #[must_use]
    pub fn commands(&self) -> &[Queued] {
        &self.commands
    }
}
