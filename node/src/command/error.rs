//! What a command answers when it cannot do what it was asked, in the words of redis-server.

use std::borrow::Cow;

use greenwich_proto::wire::batch::ITEMS_BYTES_MAX;
use thiserror::Error;

/// Why a command failed. The text is what follows the `-` of the reply.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// An argument or a value should be a 64-bit integer.
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    /// An argument or a value should be a number.
    #[error("ERR value is not a valid float")]
    NotAFloat,
    /// The options do not fit together, or one is unknown.
    #[error("ERR syntax error")]
    Syntax,
    /// Too few or too many arguments. Holds the command's name, `config|get` for a subcommand.
    #[error("ERR wrong number of arguments for '{0}' command")]
    WrongArity(Cow<'static, str>),
    /// A time to live that is not positive, or overflows. Holds the command's name.
    #[error("ERR invalid expire time in '{0}' command")]
    InvalidExpire(&'static str),
    /// The key's value is of another type.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// There is no such key.
    #[error("ERR no such key")]
    NoSuchKey,
    /// A position before the start, or too far.
    #[error("ERR offset is out of range")]
    OffsetOutOfRange,
    /// A value would be larger than any may be.
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    StringTooLong,
    /// A sum does not fit into 64 bits.
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    /// A sum is no number.
    #[error("ERR increment would produce NaN or Infinity")]
    NanOrInfinity,
    /// SELECT and its like: there is database 0 alone.
    #[error("ERR DB index is out of range")]
    DbIndex,
    /// A key is longer than [`KEY_BYTES_MAX`](greenwich_proto::entry::KEY_BYTES_MAX).
    #[error("ERR key is longer than 65535 bytes")]
    KeyTooLong,
    /// One command or transaction writes more keys than travel as one unit.
    #[error(
        "ERR too many keys in one command or transaction: at most 65535 can be written together"
    )]
    TooManyKeys,
    /// The node waits for what its peers hold.
    #[error("LOADING Redis is loading the dataset in memory")]
    Loading,
    /// The node serves nobody any more. redis-server says so of a replica that has lost its master.
    #[error(
        "MASTERDOWN another process has taken the place of this one: what is written here reaches no region"
    )]
    Superseded,
    /// The values that one command or transaction writes are more than travel as one unit.
    #[error(
        "ERR too much in one command or transaction: at most {} bytes can be written together",
        ITEMS_BYTES_MAX
    )]
    UnitTooLarge,
    /// The reply would be larger than any client may have waiting. The client is disconnected.
    #[error("ERR the reply exceeds the output buffer limit")]
    ReplyTooLong,
    /// Anything else.
    #[error("{0}")]
    Text(Cow<'static, str>),
    /// Anything else, quoting bytes that the client sent.
    #[error("{}", String::from_utf8_lossy(.0))]
    Quoted(Vec<u8>),
}

impl CommandError {
    /// A text that begins with its code.
    pub fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Text(text.into())
    }

    /// A text that quotes what the client sent, up to its first NUL: redis-server prints C strings.
    #[must_use]
    pub fn quoted(before: &str, sent: &[u8], after: &str) -> Self {
        let shown = sent.split(|byte| *byte == 0).next().unwrap_or_default();
        Self::Quoted([before.as_bytes(), shown, after.as_bytes()].concat())
    }

    /// The bytes of the reply without its marker and line end.
    #[must_use]
    pub fn message(&self) -> Cow<'_, [u8]> {
        if let Self::Quoted(bytes) = self {
            Cow::Borrowed(bytes)
        } else {
            Cow::Owned(self.to_string().into_bytes())
        }
    }
}
