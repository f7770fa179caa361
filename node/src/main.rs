//! The greenwich binary.

fn main() {}
