//! What crosses between regions, as bytes.
//!
//! Two forms: [`control`] frames on the one control stream, rare and self-describing (MessagePack); and a [`batch`] of
//! entries a stream, whose layout is fixed because it is hot. Both are versioned by [`WIRE_VERSION`], compared in the
//! handshake. Nothing here knows what the bytes travel on.

pub mod batch;
pub mod bytes;
pub mod control;

/// The newest wire version that this release speaks.
pub const WIRE_VERSION: u32 = 3;
/// From this wire version on, nodes ask for what they lack, and compare what they hold.
pub const WIRE_REPAIR: u32 = 2;
/// From this wire version on, nodes tell each other what their clocks say.
pub const WIRE_CLOCKS: u32 = 2;
/// From this wire version on, nodes tell each other what they have heard of others, and what has ended.
pub const WIRE_HEARSAY: u32 = 3;
/// From this wire version on, nodes tell each other sketches of what they hold, and fingerprints of slots in two bytes.
pub const WIRE_SKETCHES: u32 = 3;
/// From this wire version on, nodes tell each other which regions were added and removed, and of twins.
pub const WIRE_MEMBERS: u32 = 3;
/// From this wire version on, nodes understand totals that stand for several lives.
pub const WIRE_FOLDED: u32 = 3;
/// From this wire version on, a node that is asked for everything says how many keys that is.
pub const WIRE_COUNTS: u32 = 3;
/// The oldest wire version that this release speaks.
pub const WIRE_VERSION_MIN: u32 = 1;
/// The largest control frame in bytes: the longest key fits with something beside it.
pub const CONTROL_BYTES_MAX: usize = 128 * 1024;
/// The largest batch in bytes: a unit of two of the largest values, or of many smaller ones, with room for the rest.
pub const BATCH_BYTES_MAX: usize = (1024 + 64) * 1024 * 1024;
