//! One QUIC connection as frames: a bidirectional control stream of length-prefixed frames, in order, and one
//! uni-directional stream for each batch, in any order, so that a lost packet delays only the batches that it carried.
//! It does not know what a frame means, nor whether the peer has applied a batch: acknowledgements are frames like others.

use std::time::Duration;

use bytes::Bytes;
use quinn::VarInt;
use tokio::time::timeout;

use crate::{compression::Compression, endpoint::Connection, error::LinkError, tls};
pub use crate::{link_receiver::LinkReceiver, link_sender::LinkSender};

/// The longest control frame, its prefix not counted. An empty one is legal and is skipped by the receiver.
pub const CONTROL_FRAME_BYTES_MAX: usize = 1024 * 1024;

/// A longer batch is large: one at a time is on its way, and the others pass it. A shorter one fits into its stream's
/// window and never waits for the peer to read. A batch of one packet (about 1,300 bytes) is delayed by loss as rarely
/// as can be, one of ten packets ten times as often.
pub const SMALL_BATCH_BYTES_MAX: usize = 256 * 1024;

/// A control frame is preceded by its length, u24 little endian, and its [`FrameKind`].
pub(crate) const PREFIX_BYTES: usize = 4;

/// Whose a control frame is. All but the first are sent only where compression was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// The users of the link.
    Control = 0,
    /// This layer's: a dictionary that the sender would like to use.
    Dictionary = 1,
    /// This layer's: the number, u32 little endian, of a dictionary that the sender holds.
    DictionaryHeld = 2,
}

/// What precedes a control frame of this length.
pub(crate) fn prefix(kind: FrameKind, bytes: usize) -> [u8; PREFIX_BYTES] {
    let bytes = u32::try_from(bytes).expect("the limit is below 16 MiB");
    let [first, second, third, _] = bytes.to_le_bytes();
    [first, second, third, kind as u8]
}

/// The control stream goes before batches: it carries the acknowledgements that let batches go.
pub(crate) const CONTROL_PRIORITY: i32 = i32::MAX;

/// The dialling side opens the control stream as soon as its handshake is done.
const OPEN_LIMIT: Duration = Duration::from_secs(5);

/// This layer's close code for a peer that broke a limit.
pub(crate) const CLOSE_CODE_LIMIT: u32 = 2;

/// How a link behaves, the same for both of its halves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkLimits {
    /// The longest batch.
    pub(crate) batch_bytes_max: usize,
    /// A connection that owes bytes and moves none for this long is given up.
    pub(crate) stall_limit: Duration,
    /// What is done to batches that are sent, if the peer reads it.
    pub(crate) compression: Compression,
}

/// Room for other batches beside the largest one: a session has 64 MiB in flight before it sends that one, all of which
/// may be unfinished at the receiver, and the sender has as much again for what a session sends beyond its window.
const WAITING_BESIDE_BYTES_MAX: usize = 128 * 1024 * 1024;
const UNFINISHED_BESIDE_BYTES_MAX: usize = 64 * 1024 * 1024;

impl LinkLimits {
    /// Bytes that may wait at the sender, in addition to QUIC's own send window.
    pub(crate) const fn waiting_bytes_max(&self) -> usize {
        self.batch_bytes_max
            .saturating_add(WAITING_BESIDE_BYTES_MAX)
    }

    /// Bytes of unfinished batches at the receiver.
    pub(crate) const fn unfinished_bytes_max(&self) -> usize {
        self.batch_bytes_max
            .saturating_add(UNFINISHED_BESIDE_BYTES_MAX)
    }

    /// For how long small batches may pass a large one that does not move.
    pub(crate) const fn passing_limit(&self) -> Duration {
        self.stall_limit.saturating_mul(2)
    }

    /// An unfinished batch of which nothing arrives for this long will not be completed. Longer than a large one may
    /// be passed by others.
    pub(crate) const fn silence_limit(&self) -> Duration {
        self.stall_limit.saturating_mul(3)
    }
}

