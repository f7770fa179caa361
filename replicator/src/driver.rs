//! One task a peer: waits, tells the session what happened, and performs what it asks for.
//!
//! It contains no rule of replication: that is `greenwich_proto::peer`. Here is only when to dial, what to log, and how
//! frames get on and off a link.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use futures_util::FutureExt;
use greenwich_proto::{
    log::Log,
    peer::{Builder, Input, Node, Outbox, Output, Peer, handshake::Identity, stability::Stability},
    store::Store,
    time::{Time, Wall},
};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::sleep,
};

use crate::{
    endpoint::{CLOSE_CODE_DRIVER_FIRST, Connection, Endpoint},
    error::{LinkError, Redial},
    link::{Event, LinkReceiver, LinkSender, LinkStats},
    news::LinkNews,
    timer::Timer,
};

/// Pauses between dials: from the first to the longest, doubling.
const REDIAL_FIRST: Duration = Duration::from_millis(100);
const REDIAL_SOON_MAX: Duration = Duration::from_millis(500);
/// The pause after a refusal, which only an operator can end.
const REDIAL_RARELY: Duration = Duration::from_secs(5);
/// How often the link's statistics are looked at.
const STATS_INTERVAL: Duration = Duration::from_millis(100);
/// The close code of a link that the two sides do not agree upon.
const CLOSE_CODE_REFUSED: u32 = CLOSE_CODE_DRIVER_FIRST + 1;
/// Events that are handled before the outputs of the session are performed.
const EVENTS_AT_ONCE: usize = 64;

/// This node's clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    start: Instant,
}

