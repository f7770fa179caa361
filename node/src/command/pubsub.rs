//! Commands.

use super::Command;

pub(super) const ROWS: &[Command] = &[];
