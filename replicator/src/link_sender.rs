//! The sending half of a link. Sending never waits: what the connection does not take at once is kept, within a
//! limit, and written by [`LinkSender::drive`].

use std::{fmt, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use quinn::{SendStream, VarInt, WriteError};
use tokio::time::{Instant, timeout_at};

use crate::{
    error::LinkError,
    link::{self, BATCH_BYTES_MAX, CONTROL_FRAME_BYTES_MAX, LinkStats, PREFIX_BYTES},
};

/// Bytes that may wait here in addition to QUIC's own send window. Two of the largest batches: a sender that asks
/// [`LinkSender::has_room`] first never meets it.
const WAITING_BYTES_MAX: usize = 2 * BATCH_BYTES_MAX + CONTROL_FRAME_BYTES_MAX;

/// A peer that takes nothing for this long, though its QUIC answers, will not take more.
const STALL_LIMIT: Duration = Duration::from_secs(10);

/// Sends control frames in order and batches side by side.
pub struct LinkSender {
    connection: quinn::Connection,
    control: SendStream,
    control_waiting: BytesMut,
    batches: FuturesUnordered<BoxFuture<'static, Result<usize, LinkError>>>,
    batches_waiting_bytes: usize,
    /// When the connection last took something, or began to owe.
    progress_at: Instant,
}

impl LinkSender {
    pub(crate) fn new(connection: quinn::Connection, control: SendStream) -> Self {
        Self {
            connection,
            control,
            control_waiting: BytesMut::new(),
            batches: FuturesUnordered::new(),
            batches_waiting_bytes: 0,
            progress_at: Instant::now(),
        }
    }

    /// Sends one control frame after those before it.
    ///
    /// # Errors
    /// [`LinkError`] when the frame is too long, too much waits already, or the link is gone.
    pub fn send_control(&mut self, frame: &[u8]) -> Result<(), LinkError> {
        if frame.len() > CONTROL_FRAME_BYTES_MAX {
            let (bytes, limit) = (frame.len(), CONTROL_FRAME_BYTES_MAX);
            return Err(LinkError::ControlFrameTooLarge { bytes, limit });
        }
        let prefix = u32::try_from(frame.len())
            .expect("the limit is below 4 GiB")
            .to_le_bytes();
        self.reserve(PREFIX_BYTES + frame.len())?;
        self.control_waiting.extend_from_slice(&prefix);
        self.control_waiting.extend_from_slice(frame);
        while !self.control_waiting.is_empty() {
            match self.control.write(&self.control_waiting).now_or_never() {
                Some(written) => self.control_waiting.advance(written.map_err(write_failed)?),
                None => break,
            }
        }
        Ok(())
    }

    /// Sends one batch on a stream of its own, without waiting for the peer.
    ///
    /// # Errors
    /// [`LinkError`] when the batch is too long, too much waits already ([`Self::has_room`] tells), or the link is gone.
    pub fn send_batch(&mut self, batch: Bytes) -> Result<(), LinkError> {
        let bytes = batch.len();
        if bytes > BATCH_BYTES_MAX {
            return Err(LinkError::BatchTooLarge {
                bytes,
                limit: BATCH_BYTES_MAX,
            });
        }
        self.reserve(bytes)?;
        let mut chunks = [batch];
        let stream = match self.connection.open_uni().now_or_never() {
            Some(opened) => {
                let mut stream = BatchStream {
                    stream: opened?,
                    finished: false,
                };
                if let Some(written) = stream.stream.write_all_chunks(&mut chunks).now_or_never() {
                    written.map_err(write_failed)?;
                    stream.finish();
                    return Ok(());
                }
                Some(stream)
            }
            None => None,
        };
        let connection = self.connection.clone();
        self.batches_waiting_bytes += bytes;
        self.batches.push(Box::pin(async move {
            let mut stream = match stream {
                Some(stream) => stream,
                None => BatchStream {
                    stream: connection.open_uni().await?,
                    finished: false,
                },
            };
            stream
                .stream
                .write_all_chunks(&mut chunks)
                .await
                .map_err(write_failed)?;
            stream.finish();
            Ok(bytes)
        }));
        Ok(())
    }

    /// Whether a batch of any legal length will be taken.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.waiting_bytes() + BATCH_BYTES_MAX <= WAITING_BYTES_MAX
    }

    /// Bytes that the connection has not taken yet.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.control_waiting.len() + self.batches_waiting_bytes
    }

    fn reserve(&mut self, bytes: usize) -> Result<(), LinkError> {
        let waiting = self.waiting_bytes();
        if waiting == 0 && self.batches.is_empty() {
            self.progress_at = Instant::now();
        }
        match waiting + bytes > WAITING_BYTES_MAX {
            true => Err(LinkError::SendBacklog {
                bytes: waiting + bytes,
                limit: WAITING_BYTES_MAX,
            }),
            false => Ok(()),
        }
    }

    /// Writes what waits, and returns after each step; never returns while nothing waits. One branch of the
    /// driver's `select!`; safe to cancel.
    ///
    /// # Errors
    /// [`LinkError`] when the link is gone, or the peer has taken nothing for ten seconds.
    pub async fn drive(&mut self) -> Result<(), LinkError> {
        if self.control_waiting.is_empty() && self.batches.is_empty() {
            return std::future::pending().await;
        }
        let stalled_at = self.progress_at + STALL_LIMIT;
        let stepped = timeout_at(stalled_at, self.step()).await;
        stepped.map_err(|_| LinkError::Stalled(STALL_LIMIT))??;
        self.progress_at = Instant::now();
        Ok(())
    }

    async fn step(&mut self) -> Result<(), LinkError> {
        tokio::select! {
            written = self.control.write(&self.control_waiting), if !self.control_waiting.is_empty() => {
                self.control_waiting.advance(written.map_err(write_failed)?);
            }
            Some(written) = self.batches.next(), if !self.batches.is_empty() => {
                self.batches_waiting_bytes -= written?;
            }
        }
        Ok(())
    }

    /// How the link fares.
    #[must_use]
    pub fn stats(&self) -> LinkStats {
        LinkStats::of(&self.connection)
    }

    /// Closes the link at once; what the peer has not acknowledged may be lost. Use codes from
    /// [`crate::endpoint::CLOSE_CODE_DRIVER_FIRST`] on. The peer sees code and reason.
    pub fn close(&self, code: u32, reason: &str) {
        link::close(&self.connection, code, reason);
    }
}

impl fmt::Debug for LinkSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.waiting_bytes();
        f.debug_struct("LinkSender")
            .field("waiting_bytes", &waiting)
            .finish_non_exhaustive()
    }
}

/// A batch's stream: dropped half-way it is reset, because the peer would take a clean end for a whole batch.
struct BatchStream {
    stream: SendStream,
    finished: bool,
}

/// Seen by the peer on a batch that was given up.
const ABANDONED: VarInt = VarInt::from_u32(1);

impl BatchStream {
    fn finish(&mut self) {
        self.finished = true;
        // It fails only for a stream that the peer stopped, which the write has reported.
        let _stopped = self.stream.finish();
    }
}

impl Drop for BatchStream {
    fn drop(&mut self) {
        if !self.finished {
            let _closed_already = self.stream.reset(ABANDONED);
        }
    }
}

fn write_failed(error: WriteError) -> LinkError {
    match error {
        WriteError::Stopped(code) => LinkError::BatchAbandoned(code.into_inner()),
        WriteError::ConnectionLost(error) => error.into(),
        WriteError::ClosedStream | WriteError::ZeroRttRejected => LinkError::ClosedHere,
    }
}
