//! One cache in every region.
