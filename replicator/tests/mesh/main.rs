//! Whole replicators over real sockets on loopback.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;
mod horizon;
mod keys;
mod large_values;
mod names;
mod panics;
mod rivals;
mod stops;
