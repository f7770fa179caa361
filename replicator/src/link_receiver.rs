//! The receiving half of a link: reads the control stream and every batch's stream at the same time, and tells of
//! each as it is complete.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use quinn::{ReadError, RecvStream};
use tokio::time::timeout;

use crate::{
    compression::Decoder,
    error::LinkError,
    link::{
        self, CLOSE_CODE_LIMIT, CONTROL_FRAME_BYTES_MAX, Event, FrameKind, LinkLimits, LinkStats,
        Notice, PREFIX_BYTES,
    },
};

/// Batches read side by side; the streams of others wait unread, within the connection's window.
const BATCHES_READ_MAX: usize = 1024;

/// Receives control frames in order and batches as they are complete.
pub struct LinkReceiver {
    connection: quinn::Connection,
    control: ControlReader,
    batches: FuturesUnordered<BoxFuture<'static, Result<Bytes, LinkError>>>,
    limits: LinkLimits,
    /// For a peer that says how each batch is encoded.
    decoder: Option<Decoder>,
    unfinished_bytes: Arc<AtomicUsize>,
    closed: Option<LinkError>,
}

impl LinkReceiver {
    pub(crate) fn new(
        connection: quinn::Connection,
        control: RecvStream,
        mut limits: LinkLimits,
        compressible: bool,
    ) -> Self {
        let decoder = compressible.then(|| Decoder::new(limits.batch_bytes_max));
        // A stream is longer than its batch by the byte that says how that is encoded.
        limits.batch_bytes_max += usize::from(compressible);
        Self {
            connection,
            control: ControlReader {
                stream: control,
                received: BytesMut::new(),
                ended: false,
                has_kinds: compressible,
            },
            batches: FuturesUnordered::new(),
            limits,
            decoder,
            unfinished_bytes: Arc::new(AtomicUsize::new(0)),
            closed: None,
        }
    }

