//! Three regions of processes on links that are emulated, one of which can be cut.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod cluster;
#[path = "../common/mod.rs"]
mod common;
mod frozen;
mod loading;
mod routed_around;