impl Clocks {
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Time {
        Time(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn instant(&self, time: Time) -> Instant {
        self.start + Duration::from_micros(time.0)
    }
}

/// The wall clock of this machine.
pub(crate) fn wall() -> Wall {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Wall(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// What all drivers of a node share.
pub(crate) struct Shared<S> {
    pub(crate) identity: Identity,
    pub(crate) log: Arc<Log>,
    pub(crate) store: Arc<S>,
    pub(crate) stability: Stability,
    pub(crate) builder: Mutex<Builder>,
    pub(crate) clocks: Clocks,
    /// A peer applied something.
    pub(crate) acknowledged: Arc<Notify>,
}

/// What a driver shows of its link.
#[derive(Clone, Debug, Default)]
pub struct LinkView {
    /// Whether there is a QUIC connection.
    pub is_connected: bool,
    /// Whether the peer, or this node, turned the last connection away.
    pub is_refused: bool,
    /// Why there is no connection, or none that is agreed upon.
    pub reason: Option<String>,
    /// How the link fares; of the last one when there is none.
    pub stats: LinkStats,
    /// UDP payload of earlier links, sent and received.
    pub past_bytes: (u64, u64),
    /// Batches sent over earlier links, as they were built and as they were encoded.
    pub past_batch_bytes: (u64, u64),
}

/// What a driver and the status page share.
pub(crate) struct PeerCell {
    pub(crate) peer: Mutex<Peer>,
    pub(crate) view: Mutex<LinkView>,
    /// The log was appended to.
    pub(crate) appended: Notify,
}

/// Drives one peer.
pub(crate) struct Driver<S> {
    pub(crate) shared: Arc<Shared<S>>,
    pub(crate) cell: Arc<PeerCell>,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) region: String,
    pub(crate) address: SocketAddr,
    /// Whether this side dials.
    pub(crate) dials: bool,
    /// Connections that the peer dialled.
    pub(crate) incoming: mpsc::Receiver<Connection>,
    pub(crate) shutdown: watch::Receiver<bool>,
    /// What was logged of the link.
    pub(crate) news: LinkNews,
}

/// Why a link ended.
enum End {
    Link(LinkError),
    Refused(String),
    Replaced(Connection),
    Shutdown,
}

impl<S: Store> Driver<S> {
    pub(crate) async fn run(mut self) {
        let mut pause = REDIAL_FIRST;
        let mut replacement = None;
        loop {
            let connection = match replacement.take() {
                Some(connection) => Ok(connection),
                None => tokio::select! {
                    connection = connect(&self.endpoint, self.address, &self.region, self.dials) => connection,
                    Some(connection) = self.incoming.recv() => Ok(connection),
                    _ = self.shutdown.wait_for(|&stop| stop) => return,
                },
            };
            let end = match connection {
                Ok(connection) => self.link(connection).await,
                Err(error) => End::Link(error),
            };
            let redial = match end {
                End::Shutdown => return,
                End::Replaced(connection) => {
                    replacement = Some(connection);
                    continue;
                }
                End::Refused(reason) => {
                    self.report_refusal(&reason);
                    Redial::Rarely
                }
                End::Link(error) => self.report_end(&error),
            };
            pause = match redial {
                Redial::Soon | Redial::Never => pause.min(REDIAL_SOON_MAX),
                Redial::Rarely => REDIAL_RARELY,
            };
            if !self.wait(pause, &mut replacement).await {
                return;
            }
            pause = if self.cell.view.lock().is_refused {
                REDIAL_FIRST
            } else {
                (pause * 2).min(REDIAL_SOON_MAX)
            };
        }
    }

    /// Waits before the next dial, or until the peer dials. Returns whether to go on.
    async fn wait(&mut self, pause: Duration, replacement: &mut Option<Connection>) -> bool {
        tokio::select! {
            () = sleep(pause) => true,
            Some(connection) = self.incoming.recv() => {
                *replacement = Some(connection);
                true
            }
            _ = self.shutdown.wait_for(|&stop| stop) => false,
        }
    }

    /// One link, from its opening to its end.
    async fn link(&mut self, connection: Connection) -> End {
        let opened = tokio::select! {
            opened = connection.open_link() => opened,
            _ = self.shutdown.wait_for(|&stop| stop) => return End::Shutdown,
        };
        let (mut sender, mut receiver) = match opened {
            Ok(link) => link,
            Err(error) => return End::Link(error),
        };
        self.cell.view.lock().is_connected = true;
        let end = self.converse(&mut sender, &mut receiver).await;
        self.note_stats(sender.stats());
        {
            let mut view = self.cell.view.lock();
            view.is_connected = false;
            view.past_bytes.0 += view.stats.sent_bytes;
            view.past_bytes.1 += view.stats.received_bytes;
            (view.stats.sent_bytes, view.stats.received_bytes) = (0, 0);
            view.past_batch_bytes.0 += view.stats.batch_bytes;
            view.past_batch_bytes.1 += view.stats.encoded_batch_bytes;
            (view.stats.batch_bytes, view.stats.encoded_batch_bytes) = (0, 0);
        }
        let reason = match &end {
            End::Link(error) => error.to_string(),
            End::Refused(reason) => reason.clone(),
            End::Replaced(_) => "replaced by a newer link".to_owned(),
            End::Shutdown => "this node stops".to_owned(),
        };
        let code = if let End::Refused(_) = end {
            CLOSE_CODE_REFUSED
        } else {
            CLOSE_CODE_DRIVER_FIRST
        };
        sender.close(code, &reason);
        self.handle(Input::Disconnected, &mut Outbox::new());
        end
    }

    async fn converse(&mut self, sender: &mut LinkSender, receiver: &mut LinkReceiver) -> End {
        let mut out = Outbox::new();
        self.handle(Input::Connected, &mut out);
        let mut stats_due = Instant::now();
        let mut shutdown = self.shutdown.clone();
        let mut timer = Timer::new();
        loop {
            if let Err(end) = self.perform(&mut out, sender) {
                return end;
            }
            if Instant::now() >= stats_due {
                let stats = sender.stats();
                let split = {
                    let mut peer = self.cell.peer.lock();
                    peer.set_path(stats.congestion_window_bytes);
                    peer.sent().split
                };
                self.report_split(split);
                self.note_stats(stats);
                stats_due = Instant::now() + STATS_INTERVAL;
            }
            let due = self.due().min(stats_due);
            tokio::select! {
                event = receiver.next() => {
                    if let Err(end) = self.take_events(event, sender, receiver, &mut out) {
                        return end;
                    }
                }
                driven = sender.drive() => match driven {
                    Ok(()) => {}
                    Err(error) => return End::Link(error),
                },
                () = self.cell.appended.notified() => self.handle(Input::Tick, &mut out),
                () = timer.until(due) => self.handle(Input::Tick, &mut out),
                Some(newer) = self.incoming.recv() => return End::Replaced(newer),
                stopped = shutdown.wait_for(|&stop| stop) => {
                    drop(stopped);
                    return End::Shutdown;
                }
            }
        }
    }

    /// When the session looks up by itself.
    fn due(&self) -> Instant {
        let peer = self.cell.peer.lock();
        if peer.awaits_append() {
            // Armed before the lanes are looked at, so that no append is missed in between.
            self.shared.log.arm();
        }
        let deadline = peer.deadline(&self.shared.log);
        deadline.map_or_else(
            || Instant::now() + STATS_INTERVAL,
            |at| self.shared.clocks.instant(at),
        )
    }

    /// Takes in an event and those that are ready behind it.
    fn take_events(
        &self,
        first: Event,
        sender: &mut LinkSender,
        receiver: &mut LinkReceiver,
        out: &mut Outbox,
    ) -> Result<(), End> {
        let mut next = Some(first);
        for _ in 0..EVENTS_AT_ONCE {
            let Some(event) = next else {
                return Ok(());
            };
            self.take_event(event, sender, out)?;
            next = receiver.next().now_or_never();
        }
        next.map_or(Ok(()), |event| self.take_event(event, sender, out))
    }

    fn take_event(
        &self,
        event: Event,
        sender: &mut LinkSender,
        out: &mut Outbox,
    ) -> Result<(), End> {
        match event {
            Event::Control(frame) => {
                self.handle(Input::Control(&frame), out);
                self.shared.acknowledged.notify_waiters();
            }
            Event::Batch(batch) => self.handle(Input::Batch(&batch), out),
            Event::Notice(notice) => sender.hear(notice).map_err(End::Link)?,
            Event::Closed(error) => return Err(End::Link(error)),
        }
        Ok(())
    }

    fn handle(&self, input: Input<'_>, out: &mut Outbox) {
        let Shared {
            identity,
            log,
            store,
            stability,
            builder,
            clocks,
            ..
        } = &*self.shared;
        let node = Node {
            identity,
            log,
            store: &**store,
            stability,
            builder,
        };
        self.cell
            .peer
            .lock()
            .handle(clocks.now(), wall(), input, &node, out);
    }

    fn perform(&mut self, out: &mut Outbox, sender: &mut LinkSender) -> Result<(), End> {
        for output in out.drain(..) {
            match output {
                Output::Control(frame) => sender.send_control(&frame).map_err(End::Link)?,
                Output::Batch(batch) => sender.send_batch(Bytes::from(batch)).map_err(End::Link)?,
                Output::Established => self.report_up(sender.stats().rtt),
                Output::Close(reason) => return Err(End::Refused(reason)),
            }
        }
        Ok(())
    }

    fn note_stats(&self, stats: LinkStats) {
        self.cell.view.lock().stats = stats;
    }

    fn report_up(&mut self, rtt: Duration) {
        if self.news.up() {
            tracing::info!(peer = self.region, ?rtt, "link up");
        }
        let mut view = self.cell.view.lock();
        (view.is_refused, view.reason) = (false, None);
    }

    fn report_split(&mut self, records: u64) {
        if self.news.split(records) {
            tracing::warn!(
                peer = self.region,
                "keys that were changed together are sent apart: they are too large, or overlap too far, for one batch; \
                 greenwich_link_split_records_total counts such records"
            );
        }
    }

    fn report_refusal(&mut self, reason: &str) {
        if self.news.refused(reason, Instant::now()) {
            tracing::warn!(peer = self.region, reason, "link refused");
        }
        let mut view = self.cell.view.lock();
        (view.is_refused, view.reason) = (true, Some(reason.to_owned()));
    }

    /// Returns how soon to dial again.
    fn report_end(&mut self, error: &LinkError) -> Redial {
        let reason = error.to_string();
        let is_refused = matches!(error, LinkError::ClosedByPeer { code, .. } if *code == u64::from(CLOSE_CODE_REFUSED));
        if is_refused || error.redial() == Redial::Rarely {
            self.report_refusal(&reason);
            return Redial::Rarely;
        }
        let mut view = self.cell.view.lock();
        // The peer closes what this side refused: the refusal stays the reason.
        if !view.is_refused {
            if self.news.lost(&reason, Instant::now()) {
                tracing::info!(peer = self.region, reason, "link down");
            }
            view.reason = Some(reason);
        }
        error.redial()
    }
}

async fn connect(
    endpoint: &Endpoint,
    address: SocketAddr,
    region: &str,
    dials: bool,
) -> Result<Connection, LinkError> {
    if dials {
        endpoint.connect(address, region).await
    } else {
        std::future::pending().await
    }
}
