//! The memory of a shard's entries: chunks that are filled from the front, and evacuated when too much in them is dead.
//!
//! ```text
//!   handle = chunk, offset ─▶ │ length · entry │ length · entry │ dead │ length · entry │ free ...
//! ```
//! An allocation for each entry would cost a pointer of 16 bytes in the table where a handle costs four, and the table
//! would no longer fit in the processor's cache. An entry that is large gets a chunk of its own, of exactly its size.
//!
//! Knows bytes and lengths; what the bytes mean, and who holds the handles, is the shard's business.

use std::{mem, num::NonZeroU32};

/// The size up to which a chunk that holds several entries grows.
const CHUNK_BYTES: usize = 1 << (OFFSET_BITS + UNIT_BYTES.trailing_zeros());
/// Entries from this size on get a chunk of their own, so that at most an eighth of a chunk's end stays unused.
const LARGE_BYTES: usize = CHUNK_BYTES / 8;
/// The size at which a shard's first chunk starts to grow: shards with few keys stay small.
const FIRST_BYTES: usize = 512;
/// What begins on a multiple of this can be addressed.
const UNIT_BYTES: usize = 4;
const OFFSET_BITS: u32 = 12;

/// Bytes before each entry: its length, and whether it is dead.
pub(super) const PREFIX_BYTES: usize = 4;
const DEAD: u32 = 1 << 31;

/// Dead bytes that are not worth moving anything for.
const TOLERATED_BYTES: usize = 4096;
/// The part of all bytes that may be dead: one in this many.
const TOLERATED_PART: usize = 8;

const LINE_BYTES: usize = 64;
const PREFETCHED_LINES: usize = 3;

/// Where an entry lies. Good until the entry is freed or moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handle(NonZeroU32);

impl Handle {
    fn new(chunk: usize, offset: usize) -> Self {
        let unit = (chunk << OFFSET_BITS) | (offset / UNIT_BYTES);
        let number = u32::try_from(unit + 1).ok().and_then(NonZeroU32::new);
        Self(number.expect("a shard has fewer than a million chunks: two gigabytes at least"))
    }

    const fn unit(self) -> usize {
        self.0.get() as usize - 1
    }

    const fn chunk(self) -> usize {
        self.unit() >> OFFSET_BITS
    }

    const fn offset(self) -> usize {
        (self.unit() & ((1 << OFFSET_BITS) - 1)) * UNIT_BYTES
    }
}

#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    dead: usize,
}

/// Memory for entries of any size.
#[derive(Debug, Default)]
pub(super) struct Arena {
    chunks: Vec<Chunk>,
    /// Chunks that hold nothing and have no memory.
    vacant: Vec<usize>,
    /// The chunk that is filled now.
    tail: Option<usize>,
    /// Bytes of all records, dead ones included.
    used: usize,
    dead: usize,
}

impl Arena {
    #[inline]
    pub(super) fn get(&self, handle: Handle) -> &[u8] {
        let bytes = &self.chunks[handle.chunk()].bytes[handle.offset()..];
        let (prefix, rest) = split_prefix(bytes);
        &rest[..prefix as usize]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, handle: Handle) -> &mut [u8] {
        let bytes = &mut self.chunks[handle.chunk()].bytes[handle.offset()..];
        let (prefix, _) = split_prefix(bytes);
        &mut bytes[PREFIX_BYTES..PREFIX_BYTES + prefix as usize]
    }

    /// Asks for the first lines of an entry, which hold its key and a short value.
    pub(super) fn prefetch(&self, handle: Handle) {
        let bytes = &self.chunks[handle.chunk()].bytes;
        for line in 0..PREFETCHED_LINES {
            greenwich_prefetch::prefetch(bytes, handle.offset() + line * LINE_BYTES);
        }
    }

    /// Makes room for `len` bytes, which `write` appends.
    pub(super) fn insert(&mut self, len: usize, write: impl FnOnce(&mut Vec<u8>)) -> Handle {
        let record = record_bytes(len);
        let chunk = self.room_for(record);
        let bytes = &mut self.chunks[chunk].bytes;
        let offset = bytes.len();
        let prefix = u32::try_from(len).ok().filter(|&len| len < DEAD);
        bytes.extend_from_slice(
            &prefix
                .expect("values have a limit of 512 megabytes")
                .to_le_bytes(),
        );
        write(bytes);
        assert_eq!(
            bytes.len(),
            offset + PREFIX_BYTES + len,
            "an entry has the length that was asked for"
        );
        bytes.resize(offset + record, 0);
        self.used += record;
        Handle::new(chunk, offset)
    }

