//! Every rule of replication as plain synchronous state machines.

pub mod netem;
pub mod rng;
pub mod time;
