//! What one side says of an entry, in a few bytes, so that the other can tell which of two states of a key is newer.
//!
//! ```text
//!  glimpse = key u24 · base u8 · age varint × 2 + whether there is more [· further age varint]
//! ```
//! The key and the version of its base are told by parts of hashes that are others in each epoch, ages in milliseconds at
//! the end of the epoch. Where that is not enough to be sure, both states travel; a mistake is mended in the next round.

use crate::{
    entry::EntryRef,
    fingerprint::end_of,
    slots::{KeyHash, fold},
    wire::bytes::{Reader, Truncated, put_varint},
};

/// Any odd constant with as many ones as zeros.
const SALT: u64 = 0x452b_21e6_38d0_1377;

/// Of 100,000 changed keys, one in a slot with five others, two bytes took a dozen for another one.
const KEY_BITS: u32 = 24;
const KEY_MASK: u32 = (1 << KEY_BITS) - 1;

/// An entry, as far as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Glimpse {
    /// The lower three bytes of a hash of the key.
    key: u32,
    /// Part of a hash of the base's version.
    base: u8,
    /// Whether there is nothing but what came with the base: no other deadline, and no totals.
    is_plain: bool,
    /// How long before the end of the epoch the newest of it was written, and its base.
    age_ms: u64,
    base_age_ms: u64,
}

/// Which of two states of one key the other side lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lacking {
    /// The second one's holder lacks the first.
    First,
    /// The first one's holder lacks the second.
    Second,
    /// Each lacks something of the other, or it cannot be told.
    Both,
}

impl Glimpse {
    pub(super) fn of(key: KeyHash, entry: &EntryRef<'_>, epoch: u64) -> Self {
        let end = end_of(epoch).wall();
        let base = entry.version;
        let age_ms = |wall: crate::time::Wall| end.0.saturating_sub(wall.0);
        Self {
            key: salted(key.0, epoch) as u32 & KEY_MASK,
            base: salted(
                base.stamp.0.rotate_left(8) ^ u64::from(base.origin.0),
                epoch,
            ) as u8,
            is_plain: entry.deadline.version == base && entry.totals.is_empty(),
            age_ms: age_ms(entry.newest().wall()),
            base_age_ms: age_ms(base.stamp.wall()),
        }
    }

    /// Whether both are of one key of a slot, as far as can be told.
    pub(super) fn is_of_key_of(&self, other: &Self) -> bool {
        self.key == other.key
    }

    /// What has to travel of two states of one key.
    pub(super) fn lacking(first: &Self, second: &Self) -> Lacking {
        // Whoever writes a base writes everything: one that is newer than all of the other leaves nothing of it.
        if first.base_age_ms < second.age_ms {
            return Lacking::First;
        }
        if second.base_age_ms < first.age_ms {
            return Lacking::Second;
        }
        // Of bases that are younger than the end no age is told, and a byte does not tell them apart.
        let is_old = first.base_age_ms > 0;
        let has_same_base =
            is_old && (first.base, first.base_age_ms) == (second.base, second.base_age_ms);
        match (first.is_plain, second.is_plain) {
            (false, true) if has_same_base => Lacking::First,
            (true, false) if has_same_base => Lacking::Second,
            _ => Lacking::Both,
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        // The base takes the byte that the key leaves.
        let both = self.key | u32::from(self.base) << KEY_BITS;
        out.extend_from_slice(&both.to_le_bytes());
        put_varint(self.age_ms << 1 | u64::from(!self.is_plain), out);
        if !self.is_plain {
            put_varint(self.base_age_ms.saturating_sub(self.age_ms), out);
        }
    }

    /// # Errors
    /// [`Truncated`] for anything that [`Self::put`] does not write.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Truncated> {
        let (both, age) = (reader.u32()?, reader.varint()?);
        let (age_ms, is_plain) = (age >> 1, age & 1 == 0);
        let further_ms = if is_plain { 0 } else { reader.varint()? };
        Ok(Self {
            key: both & KEY_MASK,
            base: (both >> KEY_BITS) as u8,
            is_plain,
            age_ms,
            base_age_ms: age_ms.saturating_add(further_ms),
        })
    }
}

fn salted(hash: u64, epoch: u64) -> u64 {
    fold(hash ^ SALT, epoch.wrapping_mul(SALT) ^ SALT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        entry::{Body, Deadline},
        hlc::{Origin, Stamp, Version},
        time::Wall,
    };

    const EPOCH: u64 = 1_800_000_000;

    fn version(age_ms: u64, origin: u8) -> Version {
        let stamp = Stamp::at(Wall(end_of(EPOCH).wall().0 - age_ms));
        let origin = Origin(origin);
        Version { stamp, origin }
    }

    fn entry(base: Version, deadline: Version) -> EntryRef<'static> {
        EntryRef {
            body: Body::Bytes(b"value"),
            deadline: Deadline {
                version: deadline,
                at: None,
            },
            ..EntryRef::absent(b"key", base)
        }
    }

    fn glimpse(base: Version, deadline: Version) -> Glimpse {
        Glimpse::of(KeyHash::of(b"key"), &entry(base, deadline), EPOCH)
    }

    #[test]
    fn a_glimpse_is_read_as_it_was_put_and_nothing_else_is() {
        let plain = glimpse(version(86_400_000, 1), version(86_400_000, 1));
        let prolonged = glimpse(version(90_000, 1), version(5, 2));
        for (glimpse, bytes_max) in [(plain, 8), (prolonged, 9)] {
            let mut bytes = Vec::new();
            glimpse.put(&mut bytes);
            assert!(bytes.len() <= bytes_max, "{bytes:?}");
            assert_eq!(Glimpse::read(&mut Reader::new(&bytes)), Ok(glimpse));
            let cut = &bytes[..bytes.len() - 1];
            assert_eq!(Glimpse::read(&mut Reader::new(cut)), Err(Truncated));
        }
    }

    #[test]
    fn what_leaves_nothing_of_the_other_travels_alone() {
        let (old, new, prolonged) = (version(900, 1), version(300, 2), version(500, 2));
        let plain = |base| glimpse(base, base);
        let cases = [
            (plain(new), plain(old), Lacking::First),
            (plain(new), glimpse(old, prolonged), Lacking::First),
            (glimpse(old, prolonged), plain(old), Lacking::First),
            // The deadline of the one and the base of the other are newer.
            (glimpse(old, new), plain(prolonged), Lacking::Both),
            // Two bases of one millisecond, and two deadlines of one base.
            (
                plain(version(300, 1)),
                plain(version(300, 2)),
                Lacking::Both,
            ),
            (glimpse(old, new), glimpse(old, prolonged), Lacking::Both),
            (glimpse(version(900, 2), new), plain(old), Lacking::Both),
            // Both were written after the end.
            (
                plain(version(0, 1)),
                glimpse(version(0, 1), version(0, 2)),
                Lacking::Both,
            ),
        ];
        for (first, second, lacking) in cases {
            assert_eq!(
                Glimpse::lacking(&first, &second),
                lacking,
                "{first:?}, {second:?}"
            );
            let reversed = match lacking {
                Lacking::First => Lacking::Second,
                Lacking::Second => Lacking::First,
                Lacking::Both => Lacking::Both,
            };
            assert_eq!(Glimpse::lacking(&second, &first), reversed);
        }
    }
}
