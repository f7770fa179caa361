//! Which keys repairs have changed here lately, with what was held before and what the other side had.
//!
//! A bounded memory for people who ask what differed. It decides nothing.

use std::collections::VecDeque;

use crate::{
    decimal::Decimal,
    entry::{EntryRef, layout, totals::Total},
    fingerprint::identity,
    hlc::{Origin, Version},
    slots::KeyHash,
    store::Store,
    time::Wall,
    wire::batch::{Batch, Item},
};

/// Keys that are remembered, of each peer.
pub const DIFFERENCES_MAX: usize = 100;
/// Bytes of a key that are remembered.
pub const DIFFERENCE_KEY_BYTES_MAX: usize = 128;

/// A key that a repair has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// When it arrived.
    pub at: Wall,
    /// The key, or its first [`DIFFERENCE_KEY_BYTES_MAX`] bytes.
    pub key: Box<[u8]>,
    /// How long the key is.
    pub key_bytes: usize,
    /// What was held here before; `None` for nothing.
    pub here: Option<Held>,
    /// What the other side had.
    pub there: Held,
}

/// What a side held of a key, without the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Version of the value, or of its deletion.
    pub version: Version,
    /// When anything of it was written last, and where.
    pub newest: Version,
    /// Whether there is a value until the deadline; otherwise it was deleted.
    pub has_value: bool,
    /// When it ends.
    pub deadline: Option<Wall>,
    /// What each region has counted on it, in all of its lives.
    pub counts: Box<[(Origin, Decimal)]>,
}

impl Held {
    fn of(entry: &EntryRef<'_>) -> Self {
        Self {
            version: entry.version,
            newest: entry.versions().max().unwrap_or(entry.version),
            has_value: entry.has_value(),
            deadline: entry.deadline.at,
            counts: entry.totals.shares().map(count).collect(),
        }
    }
}

fn count(share: Total) -> (Origin, Decimal) {
    (share.actor.origin, share.sum)
}

/// What is held of a key that comes with a repair, before it is joined.
#[derive(Debug)]
pub(super) struct Before<'a> {
    entry: EntryRef<'a>,
    held: Option<Held>,
    identity: Option<u64>,
}

/// Looks at what is held of the keys in a batch of a repair: of as many as will be remembered.
pub(super) fn before<'a, S: Store>(batch: &Batch<'a>, store: &S) -> Vec<Before<'a>> {
    let mut entries = Vec::new();
    for item in batch.items() {
        match item {
            Item::Entry(entry) => entries.push(entry),
            Item::Unit(unit) => entries.extend(unit.entries()),
            Item::Flush(_) => {}
        }
        if entries.len() >= DIFFERENCES_MAX {
            break;
        }
    }
    let look = |entry: EntryRef<'a>| {
        let (held, identity) = look(entry.key, store).unzip();
        Before {
            entry,
            held,
            identity,
        }
    };
    entries.into_iter().map(look).collect()
}

fn look<S: Store>(key: &[u8], store: &S) -> Option<(Held, u64)> {
    let mut found = None;
    store.export(&[key], &mut |bytes| {
        let entry = layout::view(bytes);
        found = Some((Held::of(&entry), identity(KeyHash::of(key), &entry)));
    });
    found
}

/// The newest differences.
#[derive(Clone, Debug, Default)]
pub(super) struct Differences(VecDeque<Difference>);

impl Differences {
    /// Remembers those keys that were changed since they were looked at.
    pub(super) fn note<S: Store>(&mut self, before: Vec<Before<'_>>, store: &S, at: Wall) {
        for Before {
            entry,
            held,
            identity,
        } in before
        {
            if look(entry.key, store).map(|(_, identity)| identity) == identity {
                continue;
            }
            if self.0.len() == DIFFERENCES_MAX {
                self.0.pop_front();
            }
            let shown = entry.key.len().min(DIFFERENCE_KEY_BYTES_MAX);
            self.0.push_back(Difference {
                at,
                key: entry.key[..shown].into(),
                key_bytes: entry.key.len(),
                here: held,
                there: Held::of(&entry),
            });
        }
    }

