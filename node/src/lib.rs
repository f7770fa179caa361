//! One cache in every region.

pub mod admin;
pub mod assembly;
pub mod cli;
pub mod client;
pub mod command;
pub mod config;
pub mod keyspace;
pub mod metrics;
pub mod regions;
pub mod resp;
pub mod server;
pub mod status;
