//! Measures servers of the Redis protocol over sockets: load, replication lag, and what regions do to each other.

mod as_duration;
mod as_text;
pub mod cli;
pub mod interrupt;
pub mod lag;
pub mod load;
pub mod notice;
mod priority;
pub mod report;
pub mod scenario;
pub mod server;
pub mod wan;
