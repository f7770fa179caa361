//! Regions agree before they speak: what a [`Hello`] must say for a link to be used.

use std::time::Duration;

use super::{Node, Peer, State};
use crate::{
    hlc::{Origin, Skew},
    log::LANES,
    store::Store,
    time::Wall,
    wire::{
        WIRE_FOLDED, WIRE_VERSION, WIRE_VERSION_MIN,
        control::{Control, Hello, Resume},
    },
};

/// Who a node is. Equal at all its peers but for the region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the region.
    pub region: String,
    /// Number of the region.
    pub origin: Origin,
    /// Start of the process, in milliseconds since the Unix epoch.
    pub incarnation: u64,
    /// Fingerprint of the merge rules.
    pub rules: u64,
}

impl Identity {
    /// What this node says first on a link.
    pub(super) fn hello(&self, wall: Wall, resume: Resume) -> Hello {
        Hello {
            wire: WIRE_VERSION,
            wire_min: WIRE_VERSION_MIN,
            cluster: self.cluster.clone(),
            region: self.region.clone(),
            id: self.origin.0,
            lanes: u32::try_from(LANES).expect("lanes are few"),
            rules: self.rules,
            incarnation: self.incarnation,
            wall,
            resume,
        }
    }
}

/// Which region a peer is, by our configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its name.
    pub region: String,
    /// Its number.
    pub origin: Origin,
}

/// Why a link is refused. The text names both values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No wire version in common.
    #[error("wire version: the peer speaks {} to {}, we speak {WIRE_VERSION_MIN} to {WIRE_VERSION}; upgrade the older side", theirs.0, theirs.1)]
    Wire {
        /// Oldest and newest that the peer speaks.
        theirs: (u32, u32),
    },
    /// It would count what it is sent twice.
    #[error(
        "wire version: the peer speaks {theirs}, and what counters hold here takes {WIRE_FOLDED}: once every region has run this release, none can go back to an older one"
    )]
    Folded {
        /// The peer's version.
        theirs: u32,
    },
    /// Another cluster.
    #[error("cluster: the peer belongs to {theirs:?}, we belong to {ours:?}")]
    Cluster {
        /// The peer's.
        theirs: String,
        /// Ours.
        ours: String,
    },
    /// Another number of lanes.
    #[error(
        "lanes: the peer's log has {theirs}, ours has {LANES}; run the same release in both regions"
    )]
    Lanes {
        /// The peer's.
        theirs: u32,
    },
    /// Other merge rules.
    #[error(
        "merge rules: the peer's fingerprint is {theirs:016x}, ours is {ours:016x}; give both regions the same rules"
    )]
    Rules {
        /// The peer's.
        theirs: u64,
        /// Ours.
        ours: u64,
    },
    /// Another region than configured.
    #[error("region: the peer says that it is {theirs:?} with id {}, we expect {ours:?} with id {}", their_id.0, our_id.0)]
    Region {
        /// What the peer says.
        theirs: String,
        /// The number that the peer says.
        their_id: Origin,
        /// What is configured.
        ours: String,
        /// The number that is configured.
        our_id: Origin,
    },
    /// The peer started before the incarnation that was heard of last.
    #[error(
        "incarnation: the peer started at {theirs} ms, but one that started at {known} ms was heard of before; its clock was set back, or two nodes claim one region"
    )]
    Incarnation {
        /// The peer's.
        theirs: u64,
        /// The latest known.
        known: u64,
    },
    /// The peer started later than its clock and ours can differ. Remembered, it would shut out every later life of the
    /// peer until that time has come.
    #[error(
        "incarnation: the peer says that it started at {theirs} ms, {} ms ahead of our clock, {} ms are allowed; \
         its clock was ahead when it started: restart it once its clock is right",
        ahead.as_millis(), allowed.as_millis()
    )]
    IncarnationAhead {
        /// The peer's.
        theirs: u64,
        /// How far ahead of our wall clock that is.
        ahead: Duration,
        /// How far ahead it may be.
        allowed: Duration,
    },
    /// The region does not belong to the cluster any more.
    #[error(
        "{region} was removed from the cluster: stop this node; to have the region back, add it again and start a node of it then"
    )]
    Removed {
        /// The region.
        region: String,
    },
    /// The node holds what it did when its region did not belong to the cluster.
    #[error(
        "{region} was added at {since} ms, and its node started before that, at {theirs} ms: restart it, so that it begins empty"
    )]
    BeganBefore {
        /// The region.
        region: String,
        /// The peer's incarnation.
        theirs: u64,
        /// The first that is admitted.
        since: u64,
    },
    /// Another process of the region has a link that lives.
    #[error(
        "two nodes claim {region}: one that started at {live} ms has a living link, another one started at {theirs} ms; stop one of them, or give it a region of its own"
    )]
    Claimed {
        /// The region.
        region: String,
        /// The incarnation with the link.
        live: u64,
        /// The other one.
        theirs: u64,
    },
    /// The peer says that it applied more than was ever written here.
    #[error(
        "resume: the peer says that it has applied {theirs} records of lane {lane}, ours has {ours}"
    )]
    Resume {
        /// The lane.
        lane: usize,
        /// What the peer says.
        theirs: u64,
        /// The last number given.
        ours: u64,
    },
    /// The peer's clock runs ahead.
    #[error(transparent)]
    Skew(#[from] Skew),
}