/// What a link has to tell.
#[derive(Clone, Debug)]
pub enum Event {
    /// A control frame, in the order in which they were sent.
    Control(Bytes),
    /// A whole batch, in no order.
    Batch(Bytes),
    /// To be told to [`LinkSender::hear`] at once.
    Notice(Notice),
    /// The link is gone; every later event is this one again.
    Closed(LinkError),
}

/// What the receiving half of a link has to tell the sending half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The peer sent this dictionary, and wants to know that it is held.
    DictionaryReceived(u32),
    /// The peer holds this dictionary.
    DictionaryHeld(u32),
}

/// How a link fares; counted since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Smoothed round trip.
    pub rtt: Duration,
    /// Shortest round trip seen.
    pub rtt_min: Duration,
    /// What the congestion controller allows in flight.
    pub congestion_window_bytes: u64,
    /// Times that the controller slowed down.
    pub congestion_events: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets of this side that were declared lost.
    pub lost_packets: u64,
    /// UDP payload sent, retransmissions included.
    pub sent_bytes: u64,
    /// UDP payload received.
    pub received_bytes: u64,
    /// Acknowledgements and pieces of streams received: the peer's process lives while they grow.
    pub received_frames: u64,
    /// Batches sent, as they were handed over; counted by the sending half.
    pub batch_bytes: u64,
    /// The same batches as they were written to their streams.
    pub encoded_batch_bytes: u64,
    /// Times that the peer's windows held this side up.
    pub blocked_by_peer: u64,
    /// The largest UDP payload in use.
    pub mtu_bytes: u16,
}

impl LinkStats {
    pub(crate) fn of(connection: &quinn::Connection) -> Self {
        let stats = connection.stats();
        Self {
            rtt: stats.path.rtt,
            rtt_min: stats.path.min_rtt,
            congestion_window_bytes: stats.path.cwnd,
            congestion_events: stats.path.congestion_events,
            sent_packets: stats.path.sent_packets,
            lost_packets: stats.path.lost_packets,
            sent_bytes: stats.udp_tx.bytes,
            received_bytes: stats.udp_rx.bytes,
            received_frames: stats.frame_rx.acks + stats.frame_rx.stream,
            batch_bytes: 0,
            encoded_batch_bytes: 0,
            blocked_by_peer: stats.frame_tx.data_blocked
                + stats.frame_tx.stream_data_blocked
                + stats.frame_tx.streams_blocked_uni,
            mtu_bytes: stats.path.current_mtu,
        }
    }
}

impl Connection {
    /// Opens the link: the dialling side opens the control stream, the other waits for it. The link closes when
    /// both halves are dropped.
    ///
    /// # Errors
    /// [`LinkError`] when the connection ends or the peer does not open the stream in time.
    pub async fn open_link(self) -> Result<(LinkSender, LinkReceiver), LinkError> {
        let step = "opening the control stream";
        let opening = async {
            match self.dialled {
                true => self.quinn.open_bi().await,
                false => self.quinn.accept_bi().await,
            }
        };
        let timed_out = |_| LinkError::OpenTimedOut {
            step,
            limit: OPEN_LIMIT,
        };
        let (send, receive) = timeout(OPEN_LIMIT, opening).await.map_err(timed_out)??;
        let _closed_already = send.set_priority(CONTROL_PRIORITY);
        let compressible = tls::is_compression_agreed(&self.quinn);
        let mut sender = LinkSender::new(self.quinn.clone(), send, self.limits, compressible);
        if self.dialled {
            // A stream shows at the peer with its first byte: an empty frame opens it.
            sender.send_control(&[])?;
        }
        Ok((
            sender,
            LinkReceiver::new(self.quinn, receive, self.limits, compressible),
        ))
    }
}

pub(crate) fn close(connection: &quinn::Connection, code: u32, reason: &str) {
    connection.close(VarInt::from_u32(code), reason.as_bytes());
}
