//! A client that waits for its answers, for what is not measured, and for probes.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::{connection::ConnectionError, reply};

/// The longest wait for an answer, and for a server that takes no bytes.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Bytes read at a time.
const READ_BYTES: usize = 16 * 1024;

/// A connection that blocks.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// [`ConnectionError`] when the server is not there.
    pub fn connect(address: SocketAddr) -> Result<Self, ConnectionError> {
        Self::connect_within(address, ANSWER_LIMIT)
    }

    /// `limit` is that of every wait.
    fn connect_within(address: SocketAddr, limit: Duration) -> Result<Self, ConnectionError> {
        let stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        Ok(Self {
            stream,
            unread: Vec::new(),
        })
    }

    /// Sends `requests`, and calls `answered` with each of their `count` replies, as bytes of the protocol.
    ///
    /// # Errors
    /// [`ConnectionError`] when the server goes away, takes or answers nothing for too long, or refuses one of them.
    pub fn exchange(
        &mut self,
        requests: &[u8],
        count: usize,
        mut answered: impl FnMut(&[u8]),
    ) -> Result<(), ConnectionError> {
        let mut refusal = None;
        self.ask(requests, count, |reply| match reply.first() {
            Some(b'-' | b'!') => {
                let text = || String::from_utf8_lossy(&reply[1..]).trim().to_owned();
                refusal.get_or_insert_with(text);
            }
            _ => answered(reply),
        })?;
        refusal.map_or(Ok(()), |refusal| Err(ConnectionError::Refused(refusal)))
    }

    /// The same, where a refusal is a reply like others.
    ///
    /// # Errors
    /// [`ConnectionError`] when the server goes away, or takes or answers nothing for too long.
    pub fn ask(
        &mut self,
        requests: &[u8],
        count: usize,
        mut answered: impl FnMut(&[u8]),
    ) -> Result<(), ConnectionError> {
        self.stream.write_all(requests)?;
        let mut left = count;
        let mut at = 0;
        while left > 0 {
            match reply::scan(&self.unread[at..])? {
                Some(reply) => {
                    answered(&self.unread[at..at + reply.bytes]);
                    at += reply.bytes;
                    left -= 1;
                }
                None => {
                    self.unread.drain(..at);
                    at = 0;
                    self.read()?;
                }
            }
        }
        self.unread.drain(..at);
        Ok(())
    }

    fn read(&mut self) -> Result<(), ConnectionError> {
        let mut buffer = [0; READ_BYTES];
        match self.stream.read(&mut buffer)? {
            0 => Err(ConnectionError::Closed),
            read => {
                self.unread.extend_from_slice(&buffer[..read]);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_server_that_takes_nothing_is_given_up() {
        // Connections are accepted by the kernel, and nobody reads.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = Client::connect_within(address, Duration::from_millis(50)).unwrap();
        // More than the kernel keeps for both ends.
        let error = client.ask(&vec![b' '; 256 << 20], 1, |_| {}).unwrap_err();
        assert!(matches!(error, ConnectionError::Io(_)), "{error}");
        drop(listener);
    }
}