/// What was heard on a link since its rival, another one of the same region, said hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Something: there is a process behind it.
    Life,
    /// Nothing yet.
    None,
    /// Nothing for longer than a link with a process behind it is ever silent.
    Silence,
}

/// What becomes of a link that has a rival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contest {
    /// The rival takes its place.
    Replaced,
    /// It is too early to say.
    Open,
}

/// Which of two links of one region stays: the present one, of incarnation `live`, or its rival, whose hello is in order
/// otherwise. A region is one process. When that has dialled again, it has noticed a loss that was not noticed here. When
/// another one dials, the region was restarted, unless there is life on the present link.
pub(super) fn contest(
    region: &str,
    live: u64,
    theirs: u64,
    sign: Sign,
) -> Result<Contest, Refusal> {
    match sign {
        _ if theirs == live => Ok(Contest::Replaced),
        Sign::Silence => Ok(Contest::Replaced),
        Sign::None => Ok(Contest::Open),
        Sign::Life => Err(Refusal::Claimed {
            region: region.to_owned(),
            live,
            theirs,
        }),
    }
}

impl Peer {
    /// What is to become of the present link, since the peer opened another one and said `hello` on it first. The error
    /// says why that one is to be refused.
    ///
    /// # Errors
    /// [`TurnedAway`] with the reason.
    pub fn contest<S>(
        &self,
        wall: Wall,
        hello: &[u8],
        sign: Sign,
        node: &Node<'_, S>,
    ) -> Result<Contest, TurnedAway> {
        let control = Control::decode(hello).map_err(|error| TurnedAway::because(&error))?;
        let Some(Control::Hello(hello)) = control else {
            return Err(TurnedAway::because(
                &"a control frame arrived before the hello",
            ));
        };
        let live = self.receiver.incarnation();
        let clock = (wall, node.log.clock().max_skew());
        check(&hello, node.identity, &self.expected, live, clock)
            .and_then(|()| node.roster.admits(self.index, hello.incarnation))
            .and_then(|()| match self.state {
                State::Up => contest(&self.expected.region, live, hello.incarnation, sign),
                State::Down | State::Handshaking | State::Refused(_) => Ok(Contest::Replaced),
            })
            .map_err(TurnedAway::from)
    }
}

/// A process that was refused because there is, or was, another one of its region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twin {
    /// It started at this incarnation, and later than another one, which lives. It may take its place one day.
    Later(u64),
    /// It started at this incarnation, and a later life of its region was heard of. It is *superseded*: nobody who has heard
    /// so ever takes again what it writes.
    Earlier(u64),
}

impl Twin {
    /// When it started, in milliseconds since the Unix epoch.
    #[must_use]
    pub const fn incarnation(self) -> u64 {
        match self {
            Self::Later(incarnation) | Self::Earlier(incarnation) => incarnation,
        }
    }
}

