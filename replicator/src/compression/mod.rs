//! Batches made shorter on the wire, with zstd and a dictionary that the sender trains from what it sends.
//!
//! ```text
//!  stream = 0 · batch                   plain
//!         | 1 · zstd frame of a batch   its header names the size, and the dictionary if one is needed
//! ```
//! Batches are small and arrive in any order, so none can lean on the one before it: what they have in common is in the
//! dictionary. It crosses on the control stream, and is used once the peer has said that it holds it.
//!
//! It deliberately does not know what a batch says, nor which links are allowed this encoding: that is agreed on as the
//! connection opens.

mod decoder;
mod dictionary;
mod encoder;
#[cfg(test)]
mod tests;

pub use self::{decoder::Decoder, encoder::Encoder};

/// What a sender does to batches. Every node reads both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// They are sent as they are.
    #[default]
    None,
    /// They are compressed where that pays.
    Zstd,
}

/// The first byte of a stream that carries a batch.
pub(crate) const PLAIN: u8 = 0;
pub(crate) const ZSTD: u8 = 1;

/// A longer batch is sent plain: compressing it would hold up the others for more than some milliseconds. So this is
/// also the most that a compressed batch may become, whoever sent it.
pub const COMPRESSED_BATCH_BYTES_MAX: usize = 1024 * 1024;

/// The longest dictionary that is accepted. Those that are trained are shorter.
pub const DICTIONARY_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a peer that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// A stream without its first byte.
    #[error("a batch without its encoding")]
    Empty,
    /// A first byte of no meaning.
    #[error("batch of encoding {0}, expected {PLAIN} (plain) or {ZSTD} (zstd)")]
    Encoding(u8),
    /// A compressed batch that does not say how long it becomes.
    #[error("compressed batch of unknown size")]
    SizeUnknown,
    /// A compressed batch that becomes too long.
    #[error("compressed batch of {bytes} bytes once expanded, expected at most {limit}")]
    TooLarge {
        /// What it says that it becomes.
        bytes: u64,
        /// The limit.
        limit: usize,
    },
    /// A batch that needs a dictionary which was never sent, or long ago.
    #[error("batch needs dictionary {needed}, held are {held:?}")]
    DictionaryUnknown {
        /// Its number.
        needed: u32,
        /// Those that are held.
        held: Vec<u32>,
    },
    /// Not a dictionary.
    #[error("dictionary of {bytes} bytes cannot be used")]
    DictionaryUnusable {
        /// Its length.
        bytes: usize,
    },
    /// The peer says that it holds a dictionary which was not sent to it.
    #[error("the peer holds dictionary {confirmed}, which is not the one on offer")]
    DictionaryNotOffered {
        /// The number that the peer says.
        confirmed: u32,
    },
    /// Anything else that zstd does not accept.
    #[error("compressed batch is damaged: {0}")]
    Damaged(&'static str),
}
