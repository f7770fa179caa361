//! Why a link between two regions failed or was refused, and whether dialling again can help.

use std::{net::SocketAddr, time::Duration};

use quinn::ConnectionError;

use crate::{compression::CompressionError, identity::NodeName, tls};

/// Why there is no link, or no longer one. The text names what was expected and what was found.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LinkError {
    /// The certificate behind the dialled address belongs to another region or cluster.
    #[error("expected {expected} at {addr}, found a certificate for {found}")]
    WrongPeer {
        /// The dialled address.
        addr: SocketAddr,
        /// The configured peer.
        expected: Box<NodeName>,
        /// Whom the certificate names.
        found: Box<NodeName>,
    },
    /// A node that dialled in has a certificate of another cluster.
    #[error("expected a certificate of cluster `{expected}`, found one for {found}")]
    WrongCluster {
        /// This node's cluster.
        expected: String,
        /// Whom the certificate names.
        found: Box<NodeName>,
    },
    /// The peer's certificate names this node's own region.
    #[error("expected another region, found a certificate for this region {0}")]
    OwnRegion(NodeName),
    /// The peer's certificate is valid but does not name a region.
    #[error("expected a certificate that names greenwich://CLUSTER/REGION, found {0}")]
    Nameless(String),
    /// This node does not trust the peer's certificate, or got none.
    #[error("refused the peer's certificate: {0}")]
    Untrusted(String),
    /// The peer does not accept this node's certificate.
    #[error("the peer refused this node's certificate: {0}")]
    Refused(String),
    /// The peer speaks no version of the link that this node speaks.
    #[error("expected {expected}, found a peer without it: {found}")]
    WireVersion {
        /// This node's version.
        expected: &'static str,
        /// What the handshake says.
        found: String,
    },
    /// The peer closed the link and said why.
    #[error("the peer closed the link; in its words: {reason:?} (code {code})")]
    ClosedByPeer {
        /// The peer's code.
        code: u64,
        /// The peer's words, shortened.
        reason: String,
    },
    /// This node closed the link.
    #[error("closed by this node")]
    ClosedHere,
    /// Nothing was heard in time.
    #[error("nothing heard from the peer for the idle time-out")]
    TimedOut,
    /// A step of opening the link took too long.
    #[error("{step} took longer than {limit:?}")]
    OpenTimedOut {
        /// What was waited for.
        step: &'static str,
        /// How long.
        limit: Duration,
    },
    /// The peer restarted.
    #[error("the peer does not know this link any more: it restarted")]
    PeerRestarted,
    /// The address or the local endpoint cannot be used.
    #[error("cannot dial {addr}: {reason}")]
    Dial {
        /// The dialled address.
        addr: SocketAddr,
        /// Why not.
        reason: String,
    },
    /// The peer's name has no address, or none that can be dialled.
    #[error("cannot resolve {name}: {reason}")]
    Name {
        /// What is configured.
        name: String,
        /// Why not.
        reason: String,
    },
    /// Several addresses were dialled, none with success.
    #[error("{}", failures.iter().map(|(addr, error)| format!("{addr}: {error}")).collect::<Vec<_>>().join("; "))]
    Dials {
        /// Each address, and why it gave no link.
        failures: Vec<(SocketAddr, Self)>,
    },
    /// The peer broke the rules of QUIC.
    #[error("transport failure: {0}")]
    Transport(String),
    /// A control frame is longer than the limit.
    #[error("control frame of {bytes} bytes, expected at most {limit}")]
    ControlFrameTooLarge {
        /// Announced or offered length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A batch is longer than the limit.
    #[error("batch of {bytes} bytes or more, expected at most {limit}")]
    BatchTooLarge {
        /// Length seen so far.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A batch stopped half-way.
    #[error("nothing of an unfinished batch arrived for {0:?}")]
    BatchTimedOut(Duration),
    /// The peer gave a batch up half-way, or refused one.
    #[error("a batch was given up by the peer (code {0})")]
    BatchAbandoned(u64),
    /// The peer keeps too many bytes in unfinished batches.
    #[error("{bytes} bytes in unfinished batches, expected at most {limit}")]
    ReceiveBacklog {
        /// Bytes held for unfinished batches.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// More was handed to the sender than the connection takes.
    #[error("{bytes} bytes wait for the connection, expected at most {limit}")]
    SendBacklog {
        /// Bytes waiting, with the ones that were offered.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The peer reads nothing, though the connection lives.
    #[error("the peer has taken nothing for {0:?} though bytes wait")]
    Stalled(Duration),
    /// A control frame of a kind that this node does not know.
    #[error("control frame of unknown kind {0}")]
    ControlFrameKind(u8),
    /// A batch, a dictionary or its confirmation cannot be used.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// The peer ended the control stream.
    #[error("the peer ended the control stream")]
    ControlEnded,
}

/// How soon dialling again makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redial {
    /// The network or the peer's process: try again with a short, growing pause.
    Soon,
    /// A certificate, a name, a version or a broken peer: an operator must change something, so try rarely.
    Rarely,
    /// This node closed the link on purpose.
    Never,
}

impl LinkError {
    /// The code with which the peer closed the link, if it did.
    pub(crate) fn close_code(&self) -> Option<u32> {
        if let Self::ClosedByPeer { code, .. } = self {
            u32::try_from(*code).ok()
        } else {
            None
        }
    }

    /// Whether nobody answered at all.
    pub(crate) const fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::OpenTimedOut { .. } | Self::Dial { .. } | Self::Name { .. } | Self::Dials { .. }
        )
    }

    /// How soon dialling again makes sense.
    #[must_use]
    pub fn redial(&self) -> Redial {
        match self {
            Self::Dials { failures } => {
                let soon = |(_, error): &(SocketAddr, Self)| error.redial() == Redial::Soon;
                match failures.iter().any(soon) {
                    true => Redial::Soon,
                    false => Redial::Rarely,
                }
            }
            Self::ClosedByPeer { .. }
            | Self::TimedOut
            | Self::OpenTimedOut { .. }
            | Self::PeerRestarted
            | Self::BatchTimedOut(_)
            | Self::BatchAbandoned(_)
            | Self::Stalled(_)
            | Self::Dial { .. }
            | Self::Name { .. }
            | Self::SendBacklog { .. }
            | Self::ControlEnded => Redial::Soon,
            Self::WrongPeer { .. }
            | Self::WrongCluster { .. }
            | Self::OwnRegion(_)
            | Self::Nameless(_)
            | Self::Untrusted(_)
            | Self::Refused(_)
            | Self::WireVersion { .. }
            | Self::Transport(_)
            | Self::ControlFrameTooLarge { .. }
            | Self::ControlFrameKind(_)
            | Self::BatchTooLarge { .. }
            | Self::Compression(_)
            | Self::ReceiveBacklog { .. } => Redial::Rarely,
            Self::ClosedHere => Redial::Never,
        }
    }
}

