//! What a repair brings of *young* keys: those that were written after the end of the epoch that is compared.
//!
//! What was written to them since is on its way with the log, and is no difference. But beneath it may lie what was written
//! before the end and is held on one side only: what a region that has died told nobody else. That counts as found, as of
//! any other key. Decides nothing else, and knows nothing of who asks and who answers.

use crate::{
    entry::{EntryRef, layout},
    hlc::{Stamp, Version},
    store::Store,
};

/// Something that was written to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    version: Version,
    /// When the life began that wrote it, in milliseconds, as far as a total says so.
    life: Option<u64>,
}

/// Entries that are joined together, one of them young at least, and what was held of each before.
pub(super) struct Watched<'a> {
    entries: &'a [EntryRef<'a>],
    end: Stamp,
    before: Vec<Vec<Part>>,
}

/// Looks at what is held of entries that are about to be joined; `None` where none is young.
pub(super) fn watch<'a, S: Store>(
    entries: &'a [EntryRef<'a>],
    end: Stamp,
    store: &S,
) -> Option<Watched<'a>> {
    let is_young = |entry: &EntryRef<'_>| entry.newest() >= end;
    entries.iter().any(is_young).then(|| Watched {
        entries,
        end,
        before: held_of_all(entries, store),
    })
}

impl Watched<'_> {
    /// Of how many keys something came that was written before the end.
    pub(super) fn brought<S: Store>(&self, store: &S) -> u64 {
        let after = held_of_all(self.entries, store);
        let both = self.before.iter().zip(&after);
        both.filter(|(before, after)| brings(before, after, self.end))
            .count() as u64
    }
}

fn held_of_all<S: Store>(entries: &[EntryRef<'_>], store: &S) -> Vec<Vec<Part>> {
    let keys = entries.iter().map(|entry| entry.key);
    keys.map(|key| held_of(key, store)).collect()
}

fn held_of<S: Store>(key: &[u8], store: &S) -> Vec<Part> {
    let mut held = None;
    store.export(&[key], &mut |bytes| {
        held = Some(parts(&layout::view(bytes)))
    });
    held.unwrap_or_else(|| parts(&EntryRef::absent(key, store.flushed())))
}

fn parts(entry: &EntryRef<'_>) -> Vec<Part> {
    let register = |version| Part {
        version,
        life: None,
    };
    // The base that the deadline's passing starts is written by whoever counts on it first.
    let passed = entry.deadline.at.map(|_| entry.expiry_base());
    let registers = [entry.version, entry.deadline.version];
    let counted = entry.totals.iter().map(|total| Part {
        version: total.version(),
        life: Some(total.actor.incarnation),
    });
    registers
        .into_iter()
        .chain(passed)
        .map(register)
        .chain(counted)
        .collect()
}

fn brings(before: &[Part], after: &[Part], end: Stamp) -> bool {
    let was_there = |part: &Part| before.iter().any(|held| held.version == part.version);
    // Whoever writes a key twice may tell of both at once: the older part is on its way with the younger.
    let is_on_its_way = |part: &Part| {
        let is_by_same_life = |later: &Part| {
            let began = later.life.unwrap_or_default();
            later.version.origin == part.version.origin && began <= part.version.stamp.wall().0
        };
        let mut young = after.iter().filter(|later| later.version.stamp >= end);
        young.any(is_by_same_life)
    };
    let mut old = after.iter().filter(|part| part.version.stamp < end);
    old.any(|part| !was_there(part) && !is_on_its_way(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hlc::Origin;

    const END: Stamp = Stamp::at(crate::time::Wall(2_000));

    fn at(wall_ms: u64, origin: u8, life: Option<u64>) -> Part {
        let (stamp, origin) = (Stamp::at(crate::time::Wall(wall_ms)), Origin(origin));
        Part {
            version: Version { stamp, origin },
            life,
        }
    }

    #[test]
    fn what_is_missing_counts_when_it_is_older_than_the_end_and_not_on_its_way() {
        let base = at(500, 1, None);
        let (old, young) = (at(1_900, 2, Some(9)), at(2_100, 3, Some(9)));
        let cases = [
            (
                "nothing new",
                vec![base, old, young],
                vec![base, old, young],
                false,
            ),
            (
                "only what is young",
                vec![base, old],
                vec![base, old, young],
                false,
            ),
            (
                "counts of a region that told one",
                vec![base, young],
                vec![base, old, young],
                true,
            ),
            ("a base", vec![young], vec![base, young], true),
            // The same region prolonged it afterwards, and tells both at once.
            (
                "a base and its own deadline",
                vec![],
                vec![base, at(2_050, 1, None)],
                false,
            ),
            (
                "a base and its own counts",
                vec![],
                vec![base, at(2_050, 1, Some(400))],
                false,
            ),
            // The counts are of a later life, which did not write the base.
            (
                "a base and later counts",
                vec![],
                vec![base, at(2_050, 1, Some(600))],
                true,
            ),
            (
                "the counts of two lives",
                vec![base],
                vec![base, at(1_900, 2, Some(9)), at(2_100, 2, Some(1_950))],
                true,
            ),
        ];
        for (name, before, after, counts) in cases {
            assert_eq!(brings(&before, &after, END), counts, "{name}");
        }
    }
}