    /// Gives the bytes of an entry back.
    pub(super) fn free(&mut self, handle: Handle) {
        let chunk = &mut self.chunks[handle.chunk()];
        let at = handle.offset();
        let (prefix, _) = split_prefix(&chunk.bytes[at..]);
        debug_assert_eq!(prefix & DEAD, 0, "freed twice");
        chunk.bytes[at..at + PREFIX_BYTES].copy_from_slice(&(prefix | DEAD).to_le_bytes());
        let record = record_bytes(prefix as usize);
        chunk.dead += record;
        self.dead += record;
        if chunk.dead == chunk.bytes.len() {
            self.take(handle.chunk());
            self.vacate(handle.chunk());
        }
    }

    /// Moves the living out of the chunk with the most dead bytes, when too many are. `moved` hears of each: its bytes,
    /// its old handle and its new one. Returns whether there was such a chunk.
    pub(super) fn evacuate(&mut self, mut moved: impl FnMut(&[u8], Handle, Handle)) -> bool {
        if self.dead <= TOLERATED_BYTES.max(self.used / TOLERATED_PART) {
            return false;
        }
        let worst = (0..self.chunks.len()).max_by_key(|&chunk| self.chunks[chunk].dead);
        let worst = worst.expect("dead bytes lie in a chunk");
        // Its number stays out of use meanwhile: an old handle must not look like a new one.
        let bytes = self.take(worst);
        let mut offset = 0;
        while offset < bytes.len() {
            let (prefix, rest) = split_prefix(&bytes[offset..]);
            let len = (prefix & !DEAD) as usize;
            if prefix & DEAD == 0 {
                let entry = &rest[..len];
                let to = self.insert(len, |out| out.extend_from_slice(entry));
                moved(entry, Handle::new(worst, offset), to);
            }
            offset += record_bytes(len);
        }
        self.vacate(worst);
        true
    }

    /// The chunk to append a record to, with its capacity.
    fn room_for(&mut self, record: usize) -> usize {
        if record >= LARGE_BYTES {
            let chunk = self.open();
            self.chunks[chunk].bytes.reserve_exact(record);
            return chunk;
        }
        let fits = |&tail: &usize| self.chunks[tail].bytes.len() + record <= CHUNK_BYTES;
        let chunk = self.tail.filter(fits).unwrap_or_else(|| self.open());
        self.tail = Some(chunk);
        let is_first = self.chunks.len() == 1;
        let bytes = &mut self.chunks[chunk].bytes;
        let needed = bytes.len() + record;
        if needed > bytes.capacity() {
            let target = if is_first {
                needed.next_power_of_two().max(FIRST_BYTES)
            } else {
                CHUNK_BYTES
            };
            bytes.reserve_exact(target - bytes.len());
        }
        chunk
    }

    fn open(&mut self) -> usize {
        self.vacant.pop().unwrap_or_else(|| {
            self.chunks.push(Chunk::default());
            self.chunks.len() - 1
        })
    }

    /// The bytes of a chunk, which is not filled any further.
    fn take(&mut self, chunk: usize) -> Vec<u8> {
        if self.tail == Some(chunk) {
            self.tail = None;
        }
        let Chunk { bytes, dead } = mem::take(&mut self.chunks[chunk]);
        self.used -= bytes.len();
        self.dead -= dead;
        bytes
    }

    fn vacate(&mut self, chunk: usize) {
        self.vacant.push(chunk);
        if self.vacant.len() == self.chunks.len() {
            *self = Self::default();
        }
    }
}

const fn record_bytes(len: usize) -> usize {
    (PREFIX_BYTES + len).next_multiple_of(UNIT_BYTES)
}

