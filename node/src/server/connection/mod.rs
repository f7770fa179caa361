//! One connection: read, run every request that has arrived whole, write all replies at once.
//!
//! While replies wait to be written nothing is read and nothing is run, so a client that does not read holds up itself
//! alone and holds at most one batch of replies, one long reply, and the messages that its outbox may hold.

mod ahead;
mod end;
mod seat;
mod wait;

use std::{
    future::{Future, poll_fn},
    mem,
    pin::{Pin, pin},
    sync::atomic::Ordering::Relaxed,
    task::{Context, Poll, ready},
};

use greenwich_proto::log::Marks;
use tokio::{
    io::{AsyncReadExt, AsyncWrite},
    net::TcpStream,
    task::yield_now,
};

use self::end::End;
pub(super) use self::seat::Seat;
use super::{Totals, buffers, process::wall};
use crate::{
    client::{Doom, Wait},
    command,
    resp::{Decoded, Decoder, Reply, Version, reserve_bytes},
};

/// Replies are written when as many bytes wait, before more requests run.
const REPLY_BYTES: usize = 64 << 10;
/// Requests of one connection that run before another connection's turn.
const TURN_REQUESTS: u64 = 1024;
/// An input buffer with more room than this and little in it is replaced.
const INPUT_ROOM_MAX: usize = 512 << 10;

/// Serves one client until it leaves.
pub(super) async fn run(seat: Seat, stream: TcpStream, thread: usize) {
    let limits = seat.server.limits.request;
    let is_authenticated = seat.client.is_authenticated;
    let mut connection = Connection {
        decoder: Decoder::new(limits, is_authenticated),
        is_trusted: is_authenticated,
        seat,
        stream,
        thread,
        marks: Marks::default(),
        input: Vec::new(),
        start: 0,
        foreseen: 0,
        missing: 0,
        received: 0,
        reads: 0,
        reply: Reply::new(Version::Resp2),
    };
    let end = connection.serve().await;
    connection.close(end).await;
}

/// What the connection does next.
enum Next {
    /// Read: no whole request is left.
    Read,
    /// Go on with the requests that are left.
    Run,
    /// Wait for other regions, then go on.
    Wait(Wait),
    /// End.
    End(End),
}

/// What arrived.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arrival {
    Input,
    Mail,
}

struct Connection {
    seat: Seat,
    stream: TcpStream,
    thread: usize,
    /// Where this client's writes stand in the log.
    marks: Marks,
    decoder: Decoder,
    /// What the decoder knows of the client's authentication.
    is_trusted: bool,
    input: Vec<u8>,
    /// Where in the input the first request begins that has not run.
    start: usize,
    /// The end of the requests whose keys are being fetched into the processor's cache.
    foreseen: usize,
    /// Bytes that the first incomplete request lacks, at least.
    missing: usize,
    /// Bytes and reads of the socket since they were last counted.
    received: usize,
    reads: u64,
    reply: Reply,
}

impl Connection {
    async fn serve(&mut self) -> End {
        loop {
            if let Err(end) = self.receive().await {
                return end;
            }
            loop {
                let next = self.run_requests();
                self.seat.client.handle.collect_mail(&mut self.reply);
                if let Err(end) = self.send().await {
                    return end;
                }
                match next {
                    Next::Read => break,
                    Next::Run => yield_now().await,
                    Next::Wait(wait) => {
                        if let Err(end) = self.wait_for_regions(wait).await {
                            return end;
                        }
                    }
                    Next::End(end) => return end,
                }
            }
            self.tidy();
        }
    }

