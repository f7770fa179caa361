//! One record of the log, as bytes: that keys changed, or one key with the entry that it became.
//!
//! ```text
//!  record = stamp u64 · keys u16 · keys × (length u16 · bytes)          no key at all: everything was flushed
//!         | stamp u64 · 65535 u16 · length u16 · entry
//! ```
//!
//! Every key of a record has a sequence number of its own, so that a reader may stop between two of them; a flush has one
//! too. Which number a record begins with is known to the lane alone.

use crate::{
    entry::{EntryRef, layout},
    hlc::Stamp,
    wire::bytes::{Reader, Truncated},
};

/// The largest entry that a record carries. A larger one is looked up when it is sent, and then only once.
pub const CARRIED_BYTES_MAX: usize = 1024;

/// Bytes before the keys.
pub(super) const HEADER_BYTES: usize = 10;

/// Instead of a number of keys: the record carries an entry.
const CARRIES_ENTRY: u16 = u16::MAX;

/// One record, borrowed from its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// When the keys changed. A key that changed again before anybody read of it did so later, too.
    pub stamp: Stamp,
    /// The number of its first key.
    pub first: u64,
    /// What changed.
    pub change: Change<'a>,
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Keys that changed together. None at all: everything was flushed.
    Keys(KeyList<'a>),
    /// One key, with the encoded entry that it became.
    Entry(&'a [u8]),
}

/// Keys that changed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyList<'a> {
    count: u16,
    bytes: &'a [u8],
}

impl<'a> KeyList<'a> {
    /// The keys, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        std::iter::from_fn(move || {
            let len = reader.u16().ok()?;
            reader.take(usize::from(len)).ok()
        })
    }
}

impl<'a> Record<'a> {
    /// The last of its numbers.
    #[must_use]
    pub fn last(&self) -> u64 {
        let keys = match self.change {
            Change::Keys(list) => list.count.max(1),
            Change::Entry(_) => 1,
        };
        self.first + u64::from(keys) - 1
    }

    /// Reads the record that begins with the number `first`.
    pub(super) fn read(first: u64, reader: &mut Reader<'a>) -> Result<Self, Truncated> {
        let stamp = Stamp(reader.u64()?);
        let count = reader.u16()?;
        let change = if count == CARRIES_ENTRY {
            let len = reader.u16()?;
            Change::Entry(reader.take(usize::from(len))?)
        } else {
            let rest = reader.rest();
            for _ in 0..count {
                let len = reader.u16()?;
                reader.take(usize::from(len))?;
            }
            let bytes = &rest[..rest.len() - reader.rest().len()];
            Change::Keys(KeyList { count, bytes })
        };
        Ok(Self {
            stamp,
            first,
            change,
        })
    }
}

/// The size of a record of keys.
pub(super) fn keys_len<'a>(keys: impl Iterator<Item = &'a [u8]>) -> usize {
    HEADER_BYTES + keys.map(|key| 2 + key.len()).sum::<usize>()
}

/// Writes a record of keys. Returns how many there are.
pub(super) fn put_keys<'a>(
    stamp: Stamp,
    keys: impl Iterator<Item = &'a [u8]> + Clone,
    out: &mut Vec<u8>,
) -> u16 {
    let count = u16::try_from(keys.clone().count()).expect("units are limited to as many keys");
    assert!(count < CARRIES_ENTRY, "units are limited to as many keys");
    put_header(stamp, count, out);
    for key in keys {
        put_len(key.len(), out);
        out.extend_from_slice(key);
    }
    count
}

/// The size of a record of one key.
pub(super) const fn key_len(key: &[u8]) -> usize {
    HEADER_BYTES + 2 + key.len()
}

/// Writes a record of one key.
pub(super) fn put_key(stamp: Stamp, key: &[u8], out: &mut Vec<u8>) {
    let len = u16::try_from(key.len()).expect("keys are checked where they come in");
    let mut header = [0; HEADER_BYTES + 2];
    header[..8].copy_from_slice(&stamp.0.to_le_bytes());
    header[8..10].copy_from_slice(&1u16.to_le_bytes());
    header[10..].copy_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(key);
}

/// The size of a record that carries an entry of `len` bytes.
pub(super) const fn entry_len(len: usize) -> usize {
    HEADER_BYTES + 2 + len
}

/// Writes a record that carries an entry of `len` bytes.
pub(super) fn put_entry(stamp: Stamp, entry: &EntryRef<'_>, len: usize, out: &mut Vec<u8>) {
    put_header(stamp, CARRIES_ENTRY, out);
    put_len(len, out);
    layout::encode(entry, out);
}

fn put_header(stamp: Stamp, count: u16, out: &mut Vec<u8>) {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&stamp.0.to_le_bytes());
    header[8..].copy_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&header);
}

fn put_len(len: usize, out: &mut Vec<u8>) {
    let len = u16::try_from(len).expect("keys and carried entries are small");
    out.extend_from_slice(&len.to_le_bytes());
}
