//! Requests out of a read buffer: inline lines and arrays of bulk strings, nothing else.
//!
//! The decoder answers every byte sequence as redis-server 7 does, errors included, and in the same
//! way however the bytes are cut into reads. It allocates for what has arrived, never for what a
//! header declares. It neither reads nor owns the buffer, and it does not know commands.

use super::request::Span;
use super::{Limits, ProtocolError, Request, inline, parse_integer};

/// What the bytes at the start of the buffer hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// One whole request of this many bytes; [`Decoder::request`] has its arguments.
    Request {
        /// Bytes to drop from the buffer after the request is done with.
        bytes: usize,
    },
    /// An empty array or a blank line of this many bytes, which gets no reply.
    Empty {
        /// Bytes to drop from the buffer.
        bytes: usize,
    },
    /// The beginning of a request, or nothing.
    Incomplete {
        /// At least this many more bytes are needed. The peer chose this number: it is bounded by
        /// [`Limits::bulk_bytes_max`] alone, so pass it through [`reserve_bytes`].
        missing: usize,
    },
}

/// How much free space to provide for the next read when `missing` bytes are wanted: enough to
/// receive a large argument in few reads, little enough that a declared length reserves nothing much.
#[must_use]
pub fn reserve_bytes(missing: usize) -> usize {
    missing.clamp(READ_BYTES_MIN, READ_BYTES_MAX)
}

/// As large as the buffer that redis-server reads into.
const READ_BYTES_MIN: usize = 16 << 10;
/// Large enough that system calls no longer matter, small against the buffers of a thousand clients.
const READ_BYTES_MAX: usize = 256 << 10;

/// Argument slots kept for the next request; more are given back after a request that needed them.
const SPANS_KEPT: usize = 1024;
/// Bytes of unquoted text kept for the next inline request.
const TEXT_BYTES_KEPT: usize = 4096;

const MORE: Decoded = Decoded::Incomplete { missing: 1 };

/// A request parser that keeps its place between reads, so that a request that arrives byte by byte
/// costs no more than linear time.
///
/// Call [`decode`](Self::decode) with the unconsumed bytes of the connection. After
/// [`Decoded::Incomplete`] call it again with the same bytes and more behind them. After an error it
/// repeats that error; the connection is to be closed.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    args_max: usize,
    bulk_bytes_max: usize,
    spans: Vec<Span>,
    /// The arguments of an inline request, unquoted.
    text: Vec<u8>,
    stage: Stage,
    /// Offset of the first byte not yet understood.
    at: usize,
    /// Bytes of the line at `at` known to hold no line end.
    searched: usize,
    /// Arguments of the array that are still to come.
    remaining: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// At the first byte of a request.
    Start,
    /// At the `$` of an argument.
    Header,
    /// At the first of this many bytes of an argument.
    Body(usize),
    /// Behind a whole array.
    Array,
    /// Behind a whole inline request.
    Inline,
}

impl Decoder {
    /// A decoder at the start of a connection. `authenticated` says whether the full limits hold
    /// from the beginning, as they do when no password is set.
    #[must_use]
    pub fn new(limits: Limits, authenticated: bool) -> Self {
        let mut decoder = Self {
            limits,
            args_max: 0,
            bulk_bytes_max: 0,
            spans: Vec::new(),
            text: Vec::new(),
            stage: Stage::Start,
            at: 0,
            searched: 0,
            remaining: 0,
        };
        decoder.set_authenticated(authenticated);
        decoder
    }

    /// Switches between the full limits and those of a client that has yet to authenticate.
    pub fn set_authenticated(&mut self, authenticated: bool) {
        let Limits {
            args_max,
            bulk_bytes_max,
            ..
        } = self.limits;
        (self.args_max, self.bulk_bytes_max) = if authenticated {
            (args_max, bulk_bytes_max)
        } else {
            (
                args_max.min(self.limits.unauthenticated_args_max),
                bulk_bytes_max.min(self.limits.unauthenticated_bulk_bytes_max),
            )
        };
    }

