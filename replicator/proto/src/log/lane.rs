//! One lane of the log: a bounded queue of records in segments of bytes.
//!
//! A record mostly says *that* keys changed, not how: whoever reads it takes the keys' state at that time. A small plain
//! value is carried along, so that its reader need not look for it all over memory.
//!
//! ```text
//!  record = stamp u64 · keys u16 · keys × (length u16 · bytes)          no key at all: everything was flushed
//!         | stamp u64 · 65535 u16 · length u16 · entry
//! ```

use std::collections::VecDeque;

use crate::{
    entry::{EntryRef, layout},
    hlc::Stamp,
    wire::bytes::{Reader, Truncated},
};

/// The largest entry that a record carries. A larger one is looked up when it is sent, and then only once.
pub const CARRIED_BYTES_MAX: usize = 1024;

/// Values are carried while the lane is filled up to one part in this many. A reader that is further behind takes the
/// keys' newest state, which has often replaced several of theirs, and a long log takes little memory.
const CARRYING_PART: usize = 16;

/// Bytes of one segment, the unit in which memory is taken and given back.
const SEGMENT_BYTES: usize = 32 * 1024;

/// Where a reader stands in a lane: the last sequence number that it read, and where the next record begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The last number read.
    pub seq: u64,
    /// Offset of the next record in its segment, as far as known.
    hint: Option<(u64, usize)>,
}

impl Cursor {
    /// After `seq`.
    #[must_use]
    pub const fn after(seq: u64) -> Self {
        Self { seq, hint: None }
    }
}

/// Instead of a number of keys: the record carries an entry.
const CARRIES_ENTRY: u16 = u16::MAX;

/// One record, borrowed from its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// When the keys changed.
    pub stamp: Stamp,
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
pub struct KeyList<'a>(&'a [u8]);

impl<'a> KeyList<'a> {
    /// The keys.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut reader = Reader::new(self.0);
        std::iter::from_fn(move || {
            let len = reader.u16().ok()?;
            reader.take(usize::from(len)).ok()
        })
    }
}

impl<'a> Record<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Truncated> {
        let stamp = Stamp(reader.u64()?);
        let count = reader.u16()?;
        if count == CARRIES_ENTRY {
            let len = reader.u16()?;
            let entry = reader.take(usize::from(len))?;
            return Ok(Self {
                stamp,
                change: Change::Entry(entry),
            });
        }
        let rest = reader.rest();
        for _ in 0..count {
            let len = reader.u16()?;
            reader.take(usize::from(len))?;
        }
        let keys = &rest[..rest.len() - reader.rest().len()];
        Ok(Self {
            stamp,
            change: Change::Keys(KeyList(keys)),
        })
    }
}

#[derive(Debug)]
struct Segment {
    first: u64,
    count: u64,
    bytes: Vec<u8>,
}

impl Segment {
    /// The stamp of its first record.
    fn oldest(&self) -> Option<Stamp> {
        let stamp = self.bytes.first_chunk()?;
        Some(Stamp(u64::from_le_bytes(*stamp)))
    }
}

/// A bounded queue of records with dense sequence numbers from 1.
#[derive(Debug)]
pub(super) struct Lane {
    segments: VecDeque<Segment>,
    spare: Option<Vec<u8>>,
    head: u64,
    bytes: usize,
    limit_bytes: usize,
    /// The oldest record that was dropped at the limit, and not read by all since.
    dropped_since: Option<Stamp>,
}

