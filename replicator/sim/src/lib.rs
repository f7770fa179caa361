//! Whole regions in one deterministic process: the real keyspace and the real sessions under virtual time, with every
//! delay, loss, cut, clock error and restart drawn from one seed.
//!
//! ```text
//!  swarm (parameters) ─▶ world ─┬─ workload ─▶ region (keyspace, log, peers) ─▶ network ─▶ region …
//!                               ├─ faults: cuts, clock steps, restarts
//!                               ├─ oracle: what one naive process would hold
//!                               └─ invariants, checked while it runs and after it has become quiet
//! ```
//!
//! Nothing here reads a clock, draws entropy or iterates an unordered map: the same seed gives the same trace.

pub mod clock;
pub mod direct;
pub mod folds;
pub mod invariants;
mod meanwhile;
pub mod network;
pub mod oracle;
pub mod region;
pub mod repair;
pub mod survival;
pub mod swarm;
pub mod trace;
pub mod workload;
pub mod world;

use std::sync::Arc;

use greenwich::keyspace::Keyspace;
use greenwich_proto::{store::Store, wire::control::Control};

pub use self::{
    direct::Direct,
    invariants::Broken,
    swarm::Swarm,
    trace::Trace,
    world::{Summary, World},
};

/// A run that broke an invariant.
#[derive(Debug, thiserror::Error)]
#[error(
    "seed {seed} at {at_ms} ms: {broken}\n  reproduce: cargo run --release -p greenwich-sim -- run --seed {seed} --trace"
)]
pub struct Failure {
    /// The seed of the run.
    pub seed: u64,
    /// Virtual milliseconds since the start.
    pub at_ms: u64,
    /// What was broken.
    pub broken: Broken,
}

/// Runs a seed with the parameters that it draws.
///
/// # Errors
/// The first invariant that was broken.
pub fn run(seed: u64, trace: &mut Trace) -> Result<Summary, Box<Failure>> {
    run_with(Swarm::draw(seed), Direct, trace)
}

/// Runs a swarm whose sessions see each keyspace through `wrap`, such as one that misbehaves.
///
/// # Errors
/// The first invariant that was broken.
pub fn run_with<S: Store>(
    swarm: Swarm,
    wrap: impl Fn(Arc<Keyspace>) -> S,
    trace: &mut Trace,
) -> Result<Summary, Box<Failure>> {
    run_planted(swarm, wrap, Plant::default(), trace)
}

/// What goes wrong on purpose between the sessions and the rest of a world, to see that it is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plant {
    /// What is done to every control frame before it is sent.
    pub tamper: Option<fn(Control) -> Control>,
    /// Whether nodes serve clients from the start.
    pub serves_at_once: bool,
    /// Whether nodes forget at once which keys were changed together, so that beside its own record each goes alone.
    pub forgets_units: bool,
}

/// As [`run_with`], with something wrong.
///
/// # Errors
/// The first invariant that was broken.
pub fn run_planted<S: Store>(
    swarm: Swarm,
    wrap: impl Fn(Arc<Keyspace>) -> S,
    plant: Plant,
    trace: &mut Trace,
) -> Result<Summary, Box<Failure>> {
    let seed = swarm.seed;
    let mut world = World::new(swarm, &wrap, plant, trace);
    let result = world.run();
    let at_ms = world.elapsed_ms();
    result.map_err(|broken| {
        Box::new(Failure {
            seed,
            at_ms,
            broken,
        })
    })
}