impl LinkError {
    /// What came of dialling one address after the other.
    pub(crate) fn of_dials(mut failures: Vec<(SocketAddr, Self)>) -> Self {
        match failures.len() {
            1 => failures.remove(0).1,
            _ => Self::Dials { failures },
        }
    }
}

/// TLS alerts travel as QUIC error codes 0x100 to 0x1ff (RFC 9001, section 4.8).
const TLS_ALERT_FIRST: u64 = 0x100;
const TLS_ALERT_LAST: u64 = 0x1ff;

/// The alert `no_application_protocol` (RFC 7301).
const TLS_ALERT_WIRE_VERSION: u64 = TLS_ALERT_FIRST + 120;

/// The alert `certificate_required` (RFC 8446).
const TLS_ALERT_NO_CERTIFICATE: u64 = TLS_ALERT_FIRST + 116;

/// Whether this side ended the handshake because the peer showed no certificate.
pub(crate) fn is_no_certificate(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::TransportError(e) if u64::from(e.code) == TLS_ALERT_NO_CERTIFICATE)
}

fn is_tls_alert(code: quinn::TransportErrorCode) -> bool {
    (TLS_ALERT_FIRST..=TLS_ALERT_LAST).contains(&u64::from(code))
}

const fn wire_version(found: String) -> LinkError {
    LinkError::WireVersion {
        expected: tls::WIRE_VERSION,
        found,
    }
}

/// A peer's words go into the log: bounded, and without control characters.
fn peer_words(words: &[u8]) -> String {
    const CHARS_MAX: usize = 500;
    let text = String::from_utf8_lossy(words);
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(CHARS_MAX)
        .collect()
}

impl From<ConnectionError> for LinkError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::TransportError(e) if is_tls_alert(e.code) => match u64::from(e.code) {
                TLS_ALERT_WIRE_VERSION => wire_version(e.reason),
                _ => Self::Untrusted(tls::plain(&e.reason).to_owned()),
            },
            ConnectionError::ConnectionClosed(close) if is_tls_alert(close.error_code) => {
                let found = match close.reason.is_empty() {
                    true => close.error_code.to_string(),
                    false => tls::plain(&peer_words(&close.reason)).to_owned(),
                };
                match u64::from(close.error_code) {
                    TLS_ALERT_WIRE_VERSION => wire_version(found),
                    _ => Self::Refused(found),
                }
            }
            ConnectionError::ApplicationClosed(close) => Self::ClosedByPeer {
                code: close.error_code.into_inner(),
                reason: peer_words(&close.reason),
            },
            ConnectionError::LocallyClosed => Self::ClosedHere,
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::Reset => Self::PeerRestarted,
            ConnectionError::ConnectionClosed(_)
            | ConnectionError::TransportError(_)
            | ConnectionError::VersionMismatch
            | ConnectionError::CidsExhausted => {
                Self::Transport(peer_words(error.to_string().as_bytes()))
            }
        }
    }
}
