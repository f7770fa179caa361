//! A node that starts empty serves clients only when it holds what its peers held when it started. Peers that it could not
//! reach in time are excused, and so are those that died themselves meanwhile.

use std::collections::BTreeMap;

use greenwich_proto::{entry::layout, store::Store};

use super::Broken;
use crate::{
    oracle::Held,
    region::{Region, name},
    workload::Key,
};

/// What one peer held when a node started: its incarnation, and the encoded entry of each key.
#[derive(Debug)]
struct Snapshot {
    incarnation: u64,
    entries: Vec<(Key, Box<[u8]>)>,
}

/// What nodes must hold before they serve.
#[derive(Debug, Default)]
pub struct Readiness {
    /// By the node, and by its peer.
    held: BTreeMap<(usize, usize), Snapshot>,
}

impl Readiness {
    /// The node of a region starts, empty.
    pub fn restart<S: Store>(&mut self, regions: &[Region<S>], index: usize, keys: &[Key]) {
        for other in regions.iter().filter(|other| other.index != index) {
            let entry = |&key: &Key| {
                let bytes = other.with_entry(key, |entry| entry.map(layout::to_box))?;
                Some((key, bytes))
            };
            let snapshot = Snapshot {
                incarnation: other.incarnation(),
                entries: keys.iter().filter_map(entry).collect(),
            };
            self.held.insert((index, other.index), snapshot);
        }
    }

    /// A node begins to serve, without what the `missing` peers hold.
    ///
    /// # Errors
    /// The first entry that it lacks.
    pub fn check<S: Store>(
        &self,
        regions: &[Region<S>],
        index: usize,
        missing: &[usize],
    ) -> Result<(), Broken> {
        for other in regions
            .iter()
            .filter(|other| !missing.contains(&other.index))
        {
            let Some(snapshot) = self.held.get(&(index, other.index)) else {
                continue;
            };
            if snapshot.incarnation != other.incarnation() {
                continue;
            }
            for (key, bytes) in &snapshot.entries {
                let expected = layout::view(bytes);
                let has = |held: Held<'_>| {
                    let base = held.entry.map_or(held.flushed, |entry| entry.version);
                    base.max(held.flushed) >= expected.version
                        || other.keyspace.settled() >= expected.newest()
                };
                if !regions[index].with_held(*key, has) {
                    let text = format!(
                        "{} serves without {key}, which {} held with {:?} when it started",
                        name(index),
                        name(other.index),
                        expected.version
                    );
                    return Err(Broken::new("readiness", text));
                }
            }
        }
        Ok(())
    }
}