    /// Reads one request from the start of `buf`.
    ///
    /// # Errors
    /// The bytes are no request, or one beyond the limits.
    #[inline]
    pub fn decode(&mut self, buf: &[u8]) -> Result<Decoded, ProtocolError> {
        if matches!(self.stage, Stage::Array | Stage::Inline) {
            self.reset();
        }
        if self.stage == Stage::Start {
            match buf.first() {
                None => return Ok(MORE),
                Some(b'*') => {}
                Some(_) => return self.decode_inline(buf),
            }
            let Some((count, end)) = self.count(buf)? else {
                return Ok(MORE);
            };
            if count == 0 {
                self.searched = 0;
                return Ok(Decoded::Empty { bytes: end });
            }
            self.remaining = count;
            self.advance(end, Stage::Header);
        }
        self.decode_args(buf)
    }

    /// The arguments of the request that [`decode`](Self::decode) has just reported, found in the
    /// same `buf` (longer is fine). Empty at any other time.
    #[inline]
    #[must_use]
    pub fn request<'a>(&'a self, buf: &'a [u8]) -> Request<'a> {
        match self.stage {
            Stage::Array => Request::new(buf, &self.spans),
            Stage::Inline => Request::new(&self.text, &self.spans),
            Stage::Start | Stage::Header | Stage::Body(_) => Request::new(&[], &[]),
        }
    }

