//! A batch: the state of some keys, and which parts of the sender's log it covers.
//!
//! ```text
//!  batch = id varint · forgotten u64 · ranges u8 × (lane u8 · after varint · count varint) · late* · items
//!  late  = 3 · origin u8 · from u64 · to u64            of what a region wrote between, nothing is forgotten
//!  item  = 0 · length varint · entry                      one key
//!        | 1 · keys varint · keys × (length varint · entry)   keys that changed together
//!        | 2 · stamp u64 · origin u8                      everything up to this version was flushed
//! ```
//! Entries are laid out by [`crate::entry::layout`].

use super::{
    BATCH_BYTES_MAX,
    bytes::{Reader, Truncated, put_varint},
};
use crate::{
    entry::{
        EntryRef,
        layout::{self, EntryError},
    },
    hlc::{Origin, Stamp, Version},
    log::LANES,
    settled::Settled,
};

const ITEM_ENTRY: u8 = 0;
const ITEM_UNIT: u8 = 1;
const ITEM_FLUSH: u8 = 2;
/// Before the items, since wire version 3.
const LATE: u8 = 3;

/// The longest number of variable length.
const VARINT_BYTES_MAX: usize = 10;
/// What one region wrote late, and of that there are two parts at most.
const LATE_BYTES: usize = 2 + 2 * size_of::<Stamp>();
const LATE_MAX: usize = 2 * Origin::MAX as usize;
/// The largest part before the entries: the number of ranges is a byte.
const HEADER_BYTES_MAX: usize = VARINT_BYTES_MAX
    + size_of::<Stamp>()
    + 1
    + u8::MAX as usize * (1 + 2 * VARINT_BYTES_MAX)
    + LATE_MAX * LATE_BYTES;
/// What an item takes beside its entries, and each entry beside its own bytes.
pub const ITEM_OVERHEAD_BYTES: usize = 1 + VARINT_BYTES_MAX;
/// The largest items, all together.
pub const ITEMS_BYTES_MAX: usize = BATCH_BYTES_MAX - HEADER_BYTES_MAX;

/// A part of a lane: the numbers after `after`, up to and including `up_to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The lane.
    pub lane: usize,
    /// The number before the first.
    pub after: u64,
    /// The last number.
    pub up_to: u64,
}

/// Bytes that are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// They end too early.
    #[error("batch is cut short")]
    Truncated,
    /// A lane that does not exist.
    #[error("batch names lane {0}; there are {LANES}")]
    Lane(u8),
    /// A range that runs over the largest number.
    #[error("batch covers a range that does not exist")]
    Range,
    /// An item of unknown kind.
    #[error("batch has an item of unknown kind {0}")]
    Item(u8),
    /// More exceptions from what was forgotten than regions can make.
    #[error("batch names more than {LATE_MAX} parts of what regions wrote late")]
    Late,
    /// An entry that cannot be read.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

impl From<Truncated> for BatchError {
    fn from(Truncated: Truncated) -> Self {
        Self::Truncated
    }
}

/// Writes the part before the entries.
pub fn put_header(id: u64, forgotten: &Settled, ranges: &[Range], out: &mut Vec<u8>) {
    put_varint(id, out);
    out.extend_from_slice(&forgotten.stamp().0.to_le_bytes());
    out.push(u8::try_from(ranges.len()).expect("a builder makes few ranges"));
    for range in ranges {
        out.push(u8::try_from(range.lane).expect("lanes are few"));
        put_varint(range.after, out);
        put_varint(range.up_to - range.after, out);
    }
    for (origin, (from, to)) in forgotten.late() {
        out.push(LATE);
        out.push(origin.0);
        out.extend_from_slice(&from.0.to_le_bytes());
        out.extend_from_slice(&to.0.to_le_bytes());
    }
}

/// Writes one key's entry. A unit's keys follow its [`put_unit`].
pub fn put_entry(entry: &[u8], out: &mut Vec<u8>) {
    out.push(ITEM_ENTRY);
    put_unit_entry(entry, out);
}

/// Writes an entry over the one that [`put_entry`] wrote at `item`, which has the same size.
pub fn replace_entry(entry: &[u8], item: usize, out: &mut [u8]) {
    let mut reader = Reader::new(&out[item + 1..]);
    let len = reader.varint().expect("an entry was written there");
    debug_assert_eq!(len, entry.len() as u64);
    let start = out.len() - reader.rest().len();
    out[start..start + entry.len()].copy_from_slice(entry);
}

/// Announces `keys` entries that changed together.
pub fn put_unit(keys: u64, out: &mut Vec<u8>) {
    out.push(ITEM_UNIT);
    put_varint(keys, out);
}

/// Writes one entry of a unit.
pub fn put_unit_entry(entry: &[u8], out: &mut Vec<u8>) {
    put_varint(entry.len() as u64, out);
    out.extend_from_slice(entry);
}

