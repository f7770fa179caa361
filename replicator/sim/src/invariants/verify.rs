//! Two regions that say that they held the same at the end of an epoch did: no key that neither has changed since differs
//! between them.
//!
//! What a third region wrote in the epoch may arrive at one of them after they have compared, if it had no link then, or one
//! over which nothing came. So what they say is judged where all links of both were up, and not silent, since they said it last. A
//! key has changed since also when it ended after that, was dropped because others say that it has ended, or came by a sweep or
//! a repair: what a dead node had told only one region is passed on when it is found.

use std::collections::BTreeMap;

use greenwich_proto::{entry::EntryRef, hlc::Stamp, peer::Peer, store::Store, time::Time};

use super::Broken;
use crate::{
    region::{Region, name},
    workload::Key,
};

/// What regions have said of each other.
#[derive(Debug, Default)]
pub struct Verify {
    said: BTreeMap<(usize, usize), Said>,
    /// When what a region holds of a key became other than what the stamps in it tell: what is not held any more ended, and
    /// what was missing was brought.
    changed: BTreeMap<(usize, Key), Stamp>,
}

#[derive(Debug, Default)]
struct Said {
    equal_as_of: Stamp,
    /// How often each link of both had come up; `None` where one was down or silent since.
    connects: Option<Vec<u64>>,
}

impl Verify {
    /// What a region holds of a key has changed, at `at`: it ended there, or was brought by a sweep or a repair.
    pub fn change(&mut self, region: usize, key: Key, at: Stamp) {
        let changed = self.changed.entry((region, key)).or_default();
        *changed = at.max(*changed);
    }

    /// Looks at what a region says of another one.
    ///
    /// # Errors
    /// The first key that differs although they say that none does.
    pub fn check<S: Store>(
        &mut self,
        region: &Region<S>,
        other: &Region<S>,
        (regions, keys): (&[Region<S>], &[Key]),
        now: Time,
    ) -> Result<(), Broken> {
        let Some(session) = region.session(other.index) else {
            return Ok(());
        };
        let said = session.compares().equal_as_of.unwrap_or_default();
        let before = self.said.entry((region.index, other.index)).or_default();
        let connects = connects(&[region, other], regions.len());
        if before.equal_as_of == said {
            before.connects = before.connects.take().filter(|_| connects.is_some());
            return Ok(());
        }
        let is_linked = before.connects.is_some() && before.connects == connects;
        *before = Said {
            equal_as_of: said,
            connects,
        };
        let report = session.report(&region.log, region.clock.read(now));
        if !is_linked || report.incarnation != other.incarnation() {
            // The answer of a life that is over says nothing of the next one.
            return Ok(());
        }
        for &key in keys {
            let seen = |of: &Region<S>| {
                let changed = self.changed.get(&(of.index, key)).copied();
                let since = of.flushed().stamp.max(changed.unwrap_or_default());
                of.with_entry(key, |entry| settled_state(entry, since, said))
            };
            let (here, there) = (seen(region), seen(other));
            if let (Some(here), Some(there)) = (here, there)
                && here != there
            {
                let text = format!(
                    "{} says that it held as of {said} what {} did, but {key} is {here} and {there}",
                    name(region.index),
                    name(other.index),
                );
                return Err(Broken::new("verify", text));
            }
        }
        Ok(())
    }
}

/// How often each link of two regions had come up; `None` where one is down or silent.
fn connects<S: Store>(pair: &[&Region<S>; 2], regions: usize) -> Option<Vec<u64>> {
    let links = pair
        .iter()
        .flat_map(|region| (0..regions).filter_map(|other| region.session(other)));
    links.map(Peer::steady).collect()
}

/// What a key was as of `said`, in words, where it is the same since before `since`; `None` where it has changed after `said`,
/// or had ended by itself: regions stop holding what has ended at different times.
fn settled_state(entry: Option<&EntryRef<'_>>, since: Stamp, said: Stamp) -> Option<String> {
    if since >= said {
        return None;
    }
    let Some(entry) = entry else {
        return Some("absent".to_owned());
    };
    let has_ended = entry.deadline.at.is_some_and(|at| Stamp::at(at) <= said);
    if entry.newest() >= said || has_ended {
        return None;
    }
    if !entry.has_value() {
        return Some("absent".to_owned());
    }
    let totals: Vec<_> = entry
        .totals
        .shares()
        .map(|total| (total.actor, total.sum.to_string()))
        .collect();
    let until = entry.deadline.at;
    Some(format!("{:?} {totals:?} until {until:?}", entry.body))
}
