//! One lane of the log: a queue of records in segments of bytes, numbered from 1 without gaps.
//!
//! A record mostly says *that* keys changed, not how: whoever reads it takes the keys' state at that time. So a key that
//! changes again while nobody has read its record shares its number. A small plain value is carried along, so that its
//! reader need not look for it all over memory.

use std::{collections::VecDeque, sync::Arc};

use super::{
    budget::Budget,
    recent::{Guess, Place, Recent},
    record::{self, CARRIED_BYTES_MAX, HEADER_BYTES, Record},
};
use crate::{
    entry::{EntryRef, layout},
    hlc::Stamp,
    wire::bytes::Reader,
};

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

    /// Whether the record at `offset` is of this key alone.
    fn is_of_key(&self, offset: usize, key: &[u8]) -> bool {
        let count_and_len = self
            .bytes
            .get(offset + HEADER_BYTES - 2..offset + HEADER_BYTES + 2);
        let &[1, 0, low, high] = count_and_len.unwrap_or_default() else {
            return false;
        };
        let (start, len) = (
            offset + HEADER_BYTES + 2,
            usize::from(u16::from_le_bytes([low, high])),
        );
        self.bytes.get(start..start + len) == Some(key)
    }
}

/// A queue of records with dense sequence numbers from 1.
#[derive(Debug)]
pub(super) struct Lane {
    segments: VecDeque<Segment>,
    spare: Option<Vec<u8>>,
    head: u64,
    bytes: usize,
    budget: Arc<Budget>,
    recent: Recent,
    /// The oldest record that was dropped at the limit, and not read by all since.
    dropped_since: Option<Stamp>,
}

impl Lane {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self {
            segments: VecDeque::new(),
            spare: None,
            head: 0,
            bytes: 0,
            budget,
            recent: Recent::new(),
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

    /// What of them counts for the budget.
    pub(super) fn budgeted_bytes(&self) -> usize {
        self.bytes - self.segments.back().map_or(0, |last| last.bytes.len())
    }

    /// Appends a record of keys that changed together, or of a flush. Returns its last number.
    pub(super) fn append<'a>(
        &mut self,
        stamp: Stamp,
        keys: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> u64 {
        let len = record::keys_len(keys.clone());
        self.push(len, |bytes| record::put_keys(stamp, keys, bytes).max(1))
    }

    /// Notes that one key changed: in its own record, if nobody has read that. Numbers up to `read` have been read by
    /// somebody. Returns the key's number.
    pub(super) fn append_key(&mut self, stamp: Stamp, key: &[u8], read: u64) -> u64 {
        let place = Place::of(key);
        let guess = self.recent.get(place);
        if guess.seq > read
            && let Some(last) = self.segments.back()
            && guess.seq >= last.first
            && last.is_of_key(guess.offset, key)
        {
            return guess.seq;
        }
        let mut offset = 0;
        let seq = self.push(record::key_len(key), |bytes| {
            offset = bytes.len();
            record::put_key(stamp, key, bytes);
            1
        });
        self.recent.set(place, Guess { seq, offset });
        seq
    }

    /// Notes that one key became `entry`, and carries that where it is worth its memory.
    pub(super) fn append_entry(&mut self, stamp: Stamp, entry: &EntryRef<'_>, read: u64) -> u64 {
        let len = layout::encoded_len(entry);
        if len > CARRIED_BYTES_MAX || !self.budget.lets_carry() {
            return self.append_key(stamp, entry.key, read);
        }
        self.push(record::entry_len(len), |bytes| {
            record::put_entry(stamp, entry, len, bytes);
            1
        })
    }

    /// Appends a record of `len` bytes. `write` tells how many numbers it has.
    fn push(&mut self, len: usize, write: impl FnOnce(&mut Vec<u8>) -> u16) -> u64 {
        let segment = self.room_for(len);
        let numbers = u64::from(write(&mut segment.bytes));
        segment.count += numbers;
        self.bytes += len;
        self.head += numbers;
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
            if let Some(full) = self.segments.back() {
                self.budget.take(full.bytes.len());
            }
            self.segments.push_back(Segment {
                first: self.head + 1,
                count: 0,
                bytes,
            });
        }
        self.segments.back_mut().expect("one was just pushed")
    }

    /// Drops what every reader has read.
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

