//! A live value as commands see it.

use std::borrow::Cow;

use greenwich_proto::{
    decimal::Decimal,
    entry::{Body, EntryRef, layout},
    fingerprint::fingerprint,
    hlc::Stamp,
    slots::KeyHash,
    time::Wall,
};

use super::shard::ENTRY_OVERHEAD_BYTES;

/// A key's value and deadline, under its lock.
#[derive(Clone, Copy, Debug)]
pub struct View<'a>(EntryRef<'a>);

impl<'a> View<'a> {
    /// `None` unless clients see the entry at `now`.
    pub(super) fn of(entry: EntryRef<'a>, now: Wall) -> Option<Self> {
        entry.is_live(now).then_some(Self(entry))
    }

    /// The value. Counters are rendered; everything else is borrowed.
    #[must_use]
    pub fn value(&self) -> Cow<'a, [u8]> {
        match (self.0.body, self.0.totals.is_empty()) {
            (Body::Bytes(bytes), true) => Cow::Borrowed(bytes),
            (body, _) => match (self.0.number(), body) {
                (Some(number), _) => Cow::Owned(number.to_string().into_bytes()),
                (None, Body::Bytes(bytes)) => Cow::Borrowed(bytes),
                (None, Body::Dead) => Cow::Borrowed(b""),
            },
        }
    }

    /// The value as a number, if it is one.
    #[must_use]
    pub fn number(&self) -> Option<Decimal> {
        self.0.number()
    }

    /// When it expires.
    #[must_use]
    pub fn deadline(&self) -> Option<Wall> {
        self.0.deadline.at
    }

    /// When it was last written, in this region or another.
    #[must_use]
    pub fn newest(&self) -> Stamp {
        self.0.newest()
    }

    /// What differs after every write, in this region or another: a hash of all registers, because one that arrives
    /// from another region need not be the newest. Two states share it by a chance of 2^-64.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        fingerprint(KeyHash::of(self.0.key), &self.0)
    }

    /// Whether it counts, so that its bytes are rendered on every read.
    #[must_use]
    pub fn is_counter(&self) -> bool {
        !self.0.totals.is_empty()
    }

    /// Bytes that it takes, with its share of the table.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        layout::encoded_len(&self.0) + ENTRY_OVERHEAD_BYTES
    }
}
