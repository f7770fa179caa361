//! Two sessions wired to each other.

mod delivery;
mod folded;
mod handshake;
mod large;
mod mem;
mod members;
mod sweeps;
