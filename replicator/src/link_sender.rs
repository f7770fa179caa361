//! The sending half of a link. Sending never waits: what the connection does not take at once is kept, within a
//! limit, and written by [`LinkSender::drive`].

use std::{collections::VecDeque, fmt, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use quinn::{SendStream, VarInt, WriteError};
use tokio::time::{Instant, timeout_at};

use crate::{
    encoding::{Encoded, Encoding},
    error::LinkError,
    link::{
        self, CONTROL_FRAME_BYTES_MAX, CONTROL_PRIORITY, FrameKind, LinkLimits, LinkStats, Notice,
        SMALL_BATCH_BYTES_MAX,
    },
};

/// A connection that sends no more pieces of streams than this within the stall limit, those of control frames aside,
/// moves nothing: it repeats what was lost. 4 kB/s at ten seconds.
const IDLE_PIECES_MAX: u64 = 32;

/// Sends control frames in order, small batches side by side, and beside them large ones, one at a time.
pub struct LinkSender {
    connection: quinn::Connection,
    limits: LinkLimits,
    encoding: Encoding,
    order: Order,
    control: SendStream,
    control_waiting: BytesMut,
    /// Each writes as much as the connection takes, and is then put back until nothing is left of its batch.
    batches: FuturesUnordered<BoxFuture<'static, Result<BatchWriter, LinkError>>>,
    /// Behind the large batch that is among the others. One at a time, because several would take the connection's
    /// windows from the small ones, and would all be unfinished at the peer.
    large_waiting: VecDeque<Encoded>,
    large_is_writing: bool,
    batches_waiting_bytes: usize,
    /// When the connection last took or sent something, or began to owe.
    progress_at: Instant,
    /// Pieces of streams that the connection had sent by then, and writes to the control stream since.
    sent_pieces: u64,
    control_writes: u64,
}

impl LinkSender {
    pub(crate) fn new(
        connection: quinn::Connection,
        control: SendStream,
        limits: LinkLimits,
        compressible: bool,
    ) -> Self {
        let now = Instant::now();
        Self {
            connection,
            limits,
            encoding: Encoding::new(compressible, limits.compression),
            order: Order {
                opened_at: now,
                passing_limit: limits.passing_limit(),
            },
            control,
            control_waiting: BytesMut::new(),
            batches: FuturesUnordered::new(),
            large_waiting: VecDeque::new(),
            large_is_writing: false,
            batches_waiting_bytes: 0,
            progress_at: now,
            sent_pieces: 0,
            control_writes: 0,
        }
    }

    /// Sends one control frame after those before it.
    ///
    /// # Errors
    /// [`LinkError`] when the frame is too long, too much waits already, or the link is gone.
    pub fn send_control(&mut self, frame: &[u8]) -> Result<(), LinkError> {
        self.send_frame(FrameKind::Control, frame)
    }

    fn send_frame(&mut self, kind: FrameKind, frame: &[u8]) -> Result<(), LinkError> {
        if frame.len() > CONTROL_FRAME_BYTES_MAX {
            let (bytes, limit) = (frame.len(), CONTROL_FRAME_BYTES_MAX);
            return Err(LinkError::ControlFrameTooLarge { bytes, limit });
        }
        let prefix = link::prefix(kind, frame.len());
        self.reserve(prefix.len() + frame.len())?;
        self.control_waiting.extend_from_slice(&prefix);
        self.control_waiting.extend_from_slice(frame);
        while !self.control_waiting.is_empty() {
            match self.control.write(&self.control_waiting).now_or_never() {
                Some(written) => {
                    self.control_waiting.advance(written.map_err(write_failed)?);
                    self.control_writes += 1;
                }
                None => break,
            }
        }
        Ok(())
    }

    /// Sends one batch on a stream of its own, without waiting for the peer. Batches of up to
    /// [`SMALL_BATCH_BYTES_MAX`] pass longer ones that were sent before.
    ///
    /// # Errors
    /// [`LinkError`] when the batch is too long, too much waits already, or the link is gone.
    pub fn send_batch(&mut self, batch: Bytes) -> Result<(), LinkError> {
        let (bytes, limit) = (batch.len(), self.limits.batch_bytes_max);
        if bytes > limit {
            return Err(LinkError::BatchTooLarge { bytes, limit });
        }
        self.reserve(bytes)?;
        let (batch, dictionary) = self.encoding.encode(batch);
        if let Some(dictionary) = dictionary {
            self.send_frame(FrameKind::Dictionary, &dictionary)?;
        }
        let bytes = batch.len();
        self.batches_waiting_bytes += bytes;
        let is_large = bytes > SMALL_BATCH_BYTES_MAX;
        if is_large && self.large_is_writing {
            self.large_waiting.push_back(batch);
            return Ok(());
        }
        let mut writer = BatchWriter::new(batch);
        // Most batches are taken whole at once: those need no future.
        while let Some(written) = writer.write(&self.connection, &self.order).now_or_never() {
            self.batches_waiting_bytes -= written?;
            if writer.is_finished() {
                return Ok(());
            }
        }
        self.large_is_writing |= is_large;
        self.go_on(writer);
        Ok(())
    }

    /// Takes in what the receiving half has heard.
    ///
    /// # Errors
    /// [`LinkError`] when the peer speaks of a dictionary that was not sent to it, or as [`Self::send_control`].
    pub fn hear(&mut self, notice: Notice) -> Result<(), LinkError> {
        match notice {
            Notice::DictionaryReceived(id) => {
                self.send_frame(FrameKind::DictionaryHeld, &id.to_le_bytes())
            }
            Notice::DictionaryHeld(id) => self.encoding.confirm(id).map_err(LinkError::from),
        }
    }

    /// Has [`Self::drive`] write more of this batch.
    fn go_on(&self, mut writer: BatchWriter) {
        let (connection, order) = (self.connection.clone(), self.order);
        self.batches.push(Box::pin(async move {
            writer.write(&connection, &order).await?;
            Ok(writer)
        }));
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
        let (bytes, limit) = (waiting + bytes, self.limits.waiting_bytes_max());
        match bytes > limit {
            true => Err(LinkError::SendBacklog { bytes, limit }),
            false => Ok(()),
        }
    }

    /// Writes what waits, and returns after each step; never returns while nothing waits. One branch of the
    /// driver's `select!`; safe to cancel.
    ///
    /// # Errors
    /// [`LinkError`] when the link is gone, or the connection moved nothing for the stall limit, however long the whole
    /// takes.
    pub async fn drive(&mut self) -> Result<(), LinkError> {
        if self.control_waiting.is_empty() && self.batches.is_empty() {
            return std::future::pending().await;
        }
        let limit = self.limits.stall_limit;
        let stalled_at = self.progress_at + limit;
        let stepped = timeout_at(stalled_at, self.step()).await;
        // On a slow link the connection is long at sending what it took at once. With a peer that reads nothing that
        // ends, and only control frames, which are short, go on for a while.
        let sent_pieces = self.connection.stats().frame_tx.stream;
        let idle_pieces = IDLE_PIECES_MAX + 2 * self.control_writes;
        match stepped {
            Ok(stepped) => stepped?,
            Err(_) if sent_pieces - self.sent_pieces > idle_pieces => {}
            Err(_) => return Err(LinkError::Stalled(limit)),
        }
        self.progress_at = Instant::now();
        (self.sent_pieces, self.control_writes) = (sent_pieces, 0);
        Ok(())
    }

    async fn step(&mut self) -> Result<(), LinkError> {
        tokio::select! {
            written = self.control.write(&self.control_waiting), if !self.control_waiting.is_empty() => {
                self.control_waiting.advance(written.map_err(write_failed)?);
            }
            Some(writer) = self.batches.next(), if !self.batches.is_empty() => {
                let writer = writer?;
                self.batches_waiting_bytes -= writer.written_last;
                match writer.is_finished() {
                    false => self.go_on(writer),
                    true if writer.is_large => self.go_on_with_large(),
                    true => {}
                }
            }
        }
        Ok(())
    }

    fn go_on_with_large(&mut self) {
        match self.large_waiting.pop_front() {
            Some(batch) => self.go_on(BatchWriter::new(batch)),
            None => self.large_is_writing = false,
        }
    }

    /// How the link fares.
    #[must_use]
    pub fn stats(&self) -> LinkStats {
        LinkStats {
            batch_bytes: self.encoding.batch_bytes,
            encoded_batch_bytes: self.encoding.encoded_batch_bytes,
            ..LinkStats::of(&self.connection)
        }
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

/// When a batch goes, as a priority of its stream: before those that were sent later, so that each is complete as soon
/// as can be, and a piece that was lost goes first. A large batch counts as sent some time after it last moved: whatever
/// is sent meanwhile passes it, yet a link that is always full does not hold it up for ever.
#[derive(Clone, Copy, Debug)]
struct Order {
    opened_at: Instant,
    passing_limit: Duration,
}

/// Batches of one tick share the link evenly. After 248 days of one link its ticks are used up: batches then share it
/// as if all were sent at once, large ones after small ones.
const TICK_MS: u128 = 5;

impl Order {
    fn apply(&self, stream: &SendStream, is_large: bool) {
        let _closed_already = stream.set_priority(self.priority(Instant::now(), is_large));
    }

    fn priority(&self, now: Instant, is_large: bool) -> i32 {
        let age = now.duration_since(self.opened_at);
        let (age, last) = match is_large {
            true => (age.saturating_add(self.passing_limit), i32::MIN),
            false => (age, i32::MIN + 1),
        };
        let ticks = u32::try_from(age.as_millis() / TICK_MS).unwrap_or(u32::MAX);
        (CONTROL_PRIORITY - 1)
            .saturating_sub_unsigned(ticks)
            .max(last)
    }
}

/// A batch on its way into the connection.
struct BatchWriter {
    left: Encoded,
    is_large: bool,
    written_last: usize,
    /// Opened with the first write.
    stream: Option<BatchStream>,
}

impl BatchWriter {
    const fn new(batch: Encoded) -> Self {
        Self {
            is_large: batch.len() > SMALL_BATCH_BYTES_MAX,
            left: batch,
            written_last: 0,
            stream: None,
        }
    }

    /// Writes as much as the connection takes, at least a byte, and tells how much. Safe to cancel.
    async fn write(
        &mut self,
        connection: &quinn::Connection,
        order: &Order,
    ) -> Result<usize, LinkError> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let stream = connection.open_uni().await?;
                order.apply(&stream, self.is_large);
                self.stream.insert(BatchStream {
                    stream,
                    finished: false,
                })
            }
        };
        self.written_last = 0;
        if !self.left.is_empty() {
            let written = stream.stream.write_chunks(&mut self.left.0).await;
            self.written_last = written.map_err(write_failed)?.bytes;
        }
        if self.is_large {
            order.apply(&stream.stream, self.is_large);
        }
        if self.left.is_empty() {
            stream.finish();
        }
        Ok(self.written_last)
    }

    const fn is_finished(&self) -> bool {
        matches!(&self.stream, Some(stream) if stream.finished)
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

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER_PASSING: Duration = Duration::from_secs(20);

    fn priority(age: Duration, is_large: bool) -> i32 {
        let opened_at = Instant::now();
        let order = Order {
            opened_at,
            passing_limit: ORDER_PASSING,
        };
        order.priority(opened_at + age, is_large)
    }

    #[test]
    fn the_earlier_of_two_batches_goes_first_and_control_before_both() {
        let (first, second) = (Duration::ZERO, Duration::from_millis(5));
        for is_large in [false, true] {
            assert!(priority(first, is_large) > priority(second, is_large));
            assert!(priority(first, is_large) < CONTROL_PRIORITY);
        }
    }

    #[test]
    fn small_batches_pass_a_large_one_until_it_has_stood_for_long() {
        let large = priority(Duration::from_secs(3), true);
        let passes = Duration::from_secs(3) + ORDER_PASSING - Duration::from_millis(5);
        assert!(priority(passes, false) > large);
        assert!(priority(passes + Duration::from_millis(10), false) < large);
    }

    #[test]
    fn a_link_of_a_year_still_puts_small_batches_before_large_ones() {
        for days in [200, 247, 248, 249, 365, 100_000] {
            let age = Duration::from_hours(24 * days);
            assert!(priority(age, false) > priority(age, true), "{days} days");
        }
    }
}
