//! How many files the process may have open, and how many of them clients may take: a connection is a file.
//!
//! The rest is kept back, so that a node full of clients still accepts one more, to tell it so, and still answers its
//! operator and its peers.

use rustix::{
    io,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use crate::{admin, config::Config};

/// Standard streams, the lock of the data directory, the log, what is read now and then (`/proc`, certificates).
const OF_PROCESS: usize = 32;
/// A listener, what its runtime waits with, and the connection that is refused.
const OF_THREAD: usize = 8;
/// Sockets and timers of a link, and of the emulation in front of it.
const OF_PEER: usize = 4;

/// Files that the process may have open.
#[must_use]
pub fn limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

/// Raises the limit as far as a process may raise it by itself.
///
/// # Errors
/// When the system refuses.
pub fn raise_limit() -> io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return Ok(());
    }
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )
}

/// Files that are not for clients.
#[must_use]
pub fn reserve(config: &Config) -> usize {
    OF_PROCESS
        + admin::CONNECTIONS_MAX
        + OF_THREAD * config.client.thread_count()
        + OF_PEER * config.replication.peers.len()
}

/// Clients that the limit allows.
#[must_use]
pub fn clients_possible(config: &Config) -> usize {
    limit().saturating_sub(reserve(config))
}