/// Why a link is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnedAway {
    /// The reason in words.
    pub reason: String,
    /// The process behind it, where all that is wrong with it is that it is not the only one.
    pub twin: Option<Twin>,
}

impl TurnedAway {
    /// Something else is wrong, or it is not even known who dialled.
    pub fn because(reason: &dyn std::fmt::Display) -> Self {
        Self {
            reason: reason.to_string(),
            twin: None,
        }
    }
}

impl From<String> for TurnedAway {
    fn from(reason: String) -> Self {
        Self { reason, twin: None }
    }
}

impl From<Refusal> for TurnedAway {
    fn from(refusal: Refusal) -> Self {
        let reason = refusal.to_string();
        let twin = if let Refusal::Claimed { theirs, .. } = refusal {
            Some(Twin::Later(theirs))
        } else if let Refusal::Incarnation { theirs, .. } = refusal {
            Some(Twin::Earlier(theirs))
        } else {
            None
        };
        Self { reason, twin }
    }
}

/// Checks that a peer understands the totals that are held here, where some were folded.
pub(super) fn check_folded<S: Store>(wire: u32, store: &S) -> Result<(), Refusal> {
    match wire < WIRE_FOLDED && store.has_folded() {
        true => Err(Refusal::Folded { theirs: wire }),
        false => Ok(()),
    }
}

/// Checks everything in a hello that does not depend on the log.
pub(super) fn check(
    hello: &Hello,
    ours: &Identity,
    expected: &Expected,
    known_incarnation: u64,
    clock: (Wall, Duration),
) -> Result<(), Refusal> {
    if hello.wire < WIRE_VERSION_MIN || hello.wire_min > WIRE_VERSION {
        return Err(Refusal::Wire {
            theirs: (hello.wire_min, hello.wire),
        });
    }
    if hello.cluster != ours.cluster {
        return Err(Refusal::Cluster {
            theirs: hello.cluster.clone(),
            ours: ours.cluster.clone(),
        });
    }
    if usize::try_from(hello.lanes) != Ok(LANES) || !matches!(hello.resume.applied.len(), 0 | LANES)
    {
        return Err(Refusal::Lanes {
            theirs: hello.lanes,
        });
    }
    if hello.rules != ours.rules {
        return Err(Refusal::Rules {
            theirs: hello.rules,
            ours: ours.rules,
        });
    }
    if hello.region != expected.region || hello.id != expected.origin.0 {
        return Err(Refusal::Region {
            theirs: hello.region.clone(),
            their_id: Origin(hello.id),
            ours: expected.region.clone(),
            our_id: expected.origin,
        });
    }
    if hello.incarnation < known_incarnation {
        return Err(Refusal::Incarnation {
            theirs: hello.incarnation,
            known: known_incarnation,
        });
    }
    check_clock(hello, clock)
}

/// Checks what the peer's clock says now, and what it said when the peer started.
fn check_clock(hello: &Hello, (wall, allowed): (Wall, Duration)) -> Result<(), Refusal> {
    let ahead = hello.wall - wall;
    if ahead > allowed {
        return Err(Skew { ahead, allowed }.into());
    }
    let ahead = Wall(hello.incarnation) - wall;
    if ahead > allowed {
        return Err(Refusal::IncarnationAhead {
            theirs: hello.incarnation,
            ahead,
            allowed,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_dials_again_replaces_its_own_link_whatever_is_heard_on_it() {
        for sign in [Sign::Life, Sign::None, Sign::Silence] {
            assert_eq!(contest("eu", 7, 7, sign), Ok(Contest::Replaced));
        }
    }

    #[test]
    fn a_later_process_replaces_a_silent_link_and_no_living_one() {
        assert_eq!(contest("eu", 7, 8, Sign::Silence), Ok(Contest::Replaced));
        assert_eq!(contest("eu", 7, 8, Sign::None), Ok(Contest::Open));
        let refused = contest("eu", 7, 8, Sign::Life).unwrap_err().to_string();
        let claims = "two nodes claim eu: one that started at 7 ms has a living link, another one started at 8 ms";
        assert!(refused.starts_with(claims), "{refused}");
    }
}
