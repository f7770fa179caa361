//! Whole regions in one deterministic process.