    /// All that are remembered, the oldest first.
    pub(super) fn recent(&self) -> Vec<Difference> {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::{
        entry::{
            Body,
            totals::{Actor, Totals},
        },
        hlc::Stamp,
        settled::Settled,
        store::stub::Stub,
        wire::batch::{put_entry, put_header},
    };

    fn entry<'a>(key: &'a [u8], at: u64) -> EntryRef<'a> {
        let stamp = Stamp(at);
        let version = Version {
            stamp,
            ..Version::ZERO
        };
        EntryRef {
            body: Body::Bytes(b"value"),
            ..EntryRef::absent(key, version)
        }
    }

    #[test]
    fn what_a_repair_changed_is_remembered_with_what_was_there_before() {
        let long = [b'k'; DIFFERENCE_KEY_BYTES_MAX + 1];
        let mut bytes = Vec::new();
        put_header(1, Settled::NOTHING, &[], &mut bytes);
        for key in [&b"new"[..], b"held", &long] {
            put_entry(&layout::to_box(&entry(key, 7)), &mut bytes);
        }
        let batch = Batch::decode(&bytes).unwrap();
        // Of "held" there is something newer; of the long key something older; nothing of the other.
        let held = RefCell::new(vec![entry(b"held", 9), entry(&long, 3)]);
        let store = Stub {
            export: |keys: &[&[u8]], visit: &mut dyn FnMut(&[u8])| {
                let held = held.borrow();
                let found = held.iter().filter(|entry| keys.contains(&entry.key));
                found.for_each(|entry| visit(&layout::to_box(entry)));
            },
            sweep: |_, _: &mut dyn FnMut(&[u8])| None,
            list: |_, _: &mut dyn FnMut(KeyHash, &[u8])| {},
        };
        let mut differences = Differences::default();
        let looked = before(&batch, &store);
        held.replace(vec![entry(b"held", 9), entry(&long, 7), entry(b"new", 7)]);
        differences.note(looked, &store, Wall(5));
        let found: Vec<_> = differences.recent();
        let stamps = found.iter().map(|found| {
            let here = found.here.as_ref().map(|held| held.newest.stamp.0);
            (
                found.key.len(),
                found.key_bytes,
                here,
                found.there.newest.stamp.0,
            )
        });
        let shown = DIFFERENCE_KEY_BYTES_MAX;
        let expected = [(3, 3, None, 7), (shown, shown + 1, Some(3), 7)];
        assert_eq!(stamps.collect::<Vec<_>>(), expected);
        for _ in 0..2 * DIFFERENCES_MAX {
            held.replace(Vec::new());
            let looked = before(&batch, &store);
            held.replace(vec![entry(b"new", 7)]);
            differences.note(looked, &store, Wall(6));
        }
        assert_eq!(differences.recent().len(), DIFFERENCES_MAX);
    }

    #[test]
    fn two_versions_of_a_counter_differ_in_what_a_region_has_counted() {
        let mut totals = Vec::new();
        for (origin, incarnation, sum) in [(1, 3, 5), (1, 4, 2), (2, 3, -7_i64)] {
            let total = Total {
                actor: Actor {
                    origin: Origin(origin),
                    incarnation,
                },
                stamp: Stamp(7 + incarnation),
                sum: Decimal::from(sum),
                folded: None,
            };
            let before = std::mem::take(&mut totals);
            Totals::trusted(&before).encode_with(&total, &mut totals);
        }
        let counter = EntryRef {
            totals: Totals::from_bytes(&totals).unwrap(),
            ..entry(b"counter", 7)
        };
        let held = Held::of(&counter);
        let counts = [(1, 7), (2, -7_i64)].map(|(id, sum)| (Origin(id), Decimal::from(sum)));
        assert_eq!(*held.counts, counts);
        let (stamp, origin) = (Stamp(11), Origin(1));
        assert_eq!(held.newest, Version { stamp, origin });
    }
}
