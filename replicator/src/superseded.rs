//! The end of a process whose region goes on without it: another one of its region has started later, and peers have heard of
//! that. It decides nothing: what is refused, and for which reason, is a rule of `greenwich_proto::peer::handshake`.

use std::fmt;

/// What a peer said that takes nothing more of what is written here, since it has heard of a later life of this node's region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superseded {
    /// The peer's region.
    pub peer: String,
    /// Why the link was closed, with the incarnations of both processes.
    pub reason: String,
}

impl fmt::Display for Superseded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, reason } = self;
        write!(
            f,
            "superseded: another process of this region started later, and {peer}, which has heard of it, takes nothing of this \
             one any more ({reason}): stop this process, or stop the other one and start this one anew"
        )
    }
}
