//! Regions that are far apart, on one machine: each lives in a network namespace of its own, and what they say to each
//! other passes a forwarder in user space that delays, loses and limits it. Any server can live there, and any protocol.
//!
//! It needs root and Linux with TUN devices, and no emulation in the kernel. Without root, Greenwich can emulate links in
//! its own sockets; [`emulation`] tells the two apart.

pub mod emulation;
pub mod forwarder;
pub mod namespaces;
pub mod plan;
pub mod tcp;
