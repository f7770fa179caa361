//! What every region must hold in the end, by a naive model of its own: a list of everything that was accepted, executed
//! in the order of stamps as one process would.
//!
//! It takes from the regions only what they said when they accepted a write: its version, and for an increment the base
//! that it was added to. It shares no code with the join. Three things it must know beyond the list:
//!
//! - what a node had accepted and nobody else had when it died is lost, and must not be waited for;
//!
//! - an increment belongs to the newest base that its region *knew*. A region that has forgotten a settled deletion
//!   reports an older base; so the oracle follows what each region has known of each key;
//! - the passing of a deadline starts a base of its own once somebody counts on it.

mod outcome;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use greenwich_proto::{
    decimal::Decimal,
    entry::{
        EntryRef,
        totals::{Actor, Total},
    },
    hlc::{Origin, Stamp, Version},
    settled::Settled,
    time::Wall,
};

pub use self::outcome::Outcome;
use crate::workload::Key;

/// What a region holds of a key, to tell whether an effect reached it.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// Its entry.
    pub entry: Option<&'a EntryRef<'a>>,
    /// The newest flush that it has heard of.
    pub flushed: Version,
}

impl Held<'_> {
    /// Whether the effect, or something newer in its place, has reached the region.
    #[must_use]
    pub fn covers(&self, effect: &Effect) -> bool {
        let base = self.entry.map_or(self.flushed, |entry| entry.version);
        let base = base.max(self.flushed);
        match effect {
            Effect::Base { version, .. } => base >= *version,
            Effect::Deadline { version, .. } => {
                let deadline = self.entry.map(|entry| entry.deadline.version);
                base > *version || deadline.is_some_and(|held| held >= *version)
            }
            Effect::Count {
                base: of,
                actor,
                stamp,
                ..
            } => {
                let total = Total {
                    actor: *actor,
                    stamp: *stamp,
                    sum: Decimal::ZERO,
                    folded: None,
                };
                let has_it = |entry: &EntryRef<'_>| entry.totals.counts(&total);
                base > *of || self.entry.is_some_and(has_it)
            }
        }
    }
}

/// What an accepted command did to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A value or its end, with its deadline.
    Base {
        /// When and where.
        version: Version,
        /// The value, or `None` for its end.
        body: Option<Vec<u8>>,
        /// The deadline that the writer gave it or saw.
        deadline: Option<Wall>,
    },
    /// Another deadline, or none.
    Deadline {
        /// When and where.
        version: Version,
        /// The deadline.
        at: Option<Wall>,
    },
    /// An increment.
    Count {
        /// The base that the region said it was added to.
        base: Version,
        /// How much.
        amount: i64,
        /// Whose total it is in.
        actor: Actor,
        /// When that was changed.
        stamp: Stamp,
    },
}

impl Effect {
    /// Whether it ended what the key was, or may.
    const fn may_end(&self) -> bool {
        match self {
            Self::Base { body, deadline, .. } => body.is_none() || deadline.is_some(),
            Self::Deadline { .. } => true,
            Self::Count { .. } => false,
        }
    }

    /// Whether it counted on a base.
    #[must_use]
    pub fn counts_on(&self, version: Version) -> bool {
        matches!(self, Self::Count { base, .. } if *base == version)
    }

    /// When and where it was accepted.
    #[must_use]
    pub const fn made_at(&self) -> Version {
        match self {
            Self::Base { version, .. } | Self::Deadline { version, .. } => *version,
            Self::Count { actor, stamp, .. } => Version {
                stamp: *stamp,
                origin: actor.origin,
            },
        }
    }
}

/// The newest of a key that a region has ever held.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    base: Version,
    /// The newest base and deadline in earnest: not of a base that the passing of a deadline would start.
    held: (Version, Version),
    deadline_version: Version,
    deadline: Option<Wall>,
}

impl Known {
    fn start(&mut self, base: Version) {
        *self = Self {
            base,
            deadline_version: base,
            deadline: None,
            ..*self
        };
    }

    /// The base that the passing of the deadline started.
    fn expiry_base(&self, deadline: Wall) -> Version {
        let newest = self.base.stamp.max(self.deadline_version.stamp);
        let stamp = Stamp(newest.0 + 1).max(Stamp(deadline.0 << 16));
        Version {
            stamp,
            origin: Origin::NONE,
        }
    }
}

