//! One cache in every region.

pub mod config;
pub mod resp;