    /// Drops the oldest segment, whoever has read it. The one that is being filled stays.
    pub(super) fn shrink(&mut self) {
        if self.segments.len() > 1 {
            let oldest = self.segments.front().and_then(Segment::oldest);
            self.dropped_since = self.dropped_since.or(oldest);
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(mut oldest) = self.segments.pop_front() {
            let bytes = oldest.bytes.len();
            self.bytes -= bytes;
            if !self.segments.is_empty() {
                self.budget.give_back(bytes);
            }
            if oldest.bytes.capacity() == SEGMENT_BYTES {
                oldest.bytes.clear();
                self.spare = Some(oldest.bytes);
            }
        }
    }

    /// Moves the cursor over records for as long as `visit` accepts them; a record that it refuses stays unread, and one
    /// that was read in part is visited again. The cursor must not lie before the tail.
    pub(super) fn read(&self, cursor: &mut Cursor, mut visit: impl FnMut(Record<'_>) -> bool) {
        let start = self
            .segments
            .partition_point(|segment| segment.first + segment.count <= cursor.seq + 1);
        for segment in self.segments.range(start..) {
            let mut reader = Reader::new(&segment.bytes);
            let mut first = segment.first;
            if let Some((hinted, offset)) = cursor.hint
                && hinted == segment.first
            {
                reader.take(offset).expect("a lane holds whole records");
                first = cursor.seq + 1;
            }
            while !reader.is_empty() {
                let record = Record::read(first, &mut reader).expect("a lane holds whole records");
                first = record.last() + 1;
                if record.last() <= cursor.seq {
                    continue;
                }
                if !visit(record) {
                    return;
                }
                cursor.seq = record.last();
                cursor.hint = Some((segment.first, segment.bytes.len() - reader.rest().len()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(limit: usize) -> (Arc<Budget>, Lane) {
        let budget = Arc::new(Budget::new(limit));
        (Arc::clone(&budget), Lane::new(budget))
    }

    #[test]
    fn what_was_dropped_unread_counts_until_everybody_is_past_it() {
        let (budget, mut lane) = lane(SEGMENT_BYTES);
        let key = [b'k'; 1000];
        let append = |lane: &mut Lane, stamp| {
            lane.append(Stamp(stamp), std::iter::once(&key[..]));
            while budget.is_exceeded() {
                lane.shrink();
            }
        };
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

    #[test]
    fn the_budget_counts_full_segments_until_they_are_dropped() {
        let (budget, mut lane) = lane(SEGMENT_BYTES / 2);
        let key = [b'k'; 1000];
        while !budget.is_exceeded() {
            lane.append(Stamp(1), std::iter::once(&key[..]));
        }
        assert!(lane.budgeted_bytes() > SEGMENT_BYTES / 2);
        lane.trim(lane.head());
        assert_eq!((lane.bytes(), lane.budgeted_bytes()), (0, 0));
        assert!(!budget.is_exceeded());
        lane.append(Stamp(1), std::iter::once(&key[..]));
        assert_eq!(lane.budgeted_bytes(), 0);
    }

    #[test]
    fn keys_that_change_again_before_anybody_reads_of_them_share_their_records() {
        let (_, mut lane) = lane(SEGMENT_BYTES);
        let keys: [&[u8]; 3] = [b"a", b"bb", b"key:0000000001"];
        for stamp in 0..1_000 {
            for (at, key) in keys.into_iter().enumerate() {
                assert_eq!(lane.append_key(Stamp(stamp), key, 0), at as u64 + 1);
            }
        }
        assert_eq!(lane.head(), 3);
        assert_eq!(lane.append_key(Stamp(1_000), b"bb", 2), 4, "it was read");
        assert_eq!(lane.append_key(Stamp(1_000), b"bb", 2), 4);
        assert_eq!(lane.append_key(Stamp(1_000), keys[2], 2), 3);
        lane.trim(4);
        assert_eq!(lane.append_key(Stamp(1_000), b"bb", 4), 5);
    }

    #[test]
    fn a_reader_may_stop_between_two_keys_of_a_record() {
        let (_, mut lane) = lane(SEGMENT_BYTES);
        let unit: [&[u8]; 3] = [b"a", b"b", b"c"];
        assert_eq!(lane.append(Stamp(1), unit.into_iter()), 3);
        assert_eq!(lane.append(Stamp(2), std::iter::empty()), 4, "a flush");
        assert_eq!(lane.append(Stamp(3), unit.into_iter()), 7);
        let numbers = |mut cursor: Cursor| {
            let mut numbers = Vec::new();
            lane.read(&mut cursor, |record| {
                numbers.push((record.first, record.last()));
                true
            });
            assert_eq!(cursor.seq, 7);
            numbers
        };
        assert_eq!(numbers(Cursor::after(0)), [(1, 3), (4, 4), (5, 7)]);
        assert_eq!(numbers(Cursor::after(2)), [(1, 3), (4, 4), (5, 7)]);
        assert_eq!(numbers(Cursor::after(3)), [(4, 4), (5, 7)]);
        assert_eq!(numbers(Cursor::after(6)), [(5, 7)]);
        let mut cursor = Cursor::after(3);
        lane.read(&mut cursor, |record| record.first == 4);
        assert_eq!(numbers(cursor), [(5, 7)]);
    }
}
