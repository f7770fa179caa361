//! `greenwich-bench`: the tool with which people decide.

fn main() {}
