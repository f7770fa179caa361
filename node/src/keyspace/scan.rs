//! Walking over keys without holding them: SCAN, KEYS, RANDOMKEY; and sweeps, in [`super::store`].
//!
//! A cursor is a shard and a position in the order of its table ([`super::index`]). No write moves a key in that order,
//! nor does a table that grows or shrinks, so every key that is present throughout a full walk is visited exactly once.

use std::ops::ControlFlow;

use greenwich_proto::entry::layout;

use super::{Access, SHARDS, View, index::Tag};

/// Keys that are looked at together in search of a live one.
const KEYS_AT_ONCE: usize = 16;
/// Keys that are looked at while a shard is locked: what else waits for it waits for some microseconds.
pub(super) const LOCKED_KEYS: usize = 256;
/// Keys that one step looks at, whatever it was asked for: other clients of the thread wait meanwhile.
const STEP_KEYS_MAX: usize = 16_384;

/// What one step of a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanPage {
    /// Where to go on; zero at the end.
    pub cursor: u64,
    /// The keys that were accepted.
    pub keys: Vec<Box<[u8]>>,
}

/// How far one step of a walk goes. It ends soon after the first limit that it reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanLimits {
    /// Keys that are looked at; of very many, a part.
    pub keys: usize,
    /// Bytes that the accepted keys take.
    pub bytes: usize,
}

/// Where a walk stands.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    pub(super) shard: usize,
    /// In the order of the shard's table.
    pub(super) position: u32,
}

impl Spot {
    /// `None` beyond the last shard: nothing lies there.
    pub(super) fn at(cursor: u64) -> Option<Self> {
        let shard = usize::try_from(cursor >> Tag::BITS).ok()?;
        let position = cursor as u32;
        (shard < SHARDS).then_some(Self { shard, position })
    }

    /// Less than 2^53: clients read cursors as numbers, which in JavaScript hold no more.
    pub(super) const fn cursor(self) -> u64 {
        (self.shard as u64) << Tag::BITS | self.position as u64
    }

    /// `next` in the same shard, or the first one of the next shard.
    pub(super) fn then(self, next: Option<u32>) -> Option<Self> {
        match next {
            Some(position) => Some(Self { position, ..self }),
            None => Self::at((self.shard as u64 + 1) << Tag::BITS),
        }
    }
}

impl Access<'_> {
    /// One step of a walk: looks at keys from `cursor` on and collects those that `accept` wants. A shard is locked for
    /// a part of the step at a time.
    pub fn scan(
        &mut self,
        cursor: u64,
        limits: ScanLimits,
        mut accept: impl FnMut(&[u8], View<'_>) -> bool,
    ) -> ScanPage {
        let mut page = ScanPage::default();
        let mut spot = Spot::at(cursor);
        let (mut keys, mut bytes) = (limits.keys.clamp(1, STEP_KEYS_MAX), limits.bytes.max(1));
        let now = self.now();
        while keys > 0
            && bytes > 0
            && let Some(here) = spot
        {
            let mut locked_keys = LOCKED_KEYS;
            let look = |entry: &[u8]| {
                let entry = layout::view(entry);
                if View::of(entry, now).is_some_and(|view| accept(entry.key, view)) {
                    page.keys.push(entry.key.into());
                    bytes = bytes.saturating_sub(size_of::<Box<[u8]>>() + entry.key.len());
                }
                keys = keys.saturating_sub(1);
                locked_keys = locked_keys.saturating_sub(1);
                if keys > 0 && bytes > 0 && locked_keys > 0 {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            };
            let next = self.with_shard(here.shard, |entries| {
                // Where clients see no key, there is nothing to look at.
                (entries.tally.keys > 0).then(|| entries.walk(here.position, look))?
            });
            spot = here.then(next);
        }
        page.cursor = spot.map_or(0, Spot::cursor);
        page
    }

    /// Every live key that `accept` wants. Each shard is locked once, one after the other.
    pub fn keys(&mut self, mut accept: impl FnMut(&[u8]) -> bool) -> Vec<Box<[u8]>> {
        let mut keys = Vec::new();
        let now = self.now();
        for shard in 0..SHARDS {
            self.with_shard(shard, |entries| {
                for entry in entries.iter().map(layout::view) {
                    if entry.is_live(now) && accept(entry.key) {
                        keys.push(entry.key.into());
                    }
                }
            });
        }
        keys
    }

    /// A live key near the position that `random` chooses, around the end.
    pub fn key_near(&mut self, random: u64) -> Option<Box<[u8]>> {
        // Any spot: as many bits as cursors have.
        let mut cursor = random % ((SHARDS as u64) << Tag::BITS);
        let mut is_second_round = false;
        let limits = ScanLimits {
            keys: KEYS_AT_ONCE,
            bytes: usize::MAX,
        };
        loop {
            let mut page = self.scan(cursor, limits, |_, _| true);
            if !page.keys.is_empty() {
                let at = random % page.keys.len() as u64;
                return Some(page.keys.swap_remove(usize::try_from(at).ok()?));
            }
            if page.cursor == 0 && std::mem::replace(&mut is_second_round, true) {
                return None;
            }
            cursor = page.cursor;
        }
    }
}
