//! WAIT: the connection holds still until other regions have what its client wrote.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Poll,
};

use tokio::time::{Instant, sleep_until};

use super::{Arrival, Connection, End};
use crate::client::{Doom, Handle, Wait};

/// Input that is read while WAIT waits, to see the client leave.
const WAITING_INPUT_BYTES_MAX: usize = 64 << 10;

impl Connection {
    /// Waits until as many regions have this client's writes, or for as long as it said.
    pub(super) async fn wait_for_regions(&mut self, wait: Wait) -> Result<(), End> {
        let handle = Arc::clone(&self.seat.client.handle);
        let server = Arc::clone(&self.seat.server);
        let deadline = wait
            .time_max
            .and_then(|span| Instant::now().checked_add(span));
        handle.is_blocked.store(true, Relaxed);
        let holders = loop {
            let mut acknowledged = pin!(server.acknowledged.notified());
            acknowledged.as_mut().enable();
            let holders = server.keyspace.log().holders(&self.marks);
            if holders >= wait.regions
                || deadline.is_some_and(|deadline| Instant::now() >= deadline)
            {
                break holders;
            }
            tokio::select! {
                () = acknowledged => {}
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {}
                arrival = self.receive(), if self.input.len() - self.start < WAITING_INPUT_BYTES_MAX => {
                    if arrival? == Arrival::Mail {
                        handle.collect_mail(&mut self.reply);
                        self.send().await?;
                    }
                }
                doom = doomed(&handle), if self.input.len() - self.start >= WAITING_INPUT_BYTES_MAX => {
                    return Err(End::Doomed(doom));
                }
            }
        };
        handle.is_blocked.store(false, Relaxed);
        if !wait.is_silent {
            self.reply
                .integer(i64::try_from(holders).unwrap_or(i64::MAX));
        }
        Ok(())
    }
}

/// Resolves when the server ends the connection.
async fn doomed(handle: &Handle) -> Doom {
    poll_fn(|cx| {
        handle.wake_by_mail(cx.waker());
        handle.doom().map_or(Poll::Pending, Poll::Ready)
    })
    .await
}