    /// The next event. Batches that arrived whole before the link ended are still told. Safe to cancel.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(error) = &self.closed {
                return Event::Closed(error.clone());
            }
            match self.step().await {
                Ok(Some(event)) => return event,
                Ok(None) => {}
                Err(error) => {
                    // Does nothing when the connection is already gone.
                    link::close(&self.connection, CLOSE_CODE_LIMIT, &error.to_string());
                    self.closed = Some(error);
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Event>, LinkError> {
        if let Some((kind, frame)) = self.control.take_frame()? {
            return self.take_frame(kind, frame).map(Some);
        }
        tokio::select! {
            // Control first: acknowledgements make room on both sides.
            biased;
            read = self.control.read(), if !self.control.ended => read.map(|()| None),
            Some(batch) = self.batches.next(), if !self.batches.is_empty() => {
                self.decode(batch?).map(Some)
            }
            accepted = self.connection.accept_uni(), if self.batches.len() < BATCHES_READ_MAX => {
                self.start_batch(accepted?)
            }
        }
    }

    fn take_frame(&mut self, kind: u8, frame: Bytes) -> Result<Event, LinkError> {
        const CONTROL: u8 = FrameKind::Control as u8;
        const DICTIONARY: u8 = FrameKind::Dictionary as u8;
        const DICTIONARY_HELD: u8 = FrameKind::DictionaryHeld as u8;
        let notice = match (kind, &mut self.decoder) {
            (CONTROL, _) => return Ok(Event::Control(frame)),
            (DICTIONARY, Some(decoder)) => {
                Notice::DictionaryReceived(decoder.add_dictionary(&frame)?)
            }
            (DICTIONARY_HELD, Some(_)) => {
                let id = <[u8; 4]>::try_from(&frame[..]);
                let id = id.map_err(|_| LinkError::ControlFrameKind(kind))?;
                Notice::DictionaryHeld(u32::from_le_bytes(id))
            }
            _ => return Err(LinkError::ControlFrameKind(kind)),
        };
        Ok(Event::Notice(notice))
    }

    fn decode(&mut self, stream: Bytes) -> Result<Event, LinkError> {
        Ok(Event::Batch(match &mut self.decoder {
            Some(decoder) => decoder.decode(stream)?,
            None => stream,
        }))
    }

    /// Most batches arrive with all of their packets together: those are told without a timer.
    fn start_batch(&mut self, stream: RecvStream) -> Result<Option<Event>, LinkError> {
        let unfinished_bytes = Arc::clone(&self.unfinished_bytes);
        let mut reader = BatchReader::new(stream, self.limits, unfinished_bytes);
        while let Some(more) = reader.read_more().now_or_never() {
            if !more? {
                return self.decode(reader.take()).map(Some);
            }
        }
        self.batches.push(Box::pin(reader.read_to_end()));
        Ok(None)
    }

    /// How the link fares.
    #[must_use]
    pub fn stats(&self) -> LinkStats {
        LinkStats::of(&self.connection)
    }

    /// Closes the link, as [`crate::link::LinkSender::close`] does.
    pub fn close(&self, code: u32, reason: &str) {
        link::close(&self.connection, code, reason);
    }
}

impl fmt::Debug for LinkReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkReceiver")
            .field("batches", &self.batches.len())
            .field("unfinished_bytes", &self.unfinished_bytes)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

struct ControlReader {
    stream: RecvStream,
    received: BytesMut,
    /// Whether the last byte of a prefix is the frame's kind; it belongs to the length otherwise.
    has_kinds: bool,
    /// The connection is gone: what is left of the batches says why.
    ended: bool,
}

/// Bytes taken from the stream at a time.
const CONTROL_READ_BYTES: usize = 64 * 1024;

impl ControlReader {
    async fn read(&mut self) -> Result<(), LinkError> {
        match self.stream.read_chunk(CONTROL_READ_BYTES, true).await {
            Ok(Some(chunk)) => self.received.extend_from_slice(&chunk.bytes),
            Ok(None) => return Err(LinkError::ControlEnded),
            Err(ReadError::ConnectionLost(_)) => self.ended = true,
            Err(error) => return Err(read_failed(error)),
        }
        Ok(())
    }

    /// The next whole frame and its kind.
    fn take_frame(&mut self) -> Result<Option<(u8, Bytes)>, LinkError> {
        loop {
            let Some(mut prefix) = self.received.first_chunk::<PREFIX_BYTES>().copied() else {
                return Ok(None);
            };
            let kind = match self.has_kinds {
                true => std::mem::take(&mut prefix[PREFIX_BYTES - 1]),
                false => FrameKind::Control as u8,
            };
            let bytes = u32::from_le_bytes(prefix) as usize;
            if bytes > CONTROL_FRAME_BYTES_MAX {
                let limit = CONTROL_FRAME_BYTES_MAX;
                return Err(LinkError::ControlFrameTooLarge { bytes, limit });
            }
            if self.received.len() < PREFIX_BYTES + bytes {
                return Ok(None);
            }
            self.received.advance(PREFIX_BYTES);
            if bytes > 0 {
                return Ok(Some((kind, self.received.split_to(bytes).freeze())));
            }
        }
    }
}

/// Reads one stream to its end. A batch that came in one piece is not copied; of others each byte is copied into a buffer
/// that doubles as it fills, so that the memory follows what has arrived.
struct BatchReader {
    stream: RecvStream,
    first: Bytes,
    joined: BytesMut,
    bytes: usize,
    limits: LinkLimits,
    unfinished_bytes: Arc<AtomicUsize>,
}

/// Pieces taken from the connection under one lock; a piece is about a packet.
const PIECES_AT_ONCE: usize = 32;

impl BatchReader {
    fn new(stream: RecvStream, limits: LinkLimits, unfinished_bytes: Arc<AtomicUsize>) -> Self {
        Self {
            stream,
            first: Bytes::new(),
            joined: BytesMut::new(),
            bytes: 0,
            limits,
            unfinished_bytes,
        }
    }

    /// Takes what has arrived, at least a piece, and tells whether there is more to come. Safe to cancel: it takes
    /// pieces only when it is ready.
    async fn read_more(&mut self) -> Result<bool, LinkError> {
        let mut pieces = [const { Bytes::new() }; PIECES_AT_ONCE];
        let read = self.stream.read_chunks(&mut pieces).await;
        let Some(count) = read.map_err(read_failed)? else {
            return Ok(false);
        };
        for piece in pieces.into_iter().take(count) {
            self.add(piece)?;
        }
        Ok(true)
    }

    /// However long it takes, unless nothing arrives for the silence limit.
    async fn read_to_end(mut self) -> Result<Bytes, LinkError> {
        let limit = self.limits.silence_limit();
        loop {
            match timeout(limit, self.read_more()).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return Ok(self.take()),
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(LinkError::BatchTimedOut(limit)),
            }
        }
    }

    fn add(&mut self, piece: Bytes) -> Result<(), LinkError> {
        let piece_bytes = piece.len();
        let unfinished = self
            .unfinished_bytes
            .fetch_add(piece_bytes, Ordering::Relaxed)
            + piece_bytes;
        self.bytes += piece_bytes;
        let (bytes, limit) = (self.bytes, self.limits.batch_bytes_max);
        if bytes > limit {
            return Err(LinkError::BatchTooLarge { bytes, limit });
        }
        let limit = self.limits.unfinished_bytes_max();
        if unfinished > limit {
            let bytes = unfinished;
            return Err(LinkError::ReceiveBacklog { bytes, limit });
        }
        match (self.first.is_empty(), self.joined.is_empty()) {
            (true, true) => self.first = piece,
            (false, _) => {
                self.joined
                    .extend_from_slice(&std::mem::take(&mut self.first));
                self.joined.extend_from_slice(&piece);
            }
            (true, false) => self.joined.extend_from_slice(&piece),
        }
        Ok(())
    }

    fn take(&mut self) -> Bytes {
        match self.joined.is_empty() {
            true => std::mem::take(&mut self.first),
            false => std::mem::take(&mut self.joined).freeze(),
        }
    }
}

impl Drop for BatchReader {
    fn drop(&mut self) {
        self.unfinished_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn read_failed(error: ReadError) -> LinkError {
    match error {
        ReadError::Reset(code) => LinkError::BatchAbandoned(code.into_inner()),
        ReadError::ConnectionLost(error) => error.into(),
        ReadError::ClosedStream | ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected => {
            LinkError::ClosedHere
        }
    }
}
