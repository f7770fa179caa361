//! How a connection ends.

use std::{io, sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tracing::{debug, info};

use super::Connection;
use crate::client::Doom;

/// How long, and how much of it, what a refused client still sends is read, so that it can read why.
const LINGER_TIME_MAX: Duration = Duration::from_millis(200);
const LINGER_READS_MAX: usize = 64;

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client went, or the network failed.
    Gone,
    /// All replies are written.
    Left,
    /// It sent what is no request, and was told so.
    Refused,
    /// The server ends it.
    Doomed(Doom),
}

impl Connection {
    /// Counts, logs, and gives a refused client time to read why.
    pub(super) async fn close(mut self, end: End) {
        let handle = &self.seat.client.handle;
        // A reply that is too long, or CLIENT KILL of itself, ends the connection by its own request.
        let doom = match end {
            End::Doomed(doom) => Some(doom),
            End::Gone | End::Left | End::Refused => handle.doom(),
        };
        match doom {
            Some(Doom::OutputLimit) => {
                self.seat.server.counters.output_limit.fetch_add(1, Relaxed);
                info!(client = handle.id, address = %handle.address, "disconnected: too much output waits");
            }
            Some(doom) => debug!(client = handle.id, ?doom, "disconnected"),
            None => debug!(client = handle.id, ?end, "client left"),
        }
        if matches!(end, End::Refused) {
            let _ = timeout(LINGER_TIME_MAX, linger(&mut self.stream)).await;
        }
    }
}

/// Says that nothing more comes and reads on for a moment: closing with input unread would reset the connection, and
/// the client would not see the last reply.
async fn linger(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    // On the heap: every connection's task has room for the largest of its steps.
    let mut waste = vec![0; 16 << 10];
    for _ in 0..LINGER_READS_MAX {
        if stream.read(&mut waste).await? == 0 {
            break;
        }
    }
    Ok(())
}