/// The model.
#[derive(Debug)]
pub struct Oracle {
    effects: BTreeMap<Key, Vec<Effect>>,
    known: Vec<BTreeMap<Key, Known>>,
    /// Up to when each region has held what a life counted, where that was not folded.
    counted: Vec<BTreeMap<(Key, Actor), Stamp>>,
    /// Keys that a region wrote of which others had not heard when they stopped to wait for it.
    contested: BTreeSet<Key>,
    /// Keys of which an end died with the only nodes that had it.
    ends_lost: BTreeSet<Key>,
    /// By how much the clocks of two regions may differ.
    clock_error: Duration,
}

impl Oracle {
    /// Nothing accepted yet, in regions whose clocks differ by `clock_error` at most.
    #[must_use]
    pub fn new(regions: usize, clock_error: Duration) -> Self {
        Self {
            effects: BTreeMap::new(),
            known: vec![BTreeMap::new(); regions],
            counted: vec![BTreeMap::new(); regions],
            contested: BTreeSet::new(),
            ends_lost: BTreeSet::new(),
            clock_error,
        }
    }

    /// The newest base of a key that a region has held.
    #[must_use]
    pub fn known_base(&self, region: usize, key: Key) -> Version {
        self.known[region]
            .get(&key)
            .copied()
            .unwrap_or_default()
            .base
    }

    /// Whether a region has held what an effect left, or what took its place, though it may have forgotten it since. What
    /// regions say that everybody has heard is no proof: they do not wait for one that was removed.
    #[must_use]
    pub fn has_held(&self, region: usize, key: Key, effect: &Effect) -> bool {
        let known = self.known[region].get(&key).copied().unwrap_or_default();
        let (held_base, held_deadline) = known.held;
        match effect {
            Effect::Base { version, .. } => held_base >= *version,
            Effect::Deadline { version, .. } => held_base > *version || held_deadline >= *version,
            Effect::Count {
                base, actor, stamp, ..
            } => {
                let counted = self.counted[region].get(&(key, *actor));
                held_base > *base || counted.is_some_and(|up_to| up_to >= stamp)
            }
        }
    }

    /// A region accepted a command while its wall clock showed `wall`.
    pub fn accept(&mut self, region: usize, key: Key, effect: Effect, wall: Wall) {
        let effect = match effect {
            Effect::Count {
                base,
                amount,
                actor,
                stamp,
            } => {
                self.note_counted(region, key, (actor, stamp));
                Effect::Count {
                    base: self.base_of_count(region, key, base, wall),
                    amount,
                    actor,
                    stamp,
                }
            }
            other @ (Effect::Base { .. } | Effect::Deadline { .. }) => other,
        };
        self.effects.entry(key).or_default().push(effect);
    }

    fn note_counted(&mut self, region: usize, key: Key, (actor, stamp): (Actor, Stamp)) {
        let counted = self.counted[region].entry((key, actor)).or_default();
        *counted = stamp.max(*counted);
    }

    fn base_of_count(&mut self, region: usize, key: Key, reported: Version, wall: Wall) -> Version {
        let known = self.known[region].entry(key).or_default();
        let base = match known.deadline {
            // What the region held has expired; it says so, or has forgotten it.
            Some(deadline) if deadline <= wall && reported <= known.base => {
                known.expiry_base(deadline)
            }
            _ => reported.max(known.base),
        };
        if base > known.base {
            known.start(base);
        }
        if base.origin == Origin::NONE && base > Version::ZERO {
            self.effects.entry(key).or_default().push(Effect::Base {
                version: base,
                body: None,
                deadline: None,
            });
        }
        base
    }

    /// A region has forgotten what it held of a key. If that had a deadline, it has passed: increments that the region
    /// accepts from here on belong to the base that it started, whatever deadline arrives before them.
    pub fn forget(&mut self, region: usize, key: Key) {
        let known = self.known[region].entry(key).or_default();
        if let Some(passed) = known.deadline {
            known.start(known.expiry_base(passed));
        }
    }

