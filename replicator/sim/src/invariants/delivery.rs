//! No cursor passes an undelivered write: once a region's log says that a peer has applied everything up to a number, the
//! peer holds each of those writes or something newer, or has forgotten it because every region had heard of its end.
//! A restarted peer is looked at once it has received what its peers hold; what its predecessor held and the sender has
//! forgotten since, because every region had heard of its end, nobody can send it again.
//! Where regions do not wait for ever for those that are away, a write may have been forgotten, or dropped as ended, before
//! the peer had heard of it: there, what it has ever held counts as well.
//!
//! And numbers are dense: every accepted write takes the next number of one lane, a unit of writes as many as it has keys;
//! or it shares the number that a key has already, of which nobody has read.

use std::collections::BTreeMap;

use greenwich_proto::{
    entry::EntryRef,
    hlc::Version,
    log::{LANES, Marks},
    store::Store,
    time::Time,
};

use super::Broken;
use crate::{
    oracle::Oracle,
    region::Region,
    workload::{GROUP_KEYS, Key},
};

/// A write that a peer has not acknowledged.
#[derive(Debug)]
struct Expected {
    lane: usize,
    seq: u64,
    key: Key,
    version: Version,
    /// Whether the peer restarted after it had heard of the write, before the look at it.
    was_held: bool,
}

/// Writes under way.
#[derive(Debug, Default)]
pub struct Delivery {
    pending: BTreeMap<(usize, usize), Vec<Expected>>,
    /// The last number of each lane of every region.
    heads: BTreeMap<usize, [u64; LANES]>,
}

impl Delivery {
    /// A region accepted a write, or none: where it stands.
    ///
    /// # Errors
    /// When it stands in several lanes, or leaves a gap in one.
    pub fn place(&mut self, region: usize, marks: &Marks) -> Result<Option<(usize, u64)>, Broken> {
        let marked: Vec<(usize, u64)> = (0..LANES)
            .map(|lane| (lane, marks.in_lane(lane)))
            .filter(|(_, seq)| *seq > 0)
            .collect();
        let heads = self.heads.entry(region).or_default();
        match marked.as_slice() {
            [] => Ok(None),
            &[(lane, seq)] if seq <= heads[lane] + GROUP_KEYS as u64 => {
                heads[lane] = seq.max(heads[lane]);
                Ok(Some((lane, seq)))
            }
            _ => {
                let text =
                    format!("one write of region{region} stands at {marked:?}, after {heads:?}");
                Err(Broken::new("delivery", text))
            }
        }
    }

    /// `version` of a key stands at `place` in the log of `from`.
    pub fn expect(
        &mut self,
        from: usize,
        to: usize,
        place: (usize, u64),
        key: Key,
        version: Version,
    ) {
        let (lane, seq) = place;
        self.pending.entry((from, to)).or_default().push(Expected {
            lane,
            seq,
            key,
            version,
            was_held: false,
        });
    }

    /// A region is about to lose its log and its keys.
    pub fn restart<S: Store>(&mut self, region: &Region<S>) {
        self.pending.retain(|(from, _), _| *from != region.index);
        self.heads.remove(&region.index);
        let to_region = self
            .pending
            .iter_mut()
            .filter(|((_, to), _)| *to == region.index);
        for expected in to_region.flat_map(|(_, pending)| pending) {
            expected.was_held |= holds(region, expected);
        }
    }

    /// A region was removed as far as `from` knows: nothing more is sent there.
    pub fn part(&mut self, from: usize, to: usize) {
        self.pending.remove(&(from, to));
    }

    /// Looks at what `to` has acknowledged to `from` since the last look.
    ///
    /// # Errors
    /// When `to` does not hold it.
    pub fn check<S: Store>(
        &mut self,
        from: &Region<S>,
        to: &Region<S>,
        waited: Waited<'_>,
        now: Time,
    ) -> Result<(), Broken> {
        let Some(pending) = self.pending.get_mut(&(from.index, to.index)) else {
            return Ok(());
        };
        let number = from.number_of(to.index);
        let Some((session, number)) = from.report(to.index, now).zip(number) else {
            return Ok(());
        };
        if to.is_loading || session.incarnation != to.incarnation() {
            // The sender's cursors are those of an earlier life until the two have met.
            return Ok(());
        }
        let applied: [u64; LANES] = std::array::from_fn(|lane| from.log.applied(number, lane));
        let mut missing = None;
        pending.retain(|expected| {
            if expected.seq > applied[expected.lane] {
                return true;
            }
            // What a flush of another region removed here is not sent; the flush comes from there.
            let has_forgotten = has_forgotten(from, expected, waited);
            let is_due = from.flushed() < expected.version && !has_forgotten;
            if is_due && !holds(to, expected) && !has_held(to, expected, waited) {
                let held = to.with_entry(expected.key, |entry| format!("{entry:?}"));
                missing = Some(format!(
                    "{} with {:?} at {} of lane {}, but holds {held}, settled {:?}, flushed {:?},",
                    expected.key,
                    expected.version,
                    expected.seq,
                    expected.lane,
                    to.keyspace.settled(),
                    to.flushed()
                ));
            }
            false
        });
        missing.map_or(Ok(()), |missing| {
            let text = format!(
                "region{} acknowledged {missing} to region{} and does not hold it",
                to.index, from.index
            );
            Err(Broken::new("delivery", text))
        })
    }
}

/// How long a write is remembered for those that have not heard of it.
#[derive(Clone, Copy, Debug)]
pub enum Waited<'a> {
    /// For ever.
    ForEver,
    /// Until they have been away for too long. What regions have held is known to the oracle.
    Within(&'a Oracle),
}

/// Whether the sender had nothing left to sweep to a peer that started anew, and whose predecessor had heard of the write; or,
/// where the peer was not waited for, no longer holds the write itself: what took its place may count as something that the
/// peer has forgotten.
fn has_forgotten<S: Store>(from: &Region<S>, expected: &Expected, waited: Waited<'_>) -> bool {
    let is_held = from.with_entry(expected.key, |entry| match (entry, waited) {
        (None, _) => false,
        (Some(entry), Waited::ForEver) => entry.version >= expected.version,
        (Some(entry), Waited::Within(_)) => entry.version == expected.version,
    });
    let has_ended = expected.was_held && from.keyspace.settled().has(expected.version);
    !is_held && (has_ended || matches!(waited, Waited::Within(_)))
}

fn has_held<S: Store>(region: &Region<S>, expected: &Expected, waited: Waited<'_>) -> bool {
    match waited {
        Waited::ForEver => false,
        Waited::Within(oracle) => oracle.known_base(region.index, expected.key) >= expected.version,
    }
}

fn holds<S: Store>(region: &Region<S>, expected: &Expected) -> bool {
    let is_as_new =
        |entry: Option<&EntryRef<'_>>| entry.is_some_and(|entry| entry.version >= expected.version);
    region.with_entry(expected.key, is_as_new)
        || region.flushed() >= expected.version
        || region.keyspace.settled().has(expected.version)
}
