//! The congestion control of servers that replicate over TCP. It decides how they fare on a lossy link, and machines differ
//! in it, so that a benchmark says which one it was and takes the same everywhere.

use std::fs;

/// Linux' own, unless it was built or told otherwise.
pub const CUBIC: &str = "cubic";

/// What this kernel offers without loading a module.
#[must_use]
pub fn available() -> String {
    let path = "/proc/sys/net/ipv4/tcp_available_congestion_control";
    let names = fs::read_to_string(path).unwrap_or_default();
    names.split_whitespace().collect::<Vec<_>>().join(", ")
}