    /// A region holds this of a key.
    pub fn observe(
        &mut self,
        region: usize,
        key: Key,
        entry: Option<&EntryRef<'_>>,
        flushed: Version,
    ) {
        let totals = entry.iter().flat_map(|entry| entry.totals.iter());
        for total in totals.filter(|total| total.folded.is_none()) {
            self.note_counted(region, key, (total.actor, total.stamp));
        }
        let known = self.known[region].entry(key).or_default();
        let (held_base, held_deadline) = &mut known.held;
        *held_base = flushed.max(*held_base);
        if flushed > known.base {
            known.base = flushed;
        }
        if let Some(entry) = entry {
            *held_base = entry.version.max(*held_base);
            *held_deadline = entry.deadline.version.max(*held_deadline);
            known.base = known.base.max(entry.version);
            if entry.deadline.version > known.deadline_version {
                known.deadline_version = entry.deadline.version;
                known.deadline = entry.deadline.at;
            }
        }
        if known.base > known.deadline_version {
            known.deadline_version = known.base;
            known.deadline = None;
        }
    }

    /// A node of a region starts again, empty, and knows nothing.
    pub fn restart(&mut self, region: usize) {
        self.known[region].clear();
        self.counted[region].clear();
    }

    /// A restarted region has received what `from` holds. Of the bases that `from` has forgotten, because every region that it
    /// waits for had heard of their end, the region knows as much as `from`. `held` is the base that `from` holds of a key.
    pub fn inherit(
        &mut self,
        region: usize,
        from: usize,
        settled: Stamp,
        held: impl Fn(Key) -> Option<Version>,
    ) {
        for (key, theirs) in self.known[from].clone() {
            let is_settled = theirs.base.stamp.max(theirs.deadline_version.stamp) <= settled;
            let is_forgotten = is_settled && held(key).is_none_or(|base| base < theirs.base);
            let ours = self.known[region].entry(key).or_default();
            if is_forgotten
                && (theirs.base, theirs.deadline_version) > (ours.base, ours.deadline_version)
            {
                *ours = theirs;
            }
        }
    }

    /// A region has been told by `from` that a key has ended, and knows as much of it.
    pub fn inherit_key(&mut self, region: usize, from: usize, key: Key) {
        let theirs = self.known[from].get(&key).copied().unwrap_or_default();
        self.known[region].insert(key, theirs);
    }

    /// A region forgets what has ended without waiting for others that are away: keys that those have written meanwhile may
    /// end up with or without the end of which they did not know.
    pub fn contest(&mut self, settled: &Settled) {
        let is_late = |effect: &Effect| settled.is_late(effect.made_at());
        let late = self.effects.iter();
        let late = late.filter(|(_, effects)| effects.iter().any(is_late));
        self.contested.extend(late.map(|(key, _)| *key));
    }

    /// Whether what a key is depends on which ends were forgotten before the writes of a region that was away arrived.
    #[must_use]
    pub fn is_contested(&self, key: Key) -> bool {
        let may_have_ended =
            || self.ends_lost.contains(&key) || self.effects(key).iter().any(Effect::may_end);
        self.contested.contains(&key) && may_have_ended()
    }

    /// How many keys are.
    #[must_use]
    pub fn contested(&self) -> u64 {
        let contested = self.contested.iter();
        contested.filter(|key| self.is_contested(**key)).count() as u64
    }

    /// Every effect with its key and its place, for [`Self::lose`].
    pub fn all(&self) -> impl Iterator<Item = (Key, usize, &Effect)> {
        self.effects.iter().flat_map(|(&key, effects)| {
            let numbered = effects.iter().enumerate();
            numbered.map(move |(at, effect)| (key, at, effect))
        })
    }

    /// These effects died with the only nodes that had them. Returns them.
    pub fn lose(&mut self, lost: &BTreeSet<(Key, usize)>) -> Vec<(Key, Effect)> {
        let mut gone = Vec::new();
        for (&key, effects) in &mut self.effects {
            let mut at = 0;
            effects.retain(|effect| {
                at += 1;
                let is_lost = lost.contains(&(key, at - 1));
                if is_lost {
                    gone.push((key, effect.clone()));
                }
                if is_lost && effect.may_end() {
                    self.ends_lost.insert(key);
                }
                !is_lost
            });
        }
        gone
    }

    /// What a key may be at `now`, where everything accepted has arrived. All regions must show the same of these.
    #[must_use]
    pub fn outcomes(&self, key: Key, now: Wall) -> Vec<Outcome> {
        outcome::outcomes(self.effects(key), now, self.clock_error)
    }

    /// Everything accepted for a key, for a report.
    #[must_use]
    pub fn effects(&self, key: Key) -> &[Effect] {
        self.effects.get(&key).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests;