/// Writes a flush of everything up to `version`.
pub fn put_flush(version: Version, out: &mut Vec<u8>) {
    out.push(ITEM_FLUSH);
    out.extend_from_slice(&version.stamp.0.to_le_bytes());
    out.push(version.origin.0);
}

/// What a batch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// The state of one key.
    Entry(EntryRef<'a>),
    /// The state of keys that changed together.
    Unit(Unit<'a>),
    /// Everything up to this version was flushed.
    Flush(Version),
}

/// Entries that changed together; checked when the batch was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit<'a>(&'a [u8]);

impl<'a> Unit<'a> {
    /// The entries.
    pub fn entries(&self) -> impl Iterator<Item = EntryRef<'a>> + use<'a> {
        let mut reader = Reader::new(self.0);
        std::iter::from_fn(move || read_entry(&mut reader).ok())
    }
}

/// A batch that was read and checked as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    /// Its number on this link, for its acknowledgement.
    pub id: u64,
    /// Dead bases among this may have been dropped by the sender.
    pub forgotten: Settled,
    /// The parts of the sender's log that it covers.
    pub ranges: Vec<Range>,
    /// The newest stamp in it.
    pub newest: Stamp,
    /// The number of entries.
    pub entries: u64,
    items: &'a [u8],
}

impl<'a> Batch<'a> {
    /// Reads a batch and checks every byte of it.
    ///
    /// # Errors
    /// [`BatchError`] for anything that no node writes.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let mut reader = Reader::new(bytes);
        let id = reader.varint()?;
        let mut forgotten = Settled::up_to(Stamp(reader.u64()?));
        let count = reader.u8()?;
        let mut ranges = Vec::with_capacity(usize::from(count).min(LANES));
        for _ in 0..count {
            ranges.push(read_range(&mut reader)?);
        }
        while reader.rest().first() == Some(&LATE) {
            let (origin, between) = read_late(&mut reader)?;
            forgotten = forgotten.but_for(origin, between);
            if forgotten.late().len() > LATE_MAX {
                return Err(BatchError::Late);
            }
        }
        let mut batch = Self {
            id,
            forgotten,
            ranges,
            newest: Stamp::ZERO,
            entries: 0,
            items: reader.rest(),
        };
        while !reader.is_empty() {
            batch.check(read_item(&mut reader)?);
        }
        Ok(batch)
    }

    fn check(&mut self, item: Item<'_>) {
        match item {
            Item::Entry(entry) => self.note(&entry),
            Item::Unit(unit) => unit.entries().for_each(|entry| self.note(&entry)),
            Item::Flush(version) => self.newest = self.newest.max(version.stamp),
        }
    }

    fn note(&mut self, entry: &EntryRef<'_>) {
        self.entries += 1;
        self.newest = self.newest.max(entry.newest());
    }

    /// The items in order.
    pub fn items(&self) -> impl Iterator<Item = Item<'a>> + use<'a> {
        let mut reader = Reader::new(self.items);
        std::iter::from_fn(move || {
            (!reader.is_empty())
                .then(|| read_item(&mut reader).expect("the batch was checked when it was read"))
        })
    }
}

fn read_range(reader: &mut Reader<'_>) -> Result<Range, BatchError> {
    let lane = reader.u8()?;
    if usize::from(lane) >= LANES {
        return Err(BatchError::Lane(lane));
    }
    let after = reader.varint()?;
    let up_to = after
        .checked_add(reader.varint()?)
        .ok_or(BatchError::Range)?;
    Ok(Range {
        lane: usize::from(lane),
        after,
        up_to,
    })
}

fn read_late(reader: &mut Reader<'_>) -> Result<(Origin, (Stamp, Stamp)), BatchError> {
    reader.u8()?;
    let origin = Origin(reader.u8()?);
    Ok((origin, (Stamp(reader.u64()?), Stamp(reader.u64()?))))
}

fn read_item<'a>(reader: &mut Reader<'a>) -> Result<Item<'a>, BatchError> {
    match reader.u8()? {
        ITEM_ENTRY => Ok(Item::Entry(read_entry(reader)?)),
        ITEM_UNIT => {
            let keys = reader.varint()?;
            let start = reader.rest();
            for _ in 0..keys {
                read_entry(reader)?;
            }
            Ok(Item::Unit(Unit(
                &start[..start.len() - reader.rest().len()],
            )))
        }
        ITEM_FLUSH => Ok(Item::Flush(Version {
            stamp: Stamp(reader.u64()?),
            origin: Origin(reader.u8()?),
        })),
        kind => Err(BatchError::Item(kind)),
    }
}

fn read_entry<'a>(reader: &mut Reader<'a>) -> Result<EntryRef<'a>, BatchError> {
    let len = usize::try_from(reader.varint()?).map_err(|_| BatchError::Truncated)?;
    Ok(layout::decode(reader.take(len)?)?)
}
