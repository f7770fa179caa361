//! Entries of slots by their identities, packed: what one side holds of slots that differ, and what the other lacks of it.
//!
//! ```text
//!  lists = (slot u16 · count u16 · count × identity u32) …
//! ```
//! Four bytes of an identity name an entry within its slot. Which four depends on the epoch, so that two entries that look
//! alike are told apart the next time.

use crate::{
    entry::{EntryRef, layout},
    fingerprint::{self, epoch_at, epoch_of},
    slots::{KeyHash, SLOTS},
    store::Store,
    wire::bytes::{Reader, Truncated},
};

/// The name of an entry within its slot, during the comparison of one epoch.
pub(super) fn name_of(entry: &EntryRef<'_>, epoch: u64) -> u32 {
    let identity = fingerprint::identity(KeyHash::of(entry.key), entry);
    identity.rotate_left((epoch % 32) as u32) as u32
}

/// Calls `visit` with the name and the bytes of what a slot held at the end of an epoch, and holds still. What is dead
/// and was heard of by every region is left out: others may have forgotten it.
pub(super) fn list<S: Store>(
    store: &S,
    slot: usize,
    epoch: u64,
    visit: &mut dyn FnMut(u32, &[u8]),
) {
    let settled = store.settled();
    store.list_slot(slot, &mut |bytes| {
        let entry = layout::view(bytes);
        let is_young = epoch_of(entry.newest()) > epoch;
        let has_ended = entry.deadline.at.is_some_and(|at| epoch_at(at) <= epoch);
        let is_dead = has_ended || !entry.has_value();
        let is_forgettable = is_dead && settled.has_all_of(&entry);
        if !(is_young || is_forgettable) {
            visit(name_of(&entry, epoch), bytes);
        }
    });
}

/// Appends one slot's list.
pub(super) fn put(slot: usize, names: &[u32], out: &mut Vec<u8>) {
    let slot = u16::try_from(slot).expect("there are fewer slots");
    let names = &names[..names.len().min(NAMES_MAX)];
    let count = u16::try_from(names.len()).expect("a list is bounded");
    out.extend_from_slice(&slot.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    for name in names {
        out.extend_from_slice(&name.to_le_bytes());
    }
}

/// The longest list: a slot with more is repaired in several rounds.
const NAMES_MAX: usize = 12_000;

/// Reads lists.
///
/// # Errors
/// [`Truncated`] for anything that [`put`] does not write.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<(usize, Vec<u32>)>, Truncated> {
    let mut reader = Reader::new(bytes);
    let mut lists = Vec::new();
    while !reader.is_empty() {
        let slot = usize::from(reader.u16()?);
        let count = usize::from(reader.u16()?);
        let names = reader.take(count * 4)?;
        if slot >= SLOTS {
            return Err(Truncated);
        }
        let (names, _) = names.as_chunks::<4>();
        let names = names.iter().map(|name| u32::from_le_bytes(*name));
        lists.push((slot, names.collect()));
    }
    Ok(lists)
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