    /// Bytes of heap memory held, at most a small multiple of the bytes that have arrived.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.spans.capacity() * size_of::<Span>() + self.text.capacity()
    }

    #[inline]
    fn decode_args(&mut self, buf: &[u8]) -> Result<Decoded, ProtocolError> {
        loop {
            let length = match self.stage {
                Stage::Body(length) => length,
                Stage::Start | Stage::Header | Stage::Array | Stage::Inline => {
                    let Some((length, end)) = self.bulk_length(buf)? else {
                        return Ok(MORE);
                    };
                    self.advance(end, Stage::Body(length));
                    length
                }
            };
            // The two bytes behind an argument are skipped unread, as redis-server does.
            let end = self.at + length;
            let next = end + 2;
            if next > buf.len() {
                return Ok(Decoded::Incomplete {
                    missing: next - buf.len(),
                });
            }
            self.spans.push(Span::new(self.at, end));
            self.remaining -= 1;
            if self.remaining == 0 {
                self.stage = Stage::Array;
                return Ok(Decoded::Request { bytes: next });
            }
            self.advance(next, Stage::Header);
        }
    }

    /// The number in the `*` line at the start of `buf` (0 if negative) and the offset behind the line.
    #[inline]
    fn count(&mut self, buf: &[u8]) -> Result<Option<(usize, usize)>, ProtocolError> {
        if let Some((count, length)) = plain_header(buf)
            && count <= self.args_max
        {
            return Ok(Some((count, length)));
        }
        self.any_count(buf)
    }

    #[cold]
    fn any_count(&mut self, buf: &[u8]) -> Result<Option<(usize, usize)>, ProtocolError> {
        let Some(line) = self.line(buf, b'\r', ProtocolError::TooBigMultibulkCount)? else {
            return Ok(None);
        };
        // redis-server's own limit is the largest `int`, which it checks before the client's state.
        let count = parse_integer(&line[1..])
            .filter(|count| *count <= i64::from(i32::MAX))
            .ok_or(ProtocolError::InvalidMultibulkLength)?;
        let count = usize::try_from(count).unwrap_or(0);
        if count <= self.args_max {
            Ok(Some((count, line.len() + 2)))
        } else if self.args_max < self.limits.args_max {
            Err(ProtocolError::UnauthenticatedMultibulkLength)
        } else {
            Err(ProtocolError::InvalidMultibulkLength)
        }
    }

    /// The number in the `$` line at `self.at` and the offset behind the line.
    #[inline]
    fn bulk_length(&mut self, buf: &[u8]) -> Result<Option<(usize, usize)>, ProtocolError> {
        let rest = buf.get(self.at..).unwrap_or_default();
        let (length, header) = match plain_header(rest) {
            Some((length, header)) if rest[0] == b'$' && length <= self.bulk_bytes_max => {
                (length, header)
            }
            Some(_) | None => match self.any_bulk_length(rest)? {
                Some(found) => found,
                None => return Ok(None),
            },
        };
        let start = self.at + header;
        if start.saturating_add(length).saturating_add(2) > self.limits.request_bytes_max as usize {
            return Err(ProtocolError::TooBigRequest);
        }
        Ok(Some((length, start)))
    }

    #[cold]
    fn any_bulk_length(&mut self, rest: &[u8]) -> Result<Option<(usize, usize)>, ProtocolError> {
        let Some(line) = self.line(rest, b'\r', ProtocolError::TooBigBulkCount)? else {
            return Ok(None);
        };
        if rest[0] != b'$' {
            return Err(ProtocolError::ExpectedBulk(rest[0]));
        }
        let length = parse_integer(&line[1..])
            .and_then(|length| usize::try_from(length).ok())
            .filter(|length| *length <= self.limits.bulk_bytes_max)
            .ok_or(ProtocolError::InvalidBulkLength)?;
        if length > self.bulk_bytes_max {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        Ok(Some((length, line.len() + 2)))
    }

    fn decode_inline(&mut self, buf: &[u8]) -> Result<Decoded, ProtocolError> {
        let Some(line) = self.line(buf, b'\n', ProtocolError::TooBigInline)? else {
            return Ok(MORE);
        };
        let bytes = line.len() + 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        inline::split(line, &mut self.text, &mut self.spans)?;
        self.searched = 0;
        if self.spans.is_empty() {
            return Ok(Decoded::Empty { bytes });
        }
        self.stage = Stage::Inline;
        Ok(Decoded::Request { bytes })
    }

    /// The line at the start of `rest` without its end, or `None` until it is whole. A line that
    /// ends in CR is whole when one more byte is there, whichever it is.
    ///
    /// redis-server searches with C string functions, so a NUL hides the line end behind it.
    fn line<'a>(
        &mut self,
        rest: &'a [u8],
        terminator: u8,
        too_big: ProtocolError,
    ) -> Result<Option<&'a [u8]>, ProtocolError> {
        let line_bytes_max = self.limits.inline_bytes_max;
        let window = &rest[..rest.len().min(line_bytes_max + 1)];
        let unsearched = window.get(self.searched..).unwrap_or_default();
        let stop = unsearched
            .iter()
            .position(|byte| *byte == terminator || *byte == 0);
        self.searched = stop.map_or(window.len(), |stop| self.searched + stop);
        if stop.is_some() && window[self.searched] == terminator {
            let whole = terminator == b'\n' || rest.len() > self.searched + 1;
            return Ok(whole.then(|| &rest[..self.searched]));
        }
        if rest.len() > line_bytes_max {
            return Err(too_big);
        }
        Ok(None)
    }

    #[inline]
    fn advance(&mut self, at: usize, stage: Stage) {
        self.at = at;
        self.stage = stage;
        self.searched = 0;
    }

    #[inline]
    fn reset(&mut self) {
        self.advance(0, Stage::Start);
        self.spans.clear();
        if self.spans.capacity() > SPANS_KEPT || self.text.capacity() > TEXT_BYTES_KEPT {
            self.spans = Vec::new();
            self.text = Vec::new();
        }
    }
}

/// The number and length of the header line at the start of `line` if it has the usual form: a
/// marker, one to nine digits, CR, one more byte. What it does not know is left to [`parse_integer`].
#[inline]
pub(super) fn plain_header(line: &[u8]) -> Option<(usize, usize)> {
    let digits = line.get(1..)?;
    let first = digits.first()?.wrapping_sub(b'0');
    if first > 9 {
        return None;
    }
    let mut value = usize::from(first);
    for (index, byte) in digits.iter().enumerate().skip(1).take(9) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            let plain = *byte == b'\r' && digits.len() > index + 1 && (first > 0 || index == 1);
            return plain.then_some((value, index + 3));
        }
        value = value * 10 + usize::from(digit);
    }
    None
}
