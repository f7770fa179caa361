//! What must hold, one property a file: some while a run goes on, some once it has become quiet.

pub mod bounds;
pub mod convergence;
pub mod deletion;
pub mod delivery;
pub mod fingerprints;
pub mod readiness;
pub mod stamps;
pub mod units;
pub mod verify;

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{invariant}: {text}")]
pub struct Broken {
    /// Which one: the name of its file.
    pub invariant: &'static str,
    /// Who, what, and both values.
    pub text: String,
}

impl Broken {
    pub(crate) fn new(invariant: &'static str, text: String) -> Self {
        Self { invariant, text }
    }
}