#[inline]
fn split_prefix(bytes: &[u8]) -> (u32, &[u8]) {
    let (prefix, rest) = bytes
        .split_first_chunk()
        .expect("a handle points at a prefix");
    (u32::from_le_bytes(*prefix), rest)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(usize),
        Free(prop::sample::Index),
        Overwrite(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        // Among them: nothing at all, what nearly fills a chunk, and what gets one of its own.
        let len = prop_oneof![8 => 0..300usize, 2 => 1500..2100usize, 1 => 15_000..70_000usize];
        prop_oneof![
            4 => len.prop_map(Step::Insert),
            3 => any::<prop::sample::Index>().prop_map(Step::Free),
            1 => any::<prop::sample::Index>().prop_map(Step::Overwrite),
        ]
    }

    fn contents(seed: usize, len: usize) -> Vec<u8> {
        (0..len).map(|at| (seed * 31 + at) as u8).collect()
    }

    fn insert(arena: &mut Arena, bytes: &[u8]) -> Handle {
        arena.insert(bytes.len(), |out| out.extend_from_slice(bytes))
    }

    /// Evacuates until nothing is left to move, and follows the moves.
    fn settle(arena: &mut Arena, held: &mut BTreeMap<usize, (Handle, Vec<u8>)>) {
        while arena.evacuate(|bytes, from, to| {
            let moved = held.values_mut().find(|(handle, _)| *handle == from);
            let (handle, expected) = moved.expect("only what is held is moved");
            assert_eq!(bytes, expected);
            *handle = to;
        }) {}
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_held_stays_whatever_else_comes_and_goes(steps in prop::collection::vec(step(), 1..600)) {
            let mut arena = Arena::default();
            let mut held: BTreeMap<usize, (Handle, Vec<u8>)> = BTreeMap::new();
            for (number, step) in steps.into_iter().enumerate() {
                let keys: Vec<usize> = held.keys().copied().collect();
                match step {
                    Step::Insert(len) => {
                        let bytes = contents(number, len);
                        held.insert(number, (insert(&mut arena, &bytes), bytes));
                    }
                    Step::Free(_) | Step::Overwrite(_) if keys.is_empty() => {}
                    Step::Free(which) => {
                        let (handle, _) = held.remove(which.get(&keys)).unwrap();
                        arena.free(handle);
                    }
                    Step::Overwrite(which) => {
                        let (handle, bytes) = held.get_mut(which.get(&keys)).unwrap();
                        *bytes = contents(number, bytes.len());
                        arena.get_mut(*handle).copy_from_slice(bytes);
                    }
                }
                settle(&mut arena, &mut held);
                for (handle, bytes) in held.values() {
                    prop_assert_eq!(arena.get(*handle), bytes.as_slice());
                }
                let living: usize = held.values().map(|(_, bytes)| record_bytes(bytes.len())).sum();
                prop_assert_eq!(arena.used - arena.dead, living);
                prop_assert!(arena.dead <= TOLERATED_BYTES.max(arena.used / TOLERATED_PART));
            }
        }
    }

    #[test]
    fn an_arena_without_entries_holds_no_memory() {
        let mut arena = Arena::default();
        let handles: Vec<Handle> = (0..1000)
            .map(|seed| insert(&mut arena, &contents(seed, 100)))
            .collect();
        assert!(arena.chunks.len() > 1);
        for handle in handles {
            arena.free(handle);
        }
        assert_eq!((arena.chunks.len(), arena.used, arena.dead), (0, 0, 0));
    }

    #[test]
    fn memory_follows_what_is_held() {
        let mut arena = Arena::default();
        let mut handles = VecDeque::new();
        // Each entry outlives a thousand others of other sizes.
        for seed in 0..50_000 {
            handles.push_back(insert(&mut arena, &contents(seed, seed % 397)));
            if handles.len() > 1000 {
                arena.free(handles.pop_front().unwrap());
            }
            while arena.evacuate(|_, from, to| {
                *handles.iter_mut().find(|handle| **handle == from).unwrap() = to;
            }) {}
        }
        let capacity: usize = arena
            .chunks
            .iter()
            .map(|chunk| chunk.bytes.capacity())
            .sum();
        let living = arena.used - arena.dead;
        assert!(
            capacity < living * 5 / 4 + 2 * CHUNK_BYTES,
            "{capacity} bytes for {living}"
        );
    }
}
