//! Replies into a growing byte buffer, in the client's protocol version. It does not know commands,
//! and it neither sends the bytes nor limits how many wait to be sent.

use super::{ProtocolError, format_double};

/// The protocol version of one connection, chosen by `HELLO`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// What every connection starts with.
    #[default]
    Resp2,
    /// Adds types (map, set, null, double, boolean, push) that RESP2 spells as other types.
    Resp3,
}

impl Version {
    /// The version `HELLO number` asks for, `None` if there is no such version.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        match number {
            2 => Some(Self::Resp2),
            3 => Some(Self::Resp3),
            _ => None,
        }
    }

    /// 2 or 3.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

/// The replies of one connection that wait to be written, in order.
///
/// A method that names a type RESP2 lacks writes what redis-server writes to a RESP2 client. A header
/// method (`array`, `map`, `set`, `push`) is followed by that many replies; a map counts pairs.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    bytes: Vec<u8>,
    version: Version,
}

impl Reply {
    /// An empty buffer that allocates nothing yet.
    #[must_use]
    pub fn new(version: Version) -> Self {
        Self {
            bytes: Vec::new(),
            version,
        }
    }

    /// The version in which replies are written.
    #[inline]
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Changes the version of the replies that follow.
    pub fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    /// The bytes to send.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes to send, for a receiver other than this connection.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Number of bytes to send.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing to send.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Drops what was written since the buffer had `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    /// Empties the buffer, keeping at most `capacity_max` bytes of memory for the next replies.
    #[inline]
    pub fn clear(&mut self, capacity_max: usize) {
        self.bytes.clear();
        if self.bytes.capacity() > capacity_max {
            self.bytes = Vec::new();
        }
    }

    /// Bytes of heap memory held.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Appends replies that are encoded already.
    #[inline]
    pub fn raw(&mut self, replies: &[u8]) {
        self.bytes.extend_from_slice(replies);
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// A simple string; line ends in it become spaces.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error. `message` begins with its code (`ERR ...`, `WRONGTYPE ...`) and may quote what the
    /// client sent: line ends at its edges are dropped, those inside become spaces.
    #[cold]
    pub fn error(&mut self, message: impl AsRef<[u8]>) {
        let message = message.as_ref();
        let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let start = message.iter().take_while(|byte| is_line_end(byte)).count();
        let end = message.iter().rposition(|byte| !is_line_end(byte));
        self.line(b'-', end.map_or(&[], |end| &message[start..=end]));
    }

    /// The error for a request that could not be read; the connection is to be closed after it.
    #[cold]
    pub fn protocol_error(&mut self, error: &ProtocolError) {
        let mut message = format!("ERR {error}").into_bytes();
        if let ProtocolError::ExpectedBulk(got) = error {
            message = b"ERR Protocol error: expected '$', got '".to_vec();
            message.extend_from_slice(&[*got, b'\'']);
        }
        self.error(message);
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        match value {
            0 => self.raw(b":0\r\n"),
            1 => self.raw(b":1\r\n"),
            _ => self.header(b':', value),
        }
    }

    /// A binary-safe string.
    #[inline]
    pub fn bulk(&mut self, data: &[u8]) {
        self.bytes.reserve(data.len() + BULK_OVERHEAD_MAX);
        self.header(b'$', data.len());
        self.raw(data);
        self.raw(b"\r\n");
    }

    /// An integer as a binary-safe string.
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// The absence of a value.
    #[inline]
    pub fn null(&mut self) {
        self.raw(match self.version {
            Version::Resp2 => b"$-1\r\n",
            Version::Resp3 => b"_\r\n",
        });
    }

    /// The absence of an array, as a transaction that was aborted answers.
    pub fn null_array(&mut self) {
        self.raw(match self.version {
            Version::Resp2 => b"*-1\r\n",
            Version::Resp3 => b"_\r\n",
        });
    }

    /// The header of an array of `len` replies.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len);
    }

    /// The header of a map of `pairs` keys and values; RESP2 has an array of twice as many.
    pub fn map(&mut self, pairs: usize) {
        match self.version {
            Version::Resp2 => self.header(b'*', pairs * 2),
            Version::Resp3 => self.header(b'%', pairs),
        }
    }

    /// The header of a set of `len` replies; RESP2 has an array.
    pub fn set(&mut self, len: usize) {
        self.versioned_header(b'~', len);
    }

    /// The header of a message of `len` replies that answers no request; RESP2 has an array.
    pub fn push(&mut self, len: usize) {
        self.versioned_header(b'>', len);
    }

    /// A floating point number; RESP2 has a bulk string.
    pub fn double(&mut self, value: f64) {
        let text = format_double(value);
        match self.version {
            Version::Resp2 => self.bulk(text.as_bytes()),
            Version::Resp3 => self.line(b',', text.as_bytes()),
        }
    }

    /// A truth value; RESP2 has the integer 1 or 0.
    pub fn boolean(&mut self, value: bool) {
        self.raw(match (self.version, value) {
            (Version::Resp2, false) => b":0\r\n",
            (Version::Resp2, true) => b":1\r\n",
            (Version::Resp3, false) => b"#f\r\n",
            (Version::Resp3, true) => b"#t\r\n",
        });
    }

    /// Text with a format of three letters (`txt`, `mkd`); RESP2 has the text as a bulk string.
    pub fn verbatim(&mut self, format: [u8; 3], text: &[u8]) {
        match self.version {
            Version::Resp2 => self.bulk(text),
            Version::Resp3 => {
                self.bytes.reserve(text.len() + BULK_OVERHEAD_MAX + 4);
                self.header(b'=', text.len() + 4);
                self.raw(&format);
                self.raw(b":");
                self.raw(text);
                self.raw(b"\r\n");
            }
        }
    }

    /// An integer of any size, in decimal digits; RESP2 has a bulk string.
    pub fn big_number(&mut self, digits: &str) {
        match self.version {
            Version::Resp2 => self.bulk(digits.as_bytes()),
            Version::Resp3 => self.line(b'(', digits.as_bytes()),
        }
    }

    fn versioned_header(&mut self, resp3: u8, len: usize) {
        let marker = match self.version {
            Version::Resp2 => b'*',
            Version::Resp3 => resp3,
        };
        self.header(marker, len);
    }

    #[inline]
    fn header(&mut self, marker: u8, number: impl itoa::Integer) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number).as_bytes();
        self.bytes.reserve(digits.len() + 3);
        self.bytes.push(marker);
        self.raw(digits);
        self.raw(b"\r\n");
    }

    /// One line: a line end inside `text` would let it forge the next reply.
    fn line(&mut self, marker: u8, text: &[u8]) {
        self.bytes.reserve(text.len() + 3);
        self.bytes.push(marker);
        self.bytes.extend(text.iter().map(|byte| match byte {
            b'\r' | b'\n' => b' ',
            other => *other,
        }));
        self.raw(b"\r\n");
    }
}

/// Marker, up to 20 digits, and two line ends around the data of a bulk string.
const BULK_OVERHEAD_MAX: usize = 25;
