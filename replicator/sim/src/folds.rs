//! What was folded into the totals of lives that are over.
//!
//! A folded total covers all of its region up to its own incarnation and stamp, and does not say what it counts of that: what
//! only a dead node had heard of is not in it. So the world looks on when a region folds.

use std::collections::BTreeMap;

use greenwich_proto::{
    entry::{
        EntryRef,
        totals::{Actor, Total},
    },
    hlc::Stamp,
};

use crate::{oracle::Effect, workload::Key};

/// A folded total of one key: whose it is, when it was last added to, and its check sum.
type Folded = (Key, Actor, Stamp, u16);

/// The totals of one life each that every folded one was made of.
#[derive(Debug, Default)]
pub struct Folds(BTreeMap<Folded, Vec<(Actor, Stamp)>>);

impl Folds {
    /// A region held the totals `before` of a key, and holds `after` now, which may be folded.
    pub fn note(&mut self, key: Key, before: &[Total], after: &[Total]) {
        for total in after.iter().filter(|total| !before.contains(total)) {
            let Some(folded) = identity(key, total) else {
                continue;
            };
            let is_gone =
                |was: &&Total| was.actor.origin == total.actor.origin && !after.contains(was);
            let parts = before.iter().filter(is_gone);
            let parts = parts.flat_map(|part| self.parts(key, part)).collect();
            self.0.insert(folded, parts);
        }
    }

    /// Whether an effect is in what a region holds that covers it.
    #[must_use]
    pub fn have(&self, key: Key, entry: Option<&EntryRef<'_>>, effect: &Effect) -> bool {
        let (
            Effect::Count {
                base, actor, stamp, ..
            },
            Some(entry),
        ) = (effect, entry)
        else {
            return true;
        };
        let counts = |(of, up_to): &(Actor, Stamp)| of == actor && up_to >= stamp;
        let mut totals = entry.totals.iter();
        entry.version > *base || totals.any(|total| self.parts(key, &total).iter().any(counts))
    }

    fn parts(&self, key: Key, total: &Total) -> Vec<(Actor, Stamp)> {
        let folded = identity(key, total).and_then(|folded| self.0.get(&folded));
        folded
            .cloned()
            .unwrap_or_else(|| vec![(total.actor, total.stamp)])
    }
}

fn identity(key: Key, total: &Total) -> Option<Folded> {
    Some((key, total.actor, total.stamp, total.folded?))
}
