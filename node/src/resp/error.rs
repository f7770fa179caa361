//! The ways in which request bytes can be wrong. Every one ends the connection after its reply.

use thiserror::Error;

/// A request that cannot be read. The texts are those of redis-server 7, without the `ERR ` code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// `*N` is no integer or more than [`args_max`](super::Limits::args_max).
    #[error("Protocol error: invalid multibulk length")]
    InvalidMultibulkLength,
    /// `$N` is no integer, negative, or more than [`bulk_bytes_max`](super::Limits::bulk_bytes_max).
    #[error("Protocol error: invalid bulk length")]
    InvalidBulkLength,
    /// An argument does not start with `$`; holds the byte that it starts with.
    #[error("Protocol error: expected '$', got '{}'", char::from(*.0))]
    ExpectedBulk(u8),
    /// An inline request with an open quote, or with a closing quote in the middle of a word.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// No line end within [`inline_bytes_max`](super::Limits::inline_bytes_max) after `*`.
    #[error("Protocol error: too big mbulk count string")]
    TooBigMultibulkCount,
    /// No line end within [`inline_bytes_max`](super::Limits::inline_bytes_max) after `$`.
    #[error("Protocol error: too big bulk count string")]
    TooBigBulkCount,
    /// No line end within [`inline_bytes_max`](super::Limits::inline_bytes_max).
    #[error("Protocol error: too big inline request")]
    TooBigInline,
    /// More arguments than a client may send before it has authenticated.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// A longer argument than a client may send before it has authenticated.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// The request would exceed [`request_bytes_max`](super::Limits::request_bytes_max).
    /// redis-server has no text for this: it closes the connection without a reply.
    #[error("Protocol error: too big request")]
    TooBigRequest,
}
