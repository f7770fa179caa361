//! A region never shows a value that is older than something it has held of that key: no deleted, flushed or overwritten
//! key comes back. A restarted region is excused until it has received what its peers hold. What has expired shows nothing,
//! and may be passed on.

use greenwich_proto::{
    entry::{Body, EntryRef},
    store::Store,
    time::Wall,
};

use super::Broken;
use crate::{oracle::Oracle, region::Region, workload::Key};

/// Checks one key of one region, whose clock shows `wall`, before the oracle follows it.
///
/// # Errors
/// When its value is older than what the region has held.
pub fn check<S: Store>(
    region: &Region<S>,
    oracle: &Oracle,
    key: Key,
    wall: Wall,
) -> Result<(), Broken> {
    let known = oracle.known_base(region.index, key);
    region.with_entry(key, |entry| {
        let shows =
            |entry: &EntryRef<'_>| matches!(entry.body, Body::Bytes(_)) && !entry.has_expired(wall);
        let is_back = entry.is_some_and(|entry| shows(entry) && entry.version < known);
        if !is_back || region.is_loading || oracle.is_contested(key) {
            return Ok(());
        }
        let name = crate::region::name(region.index);
        let version = entry.map(|entry| entry.version);
        Err(Broken::new(
            "deletion",
            format!("{key} is back in {name} with {version:?}, which has held {known:?}"),
        ))
    })
}