impl Lane {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            segments: VecDeque::new(),
            spare: None,
            head: 0,
            bytes: 0,
            limit_bytes,
            dropped_since: None,
        }
    }

    /// How old the oldest record may be that was dropped although not everybody had read it.
    pub(super) fn dropped_since(&self) -> Option<Stamp> {
        self.dropped_since
    }

    /// The last sequence number given.
    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// The last sequence number that is no longer held.
    pub(super) fn tail(&self) -> u64 {
        self.segments
            .front()
            .map_or(self.head, |segment| segment.first - 1)
    }

    /// Bytes of the records held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends a record of keys and drops the oldest segments beyond the limit.
    pub(super) fn append<'a>(
        &mut self,
        stamp: Stamp,
        keys: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> u64 {
        let keys_len: usize = keys.clone().map(|key| 2 + key.len()).sum();
        let count = u16::try_from(keys.clone().count()).expect("units are limited to as many keys");
        assert!(count < CARRIES_ENTRY, "units are limited to as many keys");
        self.push(stamp, count, keys_len, |bytes| {
            for key in keys {
                let len = u16::try_from(key.len()).expect("keys are checked where they come in");
                bytes.extend_from_slice(&len.to_le_bytes());
                bytes.extend_from_slice(key);
            }
        })
    }

    /// Appends a record of one key that became `entry`, and carries it where that is worth its memory.
    pub(super) fn append_entry(&mut self, stamp: Stamp, entry: &EntryRef<'_>) -> u64 {
        let len = layout::encoded_len(entry);
        if len > CARRIED_BYTES_MAX || self.bytes > self.limit_bytes / CARRYING_PART {
            return self.append(stamp, std::iter::once(entry.key));
        }
        self.push(stamp, CARRIES_ENTRY, 2 + len, |bytes| {
            let len = u16::try_from(len).expect("only small entries are carried");
            bytes.extend_from_slice(&len.to_le_bytes());
            layout::encode(entry, bytes);
        })
    }

    fn push(
        &mut self,
        stamp: Stamp,
        count: u16,
        len: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> u64 {
        let segment = self.room_for(10 + len);
        let before = segment.bytes.len();
        segment.bytes.extend_from_slice(&stamp.0.to_le_bytes());
        segment.bytes.extend_from_slice(&count.to_le_bytes());
        write(&mut segment.bytes);
        segment.count += 1;
        self.bytes += segment.bytes.len() - before;
        self.head += 1;
        while self.bytes > self.limit_bytes && self.segments.len() > 1 {
            let oldest = self.segments.front().and_then(Segment::oldest);
            self.dropped_since = self.dropped_since.or(oldest);
            self.drop_oldest();
        }
        self.head
    }

    fn room_for(&mut self, record_bytes: usize) -> &mut Segment {
        let has_room = self
            .segments
            .back()
            .is_some_and(|last| last.bytes.len() + record_bytes <= last.bytes.capacity());
        if !has_room {
            let bytes = match self.spare.take() {
                Some(spare) if record_bytes <= spare.capacity() => spare,
                _ => Vec::with_capacity(SEGMENT_BYTES.max(record_bytes)),
            };
            self.segments.push_back(Segment {
                first: self.head + 1,
                count: 0,
                bytes,
            });
        }
        self.segments.back_mut().expect("one was just pushed")
    }

    /// Drops what every reader has read. The last segment is kept for its room.
    pub(super) fn trim(&mut self, up_to: u64) {
        while let Some(oldest) = self.segments.front()
            && oldest.first + oldest.count <= up_to + 1
        {
            self.drop_oldest();
        }
        if self.tail() <= up_to {
            self.dropped_since = None;
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(mut oldest) = self.segments.pop_front() {
            self.bytes -= oldest.bytes.len();
            if oldest.bytes.capacity() == SEGMENT_BYTES {
                oldest.bytes.clear();
                self.spare = Some(oldest.bytes);
            }
        }
    }

    /// Moves the cursor over records for as long as `visit` accepts them; a record that it refuses stays unread.
    /// The cursor must not lie before the tail.
    pub(super) fn read(&self, cursor: &mut Cursor, mut visit: impl FnMut(Record<'_>) -> bool) {
        let start = self
            .segments
            .partition_point(|segment| segment.first + segment.count <= cursor.seq + 1);
        for segment in self.segments.range(start..) {
            let mut reader = Reader::new(&segment.bytes);
            let skipped = match cursor.hint {
                Some((first, offset)) if first == segment.first => reader.take(offset).map(|_| ()),
                _ => (segment.first..=cursor.seq)
                    .try_for_each(|_| Record::read(&mut reader).map(|_| ())),
            };
            skipped.expect("a lane holds whole records");
            while !reader.is_empty() {
                let record = Record::read(&mut reader).expect("a lane holds whole records");
                if !visit(record) {
                    return;
                }
                cursor.seq += 1;
                cursor.hint = Some((segment.first, segment.bytes.len() - reader.rest().len()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_unread_counts_until_everybody_is_past_it() {
        let mut lane = Lane::new(SEGMENT_BYTES);
        let key = [b'k'; 1000];
        let append = |lane: &mut Lane, stamp| lane.append(Stamp(stamp), std::iter::once(&key[..]));
        append(&mut lane, 7);
        while lane.tail() == 0 {
            append(&mut lane, 8);
            let is_held = lane.tail() == 0;
            assert_eq!(lane.dropped_since(), (!is_held).then_some(Stamp(7)));
        }
        let tail = lane.tail();
        lane.trim(tail - 1);
        assert_eq!(
            lane.dropped_since(),
            Some(Stamp(7)),
            "one has not read all of it"
        );
        lane.trim(tail);
        assert_eq!(lane.dropped_since(), None);
    }
}
