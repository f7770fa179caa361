//! What comes over a link of other regions than the peer: how it is seen that a broken link is routed around.
//!
//! Two regions that compare what they hold exchange what differs, whoever wrote it. So what a third region wrote comes by
//! way of the peer when its own link is broken. This is counted here, and how far it reaches; it decides nothing.

use std::collections::BTreeMap;

use crate::{
    entry::{EntryRef, layout},
    hlc::{Origin, Stamp, Version},
    wire::{
        batch::{Batch, Item},
        control::Hearsay,
    },
};

/// What came of one region by way of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// What the region wrote up to here was heard by the peer, and is here as far as a comparison has shown. Zero before
    /// the first.
    pub up_to: Stamp,
    /// Entries that came with repairs, and that it wrote last of all regions beside those at the link's ends.
    pub updates: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What came over one link, by the region of which it is: few, as a region is a number of one byte.
#[derive(Debug, Default)]
pub(super) struct Relays(BTreeMap<Origin, Relayed>);

impl Relays {
    /// A batch of a repair arrived over a link between these two regions.
    pub(super) fn note(&mut self, batch: &Batch<'_>, ends: [Origin; 2]) {
        for item in batch.items() {
            match item {
                Item::Entry(entry) => self.note_entry(&entry, ends),
                Item::Unit(unit) => {
                    let entries = unit.entries();
                    entries.for_each(|entry| self.note_entry(&entry, ends));
                }
                Item::Flush(_) => {}
            }
        }
    }

    fn note_entry(&mut self, entry: &EntryRef<'_>, ends: [Origin; 2]) {
        let is_other = |version: &Version| !ends.contains(&version.origin);
        // The base that expiry starts is nobody's.
        let by_others = entry.versions().filter(is_other);
        if let Some(newest) = by_others.max().filter(|newest| newest.origin.0 > 0) {
            let of = self.0.entry(newest.origin).or_default();
            of.updates += 1;
            of.bytes += layout::encoded_len(entry) as u64;
        }
    }

    /// What the peer held at `end` is here, when it had heard of others what it says.
    pub(super) fn reach(&mut self, end: Stamp, hearsay: &Hearsay) {
        for word in &hearsay.words {
            self.0.entry(Origin(word.id)).or_default().up_to = word.heard.min(end);
        }
    }

    /// By region.
    pub(super) fn all(&self) -> Vec<(Origin, Relayed)> {
        let all = self.0.iter();
        all.map(|(origin, relayed)| (*origin, *relayed)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        entry::Body,
        lives::Gap,
        settled::Settled,
        time::Wall,
        wire::{batch, control::Word},
    };

    fn written_by(origin: u8) -> Box<[u8]> {
        let version = Version {
            stamp: Stamp::at(Wall(7)),
            origin: Origin(origin),
        };
        let body = Body::Bytes(b"value");
        layout::to_box(&EntryRef {
            body,
            ..EntryRef::absent(b"key", version)
        })
    }

    #[test]
    fn what_others_wrote_is_counted_by_who_did() {
        let (own, others) = (written_by(2), written_by(3));
        let mut bytes = Vec::new();
        batch::put_header(1, Settled::NOTHING, &[], &mut bytes);
        batch::put_entry(&own, &mut bytes);
        batch::put_unit(2, &mut bytes);
        batch::put_unit_entry(&others, &mut bytes);
        batch::put_unit_entry(&others, &mut bytes);
        let mut relays = Relays::default();
        relays.note(&Batch::decode(&bytes).unwrap(), [Origin(1), Origin(2)]);
        let relayed = Relayed {
            up_to: Stamp::ZERO,
            updates: 2,
            bytes: 2 * others.len() as u64,
        };
        assert_eq!(relays.all(), [(Origin(3), relayed)]);
    }

    #[test]
    fn a_region_is_here_as_far_as_the_peer_had_heard_it_and_no_further_than_was_compared() {
        let mut relays = Relays::default();
        let heard = |id, heard| Word {
            id,
            incarnation: 1,
            heard: Stamp::at(Wall(heard)),
            holds: Stamp::ZERO,
            gap: Gap::CLOSED,
        };
        let hearsay = Hearsay {
            settled: Stamp::ZERO,
            words: vec![heard(3, 1_500), heard(4, 2_500)],
        };
        relays.reach(Stamp::at(Wall(2_000)), &hearsay);
        let all = relays.all();
        let reached = all.iter().map(|(_, relayed)| relayed.up_to.wall().0);
        assert_eq!(reached.collect::<Vec<_>>(), [1_500, 2_000]);
    }
}
