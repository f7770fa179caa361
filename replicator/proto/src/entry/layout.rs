//! The bytes of an entry, in memory and on the wire.
//!
//! ```text
//!  0        1        2                 10        12
//! ┌────────┬────────┬─────────────────┬─────────┬──────────────┬───────────────────┬─────┬──────────┬──────┐
//! │ flags  │ origin │ stamp           │ key len │ deadline at? │ deadline version? │ key │ totals?  │ body │
//! │ u8     │ u8     │ u64             │ u16     │ u64          │ u64 + u8          │     │ u16 n   │      │
//! └────────┴────────┴─────────────────┴─────────┴──────────────┴───────────────────┴─────┴──────────┴──────┘
//! ```
//! Little endian. The deadline's version is left out while it equals the base's. The upper two bits of the flags are
//! the kind of value; zero is a string, and other kinds are refused.

use super::{Body, Deadline, EntryRef, totals::Totals};
use crate::{
    hlc::{Origin, Stamp, Version},
    time::Wall,
    wire::bytes::{Reader, Truncated},
};

const BODY_MASK: u8 = 0b11;
const BODY_DEAD: u8 = 0;
const BODY_BYTES: u8 = 1;
const HAS_DEADLINE: u8 = 1 << 2;
const OWN_DEADLINE_VERSION: u8 = 1 << 3;
const HAS_TOTALS: u8 = 1 << 4;
/// The last local write changed other keys with it. Of no meaning to other nodes.
const OF_UNIT: u8 = 1 << 5;
const KIND_MASK: u8 = 0b11 << 6;

/// Bytes before the optional parts and the key.
const HEADER_BYTES: usize = 12;
/// Bytes of the number of totals.
const COUNT_BYTES: usize = 2;

/// Bytes that are not an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// They end too early.
    #[error("entry is cut short")]
    Truncated,
    /// A kind of value that this version does not know.
    #[error("entry of unknown kind {0}")]
    Kind(u8),
    /// A combination of parts that no node writes.
    #[error("entry is malformed: {0}")]
    Malformed(&'static str),
}

impl From<Truncated> for EntryError {
    fn from(Truncated: Truncated) -> Self {
        Self::Truncated
    }
}

/// The key of encoded bytes that [`decode`] accepted before. The hot path of a lookup.
#[inline]
#[must_use]
pub fn key_of(bytes: &[u8]) -> &[u8] {
    let start = HEADER_BYTES + optional_bytes(bytes[0]);
    &bytes[start..start + key_len(bytes)]
}

/// Whether the last local write of encoded bytes was part of a unit, whose record carries it.
#[inline]
#[must_use]
pub fn is_of_unit(bytes: &[u8]) -> bool {
    bytes[0] & OF_UNIT != 0
}

/// Marks encoded bytes as written by a unit, or not.
pub fn set_of_unit(bytes: &mut [u8], of_unit: bool) {
    bytes[0] = if of_unit {
        bytes[0] | OF_UNIT
    } else {
        bytes[0] & !OF_UNIT
    };
}

#[inline]
fn key_len(bytes: &[u8]) -> usize {
    usize::from(u16::from_le_bytes([bytes[10], bytes[11]]))
}

/// Bytes of the optional deadline parts.
#[inline]
const fn optional_bytes(flags: u8) -> usize {
    let at = if flags & HAS_DEADLINE == 0 { 0 } else { 8 };
    let version = if flags & OWN_DEADLINE_VERSION == 0 {
        0
    } else {
        9
    };
    at + version
}

/// Reads an entry and checks every part. `bytes` must be exactly one entry.
///
/// # Errors
/// [`EntryError`] for anything that [`encode`] does not write.
pub fn decode(bytes: &[u8]) -> Result<EntryRef<'_>, EntryError> {
    let mut reader = Reader::new(bytes);
    let flags = reader.u8()?;
    if flags & OF_UNIT != 0 {
        return Err(EntryError::Malformed(
            "it carries a mark that does not travel",
        ));
    }
    if flags & KIND_MASK != 0 {
        return Err(EntryError::Kind(flags >> 6));
    }
    let origin = Origin(reader.u8()?);
    let version = Version {
        stamp: Stamp(reader.u64()?),
        origin,
    };
    let key_len = usize::from(reader.u16()?);
    let at = if flags & HAS_DEADLINE == 0 {
        None
    } else {
        Some(Wall(reader.u64()?))
    };
    let deadline_version = if flags & OWN_DEADLINE_VERSION == 0 {
        version
    } else {
        Version {
            stamp: Stamp(reader.u64()?),
            origin: Origin(reader.u8()?),
        }
    };
    if deadline_version < version {
        return Err(EntryError::Malformed(
            "its deadline is older than its value",
        ));
    }
    if flags & OWN_DEADLINE_VERSION != 0 && deadline_version == version {
        return Err(EntryError::Malformed(
            "its deadline repeats the version of the value",
        ));
    }
    let key = reader.take(key_len)?;
    let totals = decode_totals(flags, &mut reader)?;
    let rest = reader.rest();
    let body = match flags & BODY_MASK {
        BODY_DEAD if rest.is_empty() => Body::Dead,
        BODY_BYTES => Body::Bytes(rest),
        _ => return Err(EntryError::Malformed("its body does not fit its flags")),
    };
    Ok(EntryRef {
        key,
        version,
        body,
        deadline: Deadline {
            version: deadline_version,
            at,
        },
        totals,
    })
}

