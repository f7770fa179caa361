//! What is known of what a peer held.

use super::Known;
use crate::hlc::Origin;

/// What a transfer from a peer has brought.
#[derive(Debug)]
pub(super) enum Received {
    /// Everything that the peer held when it knew these lives.
    With(Known),
    /// Less than what it holds now, perhaps, or what it has forgotten: until both are found to hold the same.
    TooLittle,
    /// All that a release before transfers were told of can bring.
    AllItCan,
}

impl Received {
    pub(super) fn includes(&self, origin: Origin, incarnation: u64) -> bool {
        match self {
            Self::With(known) => known.of(origin) >= incarnation,
            Self::TooLittle => false,
            Self::AllItCan => true,
        }
    }
}
