//! Parameters under which deadlines are set while a flush is on its way.

#![allow(unreachable_pub, reason = "a module of test crates")]

use greenwich_proto::peer::Limits;
use greenwich_sim::{
    Swarm,
    swarm::{Faults, Mix},
};

/// The parameters of a seed, where keys whose deadline was set in ignorance of a flush are counted on later.
pub fn deadlines_and_flushes(seed: u64) -> Swarm {
    let mut swarm = Swarm::draw(seed);
    swarm.regions = 2;
    (swarm.busy_ms, swarm.operations_per_s) = (1_500, 100);
    (swarm.log_bytes, swarm.key_padding) = (1 << 20, 0);
    (swarm.links.delay_us_max, swarm.links.loss_max) = (100_000, 0.0);
    swarm.limits = Limits::default();
    swarm.mix = Mix {
        deadline: 4,
        increment: 8,
        flush: 20,
        keys: 8,
        // Most are still to come when the regions are compared with the oracle.
        ttl_ms_max: 10_000_000,
        ..Mix::default()
    };
    swarm.faults = Faults::default();
    swarm
}
