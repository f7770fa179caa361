//! No cursor passes an undelivered write: once a region's log says that a peer has applied everything up to a number, the
//! peer holds each of those writes or something newer, or has forgotten it because every region had heard of its end.
//! A restarted peer is looked at once it has received what its peers hold.
//! And numbers are dense: every accepted write, or unit of writes, takes the next number of one lane.

use std::collections::BTreeMap;

use greenwich_proto::{hlc::Version, log::LANES, store::Store};

use super::Broken;
use crate::{region::Region, workload::Key};

/// A write that a peer has not acknowledged.
#[derive(Debug)]
struct Expected {
    lane: usize,
    seq: u64,
    key: Key,
    version: Version,
}

/// Writes under way.
#[derive(Debug, Default)]
pub struct Delivery {
    pending: BTreeMap<(usize, usize), Vec<Expected>>,
}

impl Delivery {
    /// A region accepted a write: exactly one lane moved by one, and that is where it stands.
    ///
    /// # Errors
    /// When the lanes moved otherwise.
    pub fn place(
        region: usize,
        before: &[u64; LANES],
        after: &[u64; LANES],
    ) -> Result<(usize, u64), Broken> {
        let moved: Vec<usize> = (0..LANES)
            .filter(|&lane| after[lane] != before[lane])
            .collect();
        match moved.as_slice() {
            &[lane] if after[lane] == before[lane] + 1 => Ok((lane, after[lane])),
            _ => {
                let text = format!(
                    "one write of region{region} moved its log from {before:?} to {after:?}"
                );
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
        });
    }

    /// A region lost its log, which everybody had received.
    pub fn restart(&mut self, region: usize) {
        self.pending.retain(|(from, _), _| *from != region);
    }

    /// Looks at what `to` has acknowledged to `from` since the last look.
    ///
    /// # Errors
    /// When `to` does not hold it.
    pub fn check<S: Store>(&mut self, from: &Region<S>, to: &Region<S>) -> Result<(), Broken> {
        let Some(pending) = self.pending.get_mut(&(from.index, to.index)) else {
            return Ok(());
        };
        if to.is_catching_up {
            return Ok(());
        }
        let number = from.number_of(to.index);
        let applied: [u64; LANES] = std::array::from_fn(|lane| from.log.applied(number, lane));
        let mut missing = None;
        pending.retain(|expected| {
            if expected.seq > applied[expected.lane] {
                return true;
            }
            // What a flush of another region removed here is not sent; the flush comes from there.
            if from.flushed() < expected.version && !holds(to, expected) {
                let held = to.with_entry(expected.key, |entry| format!("{entry:?}"));
                missing = Some(format!(
                    "{} with {:?} at {} of lane {}, but holds {held}, settled {}, flushed {:?},",
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

fn holds<S: Store>(region: &Region<S>, expected: &Expected) -> bool {
    let is_newer = region.with_entry(expected.key, |entry| {
        entry.is_some_and(|entry| entry.version >= expected.version)
    });
    is_newer
        || region.flushed() >= expected.version
        || region.keyspace.settled() >= expected.version.stamp
}
