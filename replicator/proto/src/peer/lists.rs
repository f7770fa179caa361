//! Entries of slots by their names, and lists of names, packed: what one side holds of slots that differ, and what the
//! other lacks of it.
//!
//! ```text
//!  lists = (slot u16 · count u16 · count × name u32) …
//! ```
//! A name is four bytes of an entry's identity. Which four depends on the epoch, so that two entries that look alike are
//! told apart the next time.

use crate::{
    entry::{EntryRef, layout},
    fingerprint::{self, epoch_at},
    slots::{KeyHash, SLOTS},
    store::Store,
    wire::bytes::{Reader, Truncated},
};

/// Slots that are walked over together: a keyspace finds as many in one place.
const SLOTS_AT_ONCE: usize = 16;

/// An entry of a slot.
pub(super) struct Listed<'a> {
    /// Which of the slots that are listed it is in.
    pub(super) at: usize,
    /// Its name within the slot, during the comparison of one epoch.
    pub(super) name: u32,
    pub(super) key: KeyHash,
    pub(super) entry: EntryRef<'a>,
    pub(super) bytes: &'a [u8],
}

/// Calls `visit` with what slots, in their order, hold: what was written since the end of an epoch, too, as it may lie upon
/// what was missing before. What is dead and was heard of by every region is left out: others may have forgotten it.
pub(super) fn list<S: Store>(
    store: &S,
    slots: &[usize],
    epoch: u64,
    visit: &mut dyn FnMut(Listed<'_>),
) {
    let settled = store.settled();
    let mut before = 0;
    for together in slots.chunk_by(|a, b| are_together(*a, *b)) {
        let range = together[0]..together[together.len() - 1] + 1;
        store.list_slots(range, &mut |key, bytes| {
            let Ok(at) = together.binary_search(&key.slot()) else {
                return;
            };
            let entry = layout::view(bytes);
            let has_ended = entry.deadline.at.is_some_and(|at| epoch_at(at) <= epoch);
            let is_dead = has_ended || !entry.has_value();
            let is_forgettable = is_dead && settled.has_all_of(&entry);
            if !is_forgettable {
                visit(Listed {
                    at: before + at,
                    name: name_of(key, &entry, epoch),
                    key,
                    entry,
                    bytes,
                });
            }
        });
        before += together.len();
    }
}

/// The name of an entry within its slot, during the comparison of one epoch.
pub(super) fn name_of(key: KeyHash, entry: &EntryRef<'_>, epoch: u64) -> u32 {
    fingerprint::identity(key, entry).rotate_left((epoch % 32) as u32) as u32
}

/// Whether two slots are walked over together.
pub(super) fn are_together(a: usize, b: usize) -> bool {
    a / SLOTS_AT_ONCE == b / SLOTS_AT_ONCE
}

/// The names of all entries in each slot.
pub(super) fn names<S: Store>(store: &S, slots: &[usize], epoch: u64) -> Vec<Vec<u32>> {
    let mut names = vec![Vec::new(); slots.len()];
    list(store, slots, epoch, &mut |listed| {
        names[listed.at].push(listed.name);
    });
    names
}

/// Appends one slot's list.
pub(super) fn put(slot: usize, names: &[u32], out: &mut Vec<u8>) {
    put_slot(slot, out);
    put_names(names, out);
}

pub(super) fn put_slot(slot: usize, out: &mut Vec<u8>) {
    let slot = u16::try_from(slot).expect("there are fewer slots");
    out.extend_from_slice(&slot.to_le_bytes());
}

pub(super) fn put_names(names: &[u32], out: &mut Vec<u8>) {
    let names = &names[..names.len().min(NAMES_MAX)];
    let count = u16::try_from(names.len()).expect("a list is bounded");
    out.extend_from_slice(&count.to_le_bytes());
    put_words(names, out);
}

pub(super) fn put_words(words: &[u32], out: &mut Vec<u8>) {
    out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
}

/// The longest list: a slot with more is repaired in several rounds.
pub(super) const NAMES_MAX: usize = 8_000;

/// Reads lists.
///
/// # Errors
/// [`Truncated`] for anything that [`put`] does not write.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<(usize, Vec<u32>)>, Truncated> {
    let mut reader = Reader::new(bytes);
    let mut lists = Vec::new();
    while !reader.is_empty() {
        lists.push((read_slot(&mut reader)?, read_names(&mut reader)?));
    }
    Ok(lists)
}

pub(super) fn read_slot(reader: &mut Reader<'_>) -> Result<usize, Truncated> {
    let slot = usize::from(reader.u16()?);
    if slot < SLOTS {
        Ok(slot)
    } else {
        Err(Truncated)
    }
}

pub(super) fn read_names(reader: &mut Reader<'_>) -> Result<Vec<u32>, Truncated> {
    let count = usize::from(reader.u16()?);
    read_words(count, reader)
}

pub(super) fn read_words(count: usize, reader: &mut Reader<'_>) -> Result<Vec<u32>, Truncated> {
    let (words, _) = reader.take(count * 4)?.as_chunks::<4>();
    Ok(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
}

/// What is in one of two lists alone: in the first, and in the second.
pub(super) fn differences(mut first: Vec<u32>, mut second: Vec<u32>) -> (Vec<u32>, Vec<u32>) {
    first.sort_unstable();
    second.sort_unstable();
    let only = |of: &[u32], than: &[u32]| -> Vec<u32> {
        let is_missing = |name: &&u32| than.binary_search(name).is_err();
        of.iter().filter(is_missing).copied().collect()
    };
    (only(&first, &second), only(&second, &first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_one_list_alone_is_missing_in_the_other() {
        let found = differences(vec![5, 1, 3], vec![3, 2]);
        assert_eq!(found, (vec![1, 5], vec![2]));
    }

    #[test]
    fn lists_are_read_as_they_were_put_and_nothing_else_is() {
        let mut bytes = Vec::new();
        put(3, &[7, 8], &mut bytes);
        put(SLOTS - 1, &[], &mut bytes);
        assert_eq!(
            read(&bytes),
            Ok(vec![(3, vec![7, 8]), (SLOTS - 1, Vec::new())])
        );
        assert_eq!(read(&bytes[..bytes.len() - 1]), Err(Truncated));
        assert_eq!(read(&[0xff; 4]), Err(Truncated), "no such slot");
    }
}
