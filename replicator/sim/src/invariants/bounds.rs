//! At every moment the log of a region is within its limit, and what is in flight to a peer within its window, up to the
//! unit in which each is counted: a segment of the log, a batch in flight.

use greenwich_proto::{log::LANES, store::Store, time::Time};

use super::Broken;
use crate::{region::Region, swarm::Swarm};

/// Bytes of one segment of a lane.
const SEGMENT_BYTES: usize = 32 * 1024;
/// More than any single entry of a run, with its key and the rest of its unit.
const ENTRY_BYTES_MAX: usize = 4_000;

/// Checks one region.
///
/// # Errors
/// The bound that was passed.
pub fn check<S: Store>(region: &Region<S>, swarm: &Swarm, now: Time) -> Result<(), Broken> {
    let name = crate::region::name(region.index);
    let limit = swarm.log_bytes + LANES * SEGMENT_BYTES;
    let bytes = region.log.bytes();
    if bytes > limit {
        return Err(Broken::new(
            "bounds",
            format!("the log of {name} has {bytes} bytes, {limit} are allowed"),
        ));
    }
    let entry = ENTRY_BYTES_MAX + 4 * swarm.key_padding;
    // A sweep's step is a whole shard, and the last entry of a batch may go over its limit.
    let batch = swarm.limits.batch_bytes + 8 * entry;
    for other in 0..swarm.regions {
        let Some(report) = region.report(other, now) else {
            continue;
        };
        let limit = swarm.limits.window.max_bytes + batch as u64;
        if report.in_flight_bytes > limit {
            let text = format!(
                "{name} has {} bytes in flight to region{other}, {limit} are allowed",
                report.in_flight_bytes
            );
            return Err(Broken::new("bounds", text));
        }
    }
    Ok(())
}
