//! Every rule of replication as plain synchronous state machines.
//!
//! The core is a calculator: it never asks what time it is, never draws a random number, never touches a socket, a
//! thread or a file. Time, entropy and messages come in as arguments; effects go out through an [`peer::Outbox`].
//!
//! ```text
//!  local write ─▶ entry (join) ─▶ log (lanes) ─▶ peer (cursor, batches, window) ─▶ wire
//!  wire ─▶ peer (ranges, skew) ─▶ store.join ─▶ acknowledgement
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`time`], [`slew`], [`hlc`] | two clocks as types; a wall that does not jump; stamps and versions |
//! | [`entry`], [`decimal`] | what a region holds of a key, its bytes, its join |
//! | [`slots`], [`fingerprint`] | what regions compare: parts of the keyspace, and hashes of what is in them |
//! | [`log`] | what changed here, and how far each peer has read it |
//! | [`wire`] | batches and control frames as bytes |
//! | [`peer`] | the session with one other node: handshake, sending, receiving, sweeping |
//! | [`lives`], [`settled`] | which lives of which nodes are over, and what may be forgotten |
//! | [`members`], [`roster`] | which regions were added and removed; which peers a node has at present |
//! | [`store`] | what the core needs from a keyspace |
//! | [`netem`], [`rng`] | a model of a link, shared by the emulated socket and the simulator |

pub mod decimal;
pub mod entry;
pub mod fingerprint;
pub mod hlc;
pub mod lives;
pub mod log;
pub mod members;
pub mod netem;
pub mod peer;
pub mod ranges;
pub mod rng;
pub mod roster;
pub mod settled;
pub mod slew;
pub mod slots;
pub mod store;
pub mod time;
pub mod wire;
