//! One key under its lock: what a command may do to it. Each method is one accepted write: it is stamped, logged and
//! merged into what was there before the lock is given back.

use greenwich_proto::{
    decimal::Decimal,
    entry::{
        Body, Deadline, EntryRef, layout,
        totals::{Total, Totals},
    },
    hlc::Version,
    log::{Marks, Position},
    time::Wall,
};

use super::{Keyspace, Lookups, Place, View, shard::Shard};

/// How the writes of a slot are logged.
pub(super) enum Record<'a> {
    /// Each on its own.
    Alone,
    /// All with one stamp, as one record of these keys.
    Unit {
        keys: &'a [&'a [u8]],
        position: &'a mut Option<Position>,
    },
}

/// One key under its lock.
pub struct Slot<'a> {
    pub(super) space: &'a Keyspace,
    pub(super) shard: &'a mut Shard,
    pub(super) place: Place,
    pub(super) key: &'a [u8],
    pub(super) now: Wall,
    pub(super) marks: &'a mut Marks,
    pub(super) lookups: &'a mut Lookups,
    pub(super) record: Record<'a>,
}

impl std::fmt::Debug for Slot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl<'a> Slot<'a> {
    /// The value that clients see, if there is one.
    #[must_use]
    pub fn view(&self) -> Option<View<'_>> {
        self.held().and_then(|entry| View::of(entry, self.now))
    }

    /// The value that clients see, for a command that replies with it: the lookup counts.
    pub fn read(&mut self) -> Option<View<'_>> {
        let held = self.shard.find(self.place, self.key).map(layout::view);
        let view = held.and_then(|entry| View::of(entry, self.now));
        self.lookups.count(view.is_some());
        view
    }

    /// Writes a value and its deadline, or its lack of one.
    pub fn set(&mut self, value: &[u8], deadline: Option<Wall>) {
        let body = Body::Bytes(value);
        if let Record::Unit { .. } = self.record {
            let version = self.stamp();
            return self.put(&self.entry(version, body, deadline));
        }
        let mut entry = self.entry(Version::ZERO, body, deadline);
        let position = self
            .space
            .log
            .append_value(self.place.lane(), self.now, |stamp| {
                entry.version = Version {
                    stamp,
                    origin: self.space.actor.origin,
                };
                entry.deadline.version = entry.version;
                entry
            });
        self.marks.note(position);
        self.put(&entry);
    }

    /// Deletes the value. Returns whether there was one.
    pub fn delete(&mut self) -> bool {
        let existed = self.view().is_some();
        if existed {
            let version = self.stamp();
            self.put(&self.entry(version, Body::Dead, None));
        }
        existed
    }

    /// Changes when the value expires. Returns whether there is one.
    pub fn set_deadline(&mut self, at: Option<Wall>) -> bool {
        if self.view().is_none() {
            return false;
        }
        let version = self.stamp();
        if let Some(held) = self.held() {
            let bytes = layout::to_box(&EntryRef {
                deadline: Deadline { version, at },
                ..held
            });
            self.put(&layout::view(&bytes));
        }
        true
    }

    /// Adds to the number that the value is, or to zero. Returns the visible sum.
    ///
    /// # Errors
    /// [`AddError`] when the value is not a number or the sum does not fit; nothing is written then.
    pub fn add(&mut self, amount: Decimal) -> Result<Decimal, AddError> {
        let base = base(self.shard, self.place, self.key, self.now);
        let actor = self.space.actor;
        let visible = base.number().ok_or(AddError::NotANumber)?;
        let visible = visible.checked_add(amount).ok_or(AddError::TooLarge)?;
        let sum = base
            .totals
            .of(actor)
            .checked_add(amount)
            .ok_or(AddError::TooLarge)?;
        // The record goes first; the key stays locked until its state is there.
        let stamp = stamp(
            self.space,
            self.place,
            self.key,
            self.now,
            self.marks,
            &mut self.record,
        )
        .stamp;
        let mut totals = Vec::with_capacity(base.totals.as_bytes().len() + Totals::ENTRY_BYTES);
        let total = Total {
            actor,
            stamp,
            sum,
            folded: None,
        };
        base.totals.encode_with(&total, &mut totals);
        let totals = Totals::from_bytes(&totals).expect("totals stay in order");
        let bytes = layout::to_box(&EntryRef { totals, ..base });
        self.put(&layout::view(&bytes));
        Ok(visible)
    }

    fn held(&self) -> Option<EntryRef<'_>> {
        self.shard.find(self.place, self.key).map(layout::view)
    }

    /// A base without totals.
    fn entry<'v>(&self, version: Version, body: Body<'v>, at: Option<Wall>) -> EntryRef<'v>
    where
        'a: 'v,
    {
        let deadline = Deadline { version, at };
        EntryRef {
            key: self.key,
            version,
            body,
            deadline,
            totals: Totals::EMPTY,
        }
    }

    fn stamp(&mut self) -> Version {
        stamp(
            self.space,
            self.place,
            self.key,
            self.now,
            self.marks,
            &mut self.record,
        )
    }

    fn put(&mut self, entry: &EntryRef<'_>) {
        self.shard.put(self.place, entry, self.now);
    }
}

/// What an increment adds to: the entry as it is, or nothing on the base that its end started.
fn base<'a>(shard: &'a Shard, place: Place, key: &'a [u8], now: Wall) -> EntryRef<'a> {
    let Some(held) = shard.find(place, key).map(layout::view) else {
        return EntryRef::absent(key, shard.flushed);
    };
    if held.has_expired(now) {
        return EntryRef::absent(key, held.expiry_base());
    }
    held
}

/// Logs a write and gives it its version. A unit is logged once, by its first write.
fn stamp(
    space: &Keyspace,
    place: Place,
    key: &[u8],
    now: Wall,
    marks: &mut Marks,
    record: &mut Record<'_>,
) -> Version {
    let position = match record {
        Record::Alone => space.log.append_key(place.lane(), now, key),
        Record::Unit {
            keys: [key],
            position,
        } => *position.get_or_insert_with(|| space.log.append_key(place.lane(), now, key)),
        Record::Unit { keys, position } => *position
            .get_or_insert_with(|| space.log.append(place.lane(), now, keys.iter().copied())),
    };
    marks.note(position);
    Version {
        stamp: position.stamp,
        origin: space.actor.origin,
    }
}

/// Why a number was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// The value is not a number.
    #[error("the value is not a number")]
    NotANumber,
    /// The sum is beyond what is kept exactly.
    #[error("the sum is too large")]
    TooLarge,
}
