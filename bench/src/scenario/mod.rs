//! What is measured: each scenario is a file here, and its settings are a table of `scenarios/*.toml`.

pub mod local;
