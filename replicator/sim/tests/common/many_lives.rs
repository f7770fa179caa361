//! Parameters under which several lives of a region count on one counter.

#![allow(unreachable_pub, reason = "a module of test crates")]

use greenwich_sim::Swarm;

/// The parameters of a seed, with nodes that start again and again, and few counters that nobody sets: of those drawn at
/// random, few last for so long that several lives of a region count on one.
pub fn many_lives(seed: u64) -> Swarm {
    let mut swarm = Swarm::draw(seed);
    swarm.regions = swarm.regions.clamp(3, 4);
    swarm.busy_ms = 12_000;
    swarm.loading_patience_ms = 300;
    swarm.faults.restart_every_ms = 700;
    swarm.faults.down_ms_max = 1;
    swarm.links.delay_us_max = swarm.links.delay_us_max.min(5_000);
    (swarm.mix.set, swarm.mix.delete, swarm.mix.deadline) = (0, 0, 0);
    (swarm.mix.append, swarm.mix.flush) = (0, 0);
    (swarm.mix.increment, swarm.mix.keys) = (20, 8);
    swarm
}
