//! One connection to a server: what was sent, and what each reply answers. It never waits.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::{
    mix::Operation,
    reply::{self, Malformed},
};

/// How long connecting may take, and then each step of the greeting.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1024;

/// Why a connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The socket.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The server hung up.
    #[error("the server closed the connection")]
    Closed,
    /// The server does not speak the protocol.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The server refused what it must accept.
    #[error("the server refused a command: {0}")]
    Refused(String),
    /// More replies than requests.
    #[error("the server sent a reply to nothing")]
    Unasked,
}

/// A request that waits for its replies.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// When it should have been sent, since the start of the run.
    pub intended: Duration,
    /// What it does.
    pub operation: Operation,
    replies_left: u32,
    is_error: bool,
}

/// An answered request.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// When it should have been sent, since the start of the run.
    pub intended: Duration,
    /// What it did.
    pub operation: Operation,
    /// Whether one of its replies was an error.
    pub is_error: bool,
}

/// A connection that never blocks.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    unsent: Vec<u8>,
    unread: Vec<u8>,
    waiting: VecDeque<Waiting>,
    first_error: Option<String>,
    is_given_up: bool,
}

impl Connection {
    /// Connects; with RESP3 the server is greeted and its answer awaited.
    ///
    /// # Errors
    /// [`ConnectionError`] when the server is not there or does not know the protocol's version.
    pub fn open(address: SocketAddr, resp3: bool) -> Result<Self, ConnectionError> {
        let mut stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT)?;
        stream.set_nodelay(true)?;
        let mut unread = Vec::new();
        if resp3 {
            stream.set_read_timeout(Some(CONNECT_LIMIT))?;
            stream.set_write_timeout(Some(CONNECT_LIMIT))?;
            stream.write_all(b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n")?;
            let greeting = loop {
                if let Some(reply) = reply::scan(&unread)? {
                    break reply;
                }
                let mut buffer = [0; 4096];
                match stream.read(&mut buffer)? {
                    0 => return Err(ConnectionError::Closed),
                    read => unread.extend_from_slice(&buffer[..read]),
                }
            };
            if greeting.is_error {
                let text = String::from_utf8_lossy(&unread[1..greeting.bytes])
                    .trim()
                    .to_owned();
                return Err(ConnectionError::Refused(format!("HELLO 3: {text}")));
            }
            unread.drain(..greeting.bytes);
        }
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            unsent: Vec::new(),
            unread,
            waiting: VecDeque::new(),
            first_error: None,
            is_given_up: false,
        })
    }

    /// The socket, to wait for it.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Requests without their replies.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.waiting.len()
    }

    /// What the first reply that was an error said.
    #[must_use]
    pub fn first_error(&self) -> Option<&str> {
        self.first_error.as_deref()
    }

    /// Takes no more requests, and tells how many stay without their replies.
    pub fn give_up(&mut self) -> usize {
        self.is_given_up = true;
        self.unsent.clear();
        std::mem::take(&mut self.waiting).len()
    }

    /// Whether it takes no more requests.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.is_given_up
    }

    /// Queues one request: `put` appends its commands and tells what it is and how many replies it has.
    pub fn queue(
        &mut self,
        intended: Duration,
        put: impl FnOnce(&mut Vec<u8>) -> (Operation, u32),
    ) {
        let (operation, replies_left) = put(&mut self.unsent);
        self.waiting.push_back(Waiting {
            intended,
            operation,
            replies_left,
            is_error: false,
        });
    }

    /// Sends what the kernel takes. Returns whether everything is sent.
    ///
    /// # Errors
    /// [`ConnectionError`] when the connection is gone.
    pub fn send(&mut self) -> Result<bool, ConnectionError> {
        let mut sent = 0;
        while sent < self.unsent.len() {
            match self.stream.write(&self.unsent[sent..]) {
                Ok(0) => return Err(ConnectionError::Closed),
                Ok(written) => sent += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.unsent.drain(..sent);
        Ok(self.unsent.is_empty())
    }

    /// Reads what has arrived, and tells of every request that is answered.
    ///
    /// # Errors
    /// [`ConnectionError`] when the connection is gone or the server sent what it should not.
    pub fn receive(&mut self, mut answered: impl FnMut(Answer)) -> Result<(), ConnectionError> {
        let mut buffer = [0; READ_BYTES];
        loop {
            let read = match self.stream.read(&mut buffer) {
                Ok(0) => return Err(ConnectionError::Closed),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            self.unread.extend_from_slice(&buffer[..read]);
            self.take_answers(&mut answered)?;
            if read < buffer.len() {
                return Ok(());
            }
        }
    }

    fn take_answers(&mut self, answered: &mut impl FnMut(Answer)) -> Result<(), ConnectionError> {
        let mut at = 0;
        while let Some(reply) = reply::scan(&self.unread[at..])? {
            let text = &self.unread[at..at + reply.bytes];
            at += reply.bytes;
            if reply.is_push {
                continue;
            }
            if reply.is_error && self.first_error.is_none() {
                let text = String::from_utf8_lossy(&text[1..]);
                self.first_error = Some(text.trim().to_owned());
            }
            let waiting = self.waiting.front_mut().ok_or(ConnectionError::Unasked)?;
            waiting.is_error |= reply.is_error;
            waiting.replies_left -= 1;
            if waiting.replies_left == 0 {
                let Waiting {
                    intended,
                    operation,
                    is_error,
                    ..
                } = *waiting;
                self.waiting.pop_front();
                answered(Answer {
                    intended,
                    operation,
                    is_error,
                });
            }
        }
        self.unread.drain(..at);
        Ok(())
    }
}
