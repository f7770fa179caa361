//! One decoded request as a list of byte strings, borrowed or kept. It does not know what they mean.

use std::fmt;
use std::ops::Index;

/// Where one argument lies, in bytes from the start of the request.
/// 32 bits suffice because of [`Limits::request_bytes_max`](super::Limits::request_bytes_max).
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// `end` is at most `u32::MAX`: the callers check their limits first.
    #[inline]
    pub(super) fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && u32::try_from(end).is_ok());
        Self {
            start: start as u32,
            end: end as u32,
        }
    }
}

/// The arguments of one request, command name first, borrowed from the read buffer.
/// `request[i]` is argument `i` and panics when there is none; [`get`](Self::get) does not.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Request<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8], spans: &'a [Span]) -> Self {
        Self { bytes, spans }
    }

    /// Number of arguments, command name included; a decoded request has at least one.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no argument at all, not even a command name.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Argument `index`, or `None` past the last.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.spans.get(index).map(|span| self.slice(*span))
    }

    /// All arguments in order, command name first.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + DoubleEndedIterator + use<'a> {
        let Self { bytes, spans } = *self;
        spans
            .iter()
            .map(move |span| Self { bytes, spans }.slice(*span))
    }

    /// The same request without its first `count` arguments; empty when there are fewer.
    #[inline]
    #[must_use]
    pub fn skip(&self, count: usize) -> Self {
        Self {
            bytes: self.bytes,
            spans: self.spans.get(count..).unwrap_or_default(),
        }
    }

    /// A copy that outlives the read buffer, as a queue between MULTI and EXEC needs it.
    #[must_use]
    pub fn to_buf(&self) -> RequestBuf {
        self.iter().collect()
    }

    #[inline]
    fn slice(&self, span: Span) -> &'a [u8] {
        &self.bytes[span.start as usize..span.end as usize]
    }
}

impl Index<usize> for Request<'_> {
    type Output = [u8];

    #[inline]
    fn index(&self, index: usize) -> &[u8] {
        self.slice(self.spans[index])
    }
}

/// Shows sizes alone: arguments are a user's data and stay out of logs.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field(
                "arg_bytes",
                &self.iter().map(<[u8]>::len).collect::<Vec<_>>(),
            )
            .finish()
    }
}

/// A request that owns its arguments.
#[derive(Clone, Default)]
pub struct RequestBuf {
    bytes: Box<[u8]>,
    spans: Box<[Span]>,
}

impl RequestBuf {
    /// The arguments as a handler takes them.
    #[inline]
    #[must_use]
    pub fn as_request(&self) -> Request<'_> {
        Request::new(&self.bytes, &self.spans)
    }

    /// Bytes of heap memory held.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.spans)
    }
}

impl fmt::Debug for RequestBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_request().fmt(f)
    }
}

/// Panics when the arguments exceed 4 GiB together, which no [`Request`] does.
impl<T: AsRef<[u8]>> FromIterator<T> for RequestBuf {
    fn from_iter<I: IntoIterator<Item = T>>(args: I) -> Self {
        let mut bytes = Vec::new();
        let mut spans = Vec::new();
        for arg in args {
            let start = bytes.len();
            bytes.extend_from_slice(arg.as_ref());
            assert!(
                u32::try_from(bytes.len()).is_ok(),
                "a request is under 4 GiB"
            );
            spans.push(Span::new(start, bytes.len()));
        }
        Self {
            bytes: bytes.into(),
            spans: spans.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_request_equals_the_borrowed_one() {
        let args: [&[u8]; 4] = [b"SET", b"", b"\r\n\0", b"v"];
        let kept: RequestBuf = args.into_iter().collect();
        let copy = kept.as_request().to_buf();
        assert_eq!(copy.as_request().iter().collect::<Vec<_>>(), args);
        assert_eq!(copy.memory_bytes(), 7 + 4 * 8);
        assert_eq!(&copy.as_request()[0], b"SET");
        assert_eq!(copy.as_request().get(4), None);
        assert_eq!(copy.as_request().skip(3).iter().collect::<Vec<_>>(), [b"v"]);
        assert!(copy.as_request().skip(5).is_empty());
    }

    #[test]
    fn debug_output_shows_no_argument() {
        let kept: RequestBuf = ["AUTH", "secret"].into_iter().collect();
        assert_eq!(
            format!("{:?}", kept.as_request()),
            "Request { arg_bytes: [4, 6] }"
        );
    }
}
