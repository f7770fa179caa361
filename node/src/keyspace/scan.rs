//! Walking over keys without holding them: SCAN, KEYS, RANDOMKEY.
//!
//! A cursor is a position in the order of the keys' hashes, which no other write changes, so every key that is present
//! throughout a full walk is visited exactly once.

use greenwich_proto::entry::layout;

use super::{Access, Place, SHARDS, View, shard::Shard};

/// Keys that are looked at together in search of a live one.
const KEYS_AT_ONCE: usize = 16;

/// What one step of a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanPage {
    /// Where to go on; zero at the end.
    pub cursor: u64,
    /// The keys that were accepted.
    pub keys: Vec<Box<[u8]>>,
}

impl Access<'_> {
    /// One step of a walk: looks at about `count` keys from `cursor` on and collects those that `accept` wants.
    pub fn scan(
        &mut self,
        cursor: u64,
        count: usize,
        mut accept: impl FnMut(&[u8], View<'_>) -> bool,
    ) -> ScanPage {
        let mut page = ScanPage::default();
        let (mut position, mut left) = (cursor, count.max(1));
        let (space, now) = (self.space(), self.now());
        for shard in Place::shard_at(cursor)..SHARDS {
            let next = self.with_shard(shard, |entries| {
                if entries.tally.keys == 0 {
                    return None;
                }
                let (places, next) = take_in_order(entries, position, left, |key| space.place(key));
                left = left.saturating_sub(places.len());
                for (_, entry) in places {
                    let entry = layout::view(entry);
                    if View::of(entry, now).is_some_and(|view| accept(entry.key, view)) {
                        page.keys.push(entry.key.into());
                    }
                }
                next
            });
            position = match next {
                Some(next) => next,
                None if shard + 1 == SHARDS => return page,
                None => Place::start_of(shard + 1),
            };
            if left == 0 {
                break;
            }
        }
        page.cursor = position;
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
        let mut cursor = Place::position_at(random);
        let mut is_second_round = false;
        loop {
            let mut page = self.scan(cursor, KEYS_AT_ONCE, |_, _| true);
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

/// The first `count` entries at or after `position`, and the position after them; `None` when the shard has no more.
fn take_in_order(
    entries: &Shard,
    position: u64,
    count: usize,
    place: impl Fn(&[u8]) -> Place,
) -> (Vec<(u64, &[u8])>, Option<u64>) {
    let mut found: Vec<(u64, &[u8])> = entries
        .iter()
        .map(|entry| (place(layout::key_of(entry)).position(), entry))
        .filter(|&(at, _)| at >= position)
        .collect();
    if found.len() <= count {
        return (found, None);
    }
    let (_, &mut (last, _), _) = found.select_nth_unstable_by_key(count - 1, |&(at, _)| at);
    // Keys whose hashes are equal are taken together.
    found.retain(|&(at, _)| at <= last);
    (found, last.checked_add(1))
}