    /// Waits for input or messages.
    async fn receive(&mut self) -> Result<Arrival, End> {
        poll_fn(|cx| self.poll_receive(cx)).await
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Arrival, End>> {
        let handle = &self.seat.client.handle;
        handle.wake_by_mail(cx.waker());
        if let Some(doom) = handle.doom() {
            return Poll::Ready(Err(End::Doomed(doom)));
        }
        if handle.has_mail() {
            return Poll::Ready(Ok(Arrival::Mail));
        }
        if self.input.capacity() == 0 {
            self.input = buffers::take_input();
        }
        self.input.reserve(reserve_bytes(self.missing));
        // A read that does not fill the buffer is known to be the last one for now.
        match pin!(self.stream.read_buf(&mut self.input)).poll(cx) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Err(End::Gone)),
            Poll::Ready(Ok(bytes)) => {
                self.received += bytes;
                self.reads += 1;
                Poll::Ready(Ok(Arrival::Input))
            }
            Poll::Pending => {
                if self.input.is_empty() {
                    buffers::give_input(&mut self.input);
                }
                Poll::Pending
            }
        }
    }

    /// Runs requests until there is no whole one, or something must happen first.
    fn run_requests(&mut self) -> Next {
        if self.reply.memory_bytes() == 0 {
            self.reply = buffers::take_reply(self.reply.version());
        }
        let Self {
            seat: Seat { server, client },
            decoder,
            input,
            start,
            foreseen,
            ..
        } = self;
        let now = wall();
        client.handle.active.store(now.0, Relaxed);
        let mut count = 0;
        let next = loop {
            if *start >= *foreseen {
                *foreseen = *start + ahead::foresee(&server.keyspace, &input[*start..]);
            }
            match decoder.decode(&input[*start..]) {
                Ok(Decoded::Request { bytes }) => {
                    let request = decoder.request(&input[*start..]);
                    command::execute(
                        server,
                        client,
                        (&mut self.marks, now),
                        request,
                        &mut self.reply,
                    );
                    *start += bytes;
                    count += 1;
                }
                Ok(Decoded::Empty { bytes }) => {
                    *start += bytes;
                    continue;
                }
                Ok(Decoded::Incomplete { missing }) => {
                    self.missing = missing;
                    break Next::Read;
                }
                Err(error) => {
                    self.reply.protocol_error(&error);
                    client.errors += 1;
                    break Next::End(End::Refused);
                }
            }
            if client.is_leaving {
                break Next::End(End::Left);
            }
            if client.is_authenticated != self.is_trusted {
                self.is_trusted = client.is_authenticated;
                decoder.set_authenticated(self.is_trusted);
            }
            if let Some(wait) = client.wait.take() {
                break Next::Wait(wait);
            }
            if count == TURN_REQUESTS || self.reply.len() >= REPLY_BYTES {
                break Next::Run;
            }
        };
        server.counters.thread(self.thread).add(&Totals {
            commands: count,
            input_bytes: mem::take(&mut self.received) as u64,
            output_bytes: self.reply.len() as u64,
            reads: mem::take(&mut self.reads),
            writes: 0,
            errors: mem::take(&mut client.errors),
            lookups: mem::take(&mut client.lookups),
        });
        next
    }

    /// Writes all replies.
    async fn send(&mut self) -> Result<(), End> {
        let mut sent = 0;
        if !self.reply.is_empty() {
            poll_fn(|cx| self.poll_send(cx, &mut sent)).await?;
        }
        buffers::give_reply(&mut self.reply);
        Ok(())
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, sent: &mut usize) -> Poll<Result<(), End>> {
        let handle = &self.seat.client.handle;
        handle.wake_by_mail(cx.waker());
        // What is owed when the server stops may still leave; the server waits a moment for it.
        if let Some(doom) = handle.doom().filter(|doom| *doom != Doom::Shutdown) {
            return Poll::Ready(Err(End::Doomed(doom)));
        }
        while *sent < self.reply.len() {
            let rest = &self.reply.as_bytes()[*sent..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest)) {
                Ok(bytes) if bytes > 0 => {
                    *sent += bytes;
                    let counters = &self.seat.server.counters;
                    counters.thread(self.thread).add(&Totals {
                        writes: 1,
                        ..Totals::default()
                    });
                }
                Ok(_) | Err(_) => return Poll::Ready(Err(End::Gone)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Drops what has run from the input, and room that it no longer needs.
    fn tidy(&mut self) {
        if self.start == self.input.len() {
            buffers::give_input(&mut self.input);
        } else {
            self.input.drain(..self.start);
            if self.input.capacity() > INPUT_ROOM_MAX
                && self.input.len() < self.input.capacity() / 8
            {
                self.input.shrink_to(self.input.len());
            }
        }
        self.start = 0;
        self.foreseen = 0;
    }
}