fn decode_totals<'a>(flags: u8, reader: &mut Reader<'a>) -> Result<Totals<'a>, EntryError> {
    if flags & HAS_TOTALS == 0 {
        return Ok(Totals::EMPTY);
    }
    let count = usize::from(reader.u16()?);
    let bytes = reader.take(count * Totals::ENTRY_BYTES)?;
    match Totals::from_bytes(bytes) {
        Some(totals) if count > 0 => Ok(totals),
        _ => Err(EntryError::Malformed("its totals are not in order")),
    }
}

/// Reads an entry that [`encode`] wrote or [`decode`] accepted.
///
/// # Panics
/// When it is not one.
#[inline]
#[must_use]
pub fn view(bytes: &[u8]) -> EntryRef<'_> {
    let flags = bytes[0];
    let version = Version {
        stamp: Stamp(u64_at(bytes, 2)),
        origin: Origin(bytes[1]),
    };
    let mut at = HEADER_BYTES;
    let mut deadline = Deadline { version, at: None };
    if flags & HAS_DEADLINE != 0 {
        deadline.at = Some(Wall(u64_at(bytes, at)));
        at += 8;
    }
    if flags & OWN_DEADLINE_VERSION != 0 {
        deadline.version = Version {
            stamp: Stamp(u64_at(bytes, at)),
            origin: Origin(bytes[at + 8]),
        };
        at += 9;
    }
    let key = &bytes[at..at + key_len(bytes)];
    at += key.len();
    let mut totals = Totals::EMPTY;
    if flags & HAS_TOTALS != 0 {
        let count = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let start = at + COUNT_BYTES;
        let end = start + usize::from(count) * Totals::ENTRY_BYTES;
        totals = Totals::trusted(&bytes[start..end]);
        at = end;
    }
    let body = match flags & BODY_MASK {
        BODY_BYTES => Body::Bytes(&bytes[at..]),
        _ => Body::Dead,
    };
    EntryRef {
        key,
        version,
        body,
        deadline,
        totals,
    }
}

#[inline]
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The size of [`encode`]'s output in bytes.
#[inline]
#[must_use]
pub fn encoded_len(entry: &EntryRef<'_>) -> usize {
    let totals = entry.totals.as_bytes().len();
    let body = if let Body::Bytes(bytes) = entry.body {
        bytes.len()
    } else {
        0
    };
    HEADER_BYTES
        + optional_bytes(flags_of(entry))
        + entry.key.len()
        + if totals > 0 { COUNT_BYTES } else { 0 }
        + totals
        + body
}

#[inline]
fn flags_of(entry: &EntryRef<'_>) -> u8 {
    let mut flags = match entry.body {
        Body::Dead => BODY_DEAD,
        Body::Bytes(_) => BODY_BYTES,
    };
    if entry.deadline.at.is_some() {
        flags |= HAS_DEADLINE;
    }
    if entry.deadline.version != entry.version {
        flags |= OWN_DEADLINE_VERSION;
    }
    if !entry.totals.is_empty() {
        flags |= HAS_TOTALS;
    }
    flags
}

/// Appends the bytes of `entry`.
///
/// # Panics
/// When its key or its number of totals is over the limit, which callers check first.
pub fn encode(entry: &EntryRef<'_>, out: &mut Vec<u8>) {
    out.reserve(encoded_len(entry));
    encode_parts(entry, |part| out.extend_from_slice(part));
}

/// Writes the bytes of `entry` over `out`, which has exactly [`encoded_len`] bytes.
///
/// # Panics
/// As [`encode`], and when `out` is too short.
pub fn encode_over(entry: &EntryRef<'_>, out: &mut [u8]) {
    let mut at = 0;
    encode_parts(entry, |part| {
        out[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    });
}

/// The bytes of `entry` in one allocation of exactly their size.
///
/// # Panics
/// As [`encode`].
#[must_use]
pub fn to_box(entry: &EntryRef<'_>) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(encoded_len(entry));
    encode(entry, &mut bytes);
    bytes.into_boxed_slice()
}

fn encode_parts(entry: &EntryRef<'_>, mut put: impl FnMut(&[u8])) {
    let key_len = u16::try_from(entry.key.len()).expect("keys are checked where they come in");
    let flags = flags_of(entry);
    let mut header = [0; HEADER_BYTES];
    header[..2].copy_from_slice(&[flags, entry.version.origin.0]);
    header[2..10].copy_from_slice(&entry.version.stamp.0.to_le_bytes());
    header[10..].copy_from_slice(&key_len.to_le_bytes());
    put(&header);
    if let Some(at) = entry.deadline.at {
        put(&at.0.to_le_bytes());
    }
    if flags & OWN_DEADLINE_VERSION != 0 {
        put(&entry.deadline.version.stamp.0.to_le_bytes());
        put(&[entry.deadline.version.origin.0]);
    }
    put(entry.key);
    if flags & HAS_TOTALS != 0 {
        let count = entry.totals.as_bytes().len() / Totals::ENTRY_BYTES;
        let count = u16::try_from(count).expect("whoever makes totals keeps no more");
        put(&count.to_le_bytes());
        put(entry.totals.as_bytes());
    }
    if let Body::Bytes(bytes) = entry.body {
        put(bytes);
    }
}
