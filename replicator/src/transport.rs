//! QUIC's settings for links between regions: long, fat, lossy now and then, and never idle.

use std::{sync::Arc, time::Duration};

use quinn::{AckFrequencyConfig, IdleTimeout, VarInt, congestion};

use crate::congestion::SteadyConfig;

/// How the sender reacts to loss and delay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// Follows the measured rate, and keeps the path's queue short; see [`crate::congestion`].
    #[default]
    Steady,
    /// Halves on loss, as TCP does: fair to neighbours, slow on lossy long links.
    Cubic,
}

/// The settings that an operator may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportConfig {
    /// The congestion controller.
    pub congestion: Congestion,
    /// The expected round trip: how soon a lost handshake packet is sent again. 333 ms when unknown.
    pub initial_rtt: Option<Duration>,
    /// A silent link says something this often. 500 ms; below [`Self::idle_timeout`].
    pub keep_alive: Duration,
    /// A link on which nothing is heard for this long is closed. 2 s. Too small and a burst of loss closes it, too
    /// large and a dead peer is noticed late.
    pub idle_timeout: Duration,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            congestion: Congestion::Steady,
            initial_rtt: None,
            keep_alive: Duration::from_millis(500),
            idle_timeout: Duration::from_secs(2),
        }
    }
}

/// A small batch has room in its stream's window many times over; a large one goes at 10 MB/s at 200 ms. QUIC's
/// implementation ends a connection when a stream has more than 1024 gaps: with every second packet lost this window has
/// fewer, with one of 8 MiB a large batch never crosses a fast link that loses a third.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;

/// Unread bytes of a peer, which bounds the memory that it can take: 64 MiB is 320 MB/s at 200 ms.
const RECEIVE_WINDOW_BYTES: u32 = 64 * 1024 * 1024;

/// Unacknowledged bytes kept for a peer.
const SEND_WINDOW_BYTES: u64 = 64 * 1024 * 1024;

/// Batches under way, each on its own stream; at the limit new ones wait at the sender.
const UNI_STREAMS_MAX: u32 = 4096;

/// One control stream, and room for a successor.
const BIDI_STREAMS_MAX: u32 = 4;

/// A link starts under full load, not as a download does. Measured at 80 ms and 1.3 MB/s: with 38 kB the first batches
/// arrive 160 ms late and the steady p99 is 4 ms over the one-way delay, with this 3 ms and 1.4 ms.
const INITIAL_WINDOW_BYTES: u64 = 256 * 1024;

/// Acknowledgements after this many packets instead of every second one: fewer packets back on a busy link. Gaps
/// are still acknowledged at once, so that loss is noticed as early.
const ACK_AFTER_PACKETS: u32 = 8;

/// On a quiet link an acknowledgement waits at most this long.
const ACK_DELAY_MAX: Duration = Duration::from_millis(5);

/// A longer idle time-out is a mistake, and is cut to this.
const IDLE_TIMEOUT_MAX: Duration = Duration::from_secs(60 * 60);

impl TransportConfig {
    pub(crate) fn to_quinn(&self) -> Arc<quinn::TransportConfig> {
        let mut transport = quinn::TransportConfig::default();
        match self.congestion {
            Congestion::Steady => {
                let steady = SteadyConfig {
                    initial_window: INITIAL_WINDOW_BYTES,
                };
                transport.congestion_controller_factory(Arc::new(steady));
            }
            Congestion::Cubic => {
                let mut cubic = congestion::CubicConfig::default();
                cubic.initial_window(INITIAL_WINDOW_BYTES);
                transport.congestion_controller_factory(Arc::new(cubic));
            }
        }
        let mut acks = AckFrequencyConfig::default();
        acks.ack_eliciting_threshold(VarInt::from_u32(ACK_AFTER_PACKETS))
            .max_ack_delay(Some(ACK_DELAY_MAX));
        let idle = self.idle_timeout.min(IDLE_TIMEOUT_MAX);
        transport
            .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
            .receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES))
            .send_window(SEND_WINDOW_BYTES)
            .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS_MAX))
            .max_concurrent_bidi_streams(VarInt::from_u32(BIDI_STREAMS_MAX))
            .datagram_receive_buffer_size(None)
            // Without it a stream that has begun is sent to the end of what it holds, whatever the priorities of others:
            // the links' priorities give the order.
            .send_fairness(true)
            .ack_frequency_config(Some(acks))
            .keep_alive_interval(Some(self.keep_alive))
            .max_idle_timeout(Some(
                IdleTimeout::try_from(idle)
                    .expect("an hour fits into QUIC's 62 bits of milliseconds"),
            ));
        if let Some(rtt) = self.initial_rtt {
            transport.initial_rtt(rtt);
        }
        Arc::new(transport)
    }
}
