//! Two regions that say that they held the same at the end of an epoch did: no key that neither has changed since differs
//! between them. And once everything is quiet, all say so.

use std::collections::BTreeMap;

use greenwich_proto::{entry::EntryRef, hlc::Stamp, store::Store, time::Time};

use super::Broken;
use crate::{
    region::{Region, name},
    workload::Key,
};

/// What regions have said of each other.
#[derive(Debug, Default)]
pub struct Verify {
    equal_as_of: BTreeMap<(usize, usize), Stamp>,
}

impl Verify {
    /// Looks at what a region says of another one.
    ///
    /// # Errors
    /// The first key that differs although they say that none does.
    pub fn check<S: Store>(
        &mut self,
        region: &Region<S>,
        other: &Region<S>,
        keys: &[Key],
        now: Time,
    ) -> Result<(), Broken> {
        let said = said(region, other, now);
        let before = self.equal_as_of.insert((region.index, other.index), said);
        let wall = region.clock.read(now);
        let met = region
            .peer(other.index)
            .report(&region.log, wall)
            .incarnation;
        if before.is_none_or(|before| before >= said) || met != other.incarnation() {
            // The answer of a life that is over says nothing of the next one.
            return Ok(());
        }
        for &key in keys {
            let seen = |of: &Region<S>| of.with_entry(key, |entry| settled_state(entry, of, said));
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

/// Up to when a region says that it held what another one did.
#[must_use]
pub fn said<S: Store>(region: &Region<S>, other: &Region<S>, now: Time) -> Stamp {
    let wall = region.clock.read(now);
    let report = region.peer(other.index).report(&region.log, wall);
    report.compares.equal_as_of.unwrap_or_default()
}

/// What a key was as of `said`, in words; `None` where it has changed since, or ends by itself.
fn settled_state<S: Store>(
    entry: Option<&EntryRef<'_>>,
    region: &Region<S>,
    said: Stamp,
) -> Option<String> {
    let Some(entry) = entry else {
        return (region.flushed().stamp < said).then(|| "absent".to_owned());
    };
    if entry.newest() >= said || entry.deadline.at.is_some() || region.flushed().stamp >= said {
        return None;
    }
    if !entry.has_value() {
        return Some("absent".to_owned());
    }
    let totals: Vec<_> = entry
        .totals
        .iter()
        .map(|total| (total.actor, total.sum.to_string()))
        .collect();
    Some(format!("{:?} {totals:?}", entry.body))
}
