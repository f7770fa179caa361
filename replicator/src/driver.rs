//! One task a peer: waits, tells the session what happened, and performs what it asks for.
//!
//! It contains no rule of replication: that is `greenwich_proto::peer`. Here is only when to dial, what to log, and how
//! frames get on and off a link.

mod reports;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;
use greenwich_proto::{
    lives::Lives,
    log::Log,
    peer::{
        Builder, Input, Node, Outbox, Output,
        handshake::{Contest, Identity, Refusal, TurnedAway, Twin},
    },
    roster::Roster,
    store::Store,
    time::Time,
};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::sleep,
};

use crate::{
    clock::{Clocks, wall},
    dialler::Dialler,
    endpoint::{CLOSE_CODE_DRIVER_FIRST, Connection},
    error::{LinkError, Redial},
    link::{Event, LinkReceiver, LinkSender, LinkStats},
    news::{LinkNews, News},
    rival::{Opened, Seat},
    superseded::Superseded,
    timer::Timer,
    view::PeerCell,
};

/// Pauses between dials: from the first to the longest, doubling.
const REDIAL_FIRST: Duration = Duration::from_millis(100);
const REDIAL_SOON_MAX: Duration = Duration::from_millis(500);
/// The pause after a refusal, which only an operator can end.
const REDIAL_RARELY: Duration = Duration::from_secs(5);
/// How long a link tells of another node of its region that was refused: it comes again after each pause.
pub(crate) const RIVAL_SHOWN: Duration = REDIAL_RARELY.saturating_mul(3);
/// How often the link's statistics are looked at.
const STATS_INTERVAL: Duration = Duration::from_millis(100);
/// The close code of a link that the two sides do not agree upon.
const CLOSE_CODE_REFUSED: u32 = CLOSE_CODE_DRIVER_FIRST + 1;
/// The close code of one whose region has a link with another process.
const CLOSE_CODE_CLAIMED: u32 = CLOSE_CODE_DRIVER_FIRST + 2;
/// The close code of one whose region was removed from the cluster.
pub(crate) const CLOSE_CODE_REMOVED: u32 = CLOSE_CODE_DRIVER_FIRST + 3;
/// The close code of one that is superseded: a later process of its region was heard of.
const CLOSE_CODE_SUPERSEDED: u32 = CLOSE_CODE_DRIVER_FIRST + 4;
/// Events that are handled before the outputs of the session are performed.
const EVENTS_AT_ONCE: usize = 64;

/// What the process hears that is turned away, `twin` if it is one.
const fn close_code(twin: Option<Twin>) -> u32 {
    match twin {
        Some(Twin::Later(_)) => CLOSE_CODE_CLAIMED,
        Some(Twin::Earlier(_)) => CLOSE_CODE_SUPERSEDED,
        None => CLOSE_CODE_REFUSED,
    }
}

/// What all drivers of a node share.
pub(crate) struct Shared<S> {
    pub(crate) identity: Identity,
    pub(crate) log: Arc<Log>,
    pub(crate) store: Arc<S>,
    pub(crate) lives: Arc<Lives>,
    pub(crate) roster: Arc<Roster>,
    /// The roster's version as far as it is known to have changed.
    pub(crate) changes: watch::Sender<u64>,
    /// What the first peer said that has heard of a later process of this node's region.
    pub(crate) supersede: watch::Sender<Option<Superseded>>,
    pub(crate) builder: Mutex<Builder>,
    pub(crate) clocks: Clocks,
    /// A peer applied something.
    pub(crate) acknowledged: Arc<Notify>,
}

impl<S: Store> Shared<S> {
    fn node(&self) -> Node<'_, S> {
        Node {
            identity: &self.identity,
            log: &self.log,
            store: &*self.store,
            lives: &self.lives,
            roster: &self.roster,
            builder: &self.builder,
        }
    }
}

/// Tells those who follow the roster that it has changed, if it has.
pub(crate) fn note_change(changes: &watch::Sender<u64>, roster: &Roster) {
    let version = roster.version();
    changes.send_if_modified(|known| std::mem::replace(known, version) != version);
}

/// What the node of a region hears that does not belong to the cluster any more.
pub(crate) fn was_removed(region: &str) -> String {
    let region = region.to_owned();
    Refusal::Removed { region }.to_string()
}

/// What a driver is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Keep a link.
    Go,
    /// End: another driver goes on, or the node stops.
    Stop,
    /// End: the region was removed.
    Leave,
}

/// Waits until there is something else to do than to keep a link.
async fn ended(orders: &mut watch::Receiver<Order>) {
    // Whoever gave the orders is gone at the end.
    let _order = orders.wait_for(|order| *order != Order::Go).await;
}

/// Drives one peer.
pub(crate) struct Driver<S> {
    pub(crate) shared: Arc<Shared<S>>,
    pub(crate) cell: Arc<PeerCell>,
    pub(crate) region: String,
    pub(crate) dialler: Dialler,
    /// Whether this side dials.
    pub(crate) dials: bool,
    /// Connections that the peer dialled, and the one that is next to be a link.
    pub(crate) incoming: mpsc::Receiver<Connection>,
    pub(crate) seat: Seat,
    pub(crate) orders: watch::Receiver<Order>,
    /// What was logged of the link.
    pub(crate) news: LinkNews,
    pub(crate) rivals: Rivals,
}

/// What was said of connections that were turned away beside a link.
#[derive(Default)]
pub(crate) struct Rivals {
    news: News,
    /// When the last one was, while that is shown.
    shown_since: Option<Instant>,
    /// When the peer said last that it turned away another node of our region.
    own_said_at: Option<Time>,
}

/// Whose news those of our own region's other node are.
const OWN_TWIN: &str = "own twin";

/// Why a link ended.
enum End {
    Link(LinkError),
    Refused(TurnedAway),
    Replaced,
    Ordered,
}

impl<S: Store> Driver<S> {
    pub(crate) async fn run(&mut self) {
        let mut orders = self.orders.clone();
        let mut pause = REDIAL_FIRST;
        loop {
            let opened = tokio::select! {
                opened = self.open() => opened,
                _ = ended(&mut orders) => return,
            };
            let end = match opened {
                Ok(link) => self.link(link).await,
                Err(error) => End::Link(error),
            };
            let redial = match end {
                End::Ordered => return,
                End::Replaced => continue,
                End::Refused(TurnedAway { reason, .. }) => {
                    self.report_refusal(&reason);
                    Redial::Rarely
                }
                End::Link(error) => self.report_end(&error),
            };
            pause = match redial {
                Redial::Soon | Redial::Never => pause.min(REDIAL_SOON_MAX),
                Redial::Rarely => REDIAL_RARELY,
            };
            if !self.wait(pause).await {
                return;
            }
            pause = if self.cell.view.lock().is_refused {
                REDIAL_FIRST
            } else {
                (pause * 2).min(REDIAL_SOON_MAX)
            };
        }
    }

    /// After a panic: the link is gone, and nothing that the session or the shared builder held is certain.
    pub(crate) fn recover(&mut self, reason: &str) {
        tracing::error!(peer = self.region, reason, "link down");
        self.seat = Seat::default();
        *self.shared.builder.lock() = Builder::default();
        let (now, node) = (self.shared.clocks.now(), self.shared.node());
        self.cell.peer.lock().reset(now, &node);
        let mut view = self.cell.view.lock();
        view.disconnect();
        (view.is_refused, view.reason) = (false, Some(reason.to_owned()));
    }

    /// Waits before the next dial, unless the peer has dialled or does. Returns whether to go on.
    async fn wait(&mut self, pause: Duration) -> bool {
        if !self.seat.is_free() {
            return true;
        }
        let mut orders = self.orders.clone();
        tokio::select! {
            () = sleep(pause) => true,
            Some(connection) = self.incoming.recv() => {
                self.take_in(connection);
                true
            }
            _ = ended(&mut orders) => false,
        }
    }

    fn take_in(&mut self, connection: Connection) {
        self.dialler.hear_from(connection.remote_addr());
        self.seat.take_in(connection);
    }

    /// The next link: what is in the seat, or what either side dials.
    async fn open(&mut self) -> Result<Opened, LinkError> {
        while self.seat.is_free() {
            let reach = async {
                match self.dials {
                    true => self.dialler.dial().await,
                    false => self.dialler.knock().await,
                }
            };
            tokio::select! {
                dialled = reach => return Opened::dialled(dialled?).await,
                Some(connection) = self.incoming.recv() => self.take_in(connection),
            }
        }
        self.seat.inherit().await
    }

    /// One link, from its opening to its end.
    async fn link(&mut self, link: Opened) -> End {
        let Opened {
            mut sender,
            mut receiver,
            remote,
            first,
        } = link;
        self.dialler.note(remote);
        self.cell.view.lock().is_connected = true;
        let end = self.converse(&mut sender, &mut receiver, first).await;
        {
            let mut view = self.cell.view.lock();
            view.stats = sender.stats();
            view.disconnect();
        }
        let reason = match &end {
            End::Link(error) => error.to_string(),
            End::Refused(turned_away) => turned_away.reason.clone(),
            End::Replaced => "replaced by a newer link".to_owned(),
            End::Ordered if self.is_removed() => was_removed(&self.region),
            End::Ordered => "this node stops".to_owned(),
        };
        let code = match &end {
            End::Refused(_) | End::Ordered if self.is_removed() => CLOSE_CODE_REMOVED,
            End::Refused(turned_away) => close_code(turned_away.twin),
            End::Link(_) | End::Replaced | End::Ordered => CLOSE_CODE_DRIVER_FIRST,
        };
        sender.close(code, &reason);
        self.handle(Input::Disconnected, &mut Outbox::new());
        end
    }

    async fn converse(
        &mut self,
        sender: &mut LinkSender,
        receiver: &mut LinkReceiver,
        first: Option<Event>,
    ) -> End {
        let mut out = Outbox::new();
        self.handle(Input::Connected, &mut out);
        if let Some(Err(end)) = first.map(|first| self.take_event(first, sender, &mut out)) {
            return end;
        }
        let mut stats_due = Instant::now();
        let mut orders = self.orders.clone();
        let mut timer = Timer::new();
        loop {
            if let Err(end) = self.perform(&mut out, sender) {
                return end;
            }
            if Instant::now() >= stats_due {
                if self.look(sender.stats(), &mut out) {
                    return End::Replaced;
                }
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
                Some(connection) = self.incoming.recv(), if self.seat.is_free() => self.take_in(connection),
                heard = self.seat.hear() => match heard {
                    Ok(()) => {
                        stats_due = Instant::now();
                        // An empty frame, to be acknowledged by whoever is still there.
                        if let Err(error) = sender.send_control(&[]) {
                            return End::Link(error);
                        }
                    }
                    Err(error) => tracing::debug!(peer = self.region, %error, "a second link was not opened"),
                },
                () = ended(&mut orders) => return End::Ordered,
            }
        }
    }

    /// Looks at how the link fares. Returns whether the one in the seat is to take its place.
    fn look(&mut self, stats: LinkStats, out: &mut Outbox) -> bool {
        let path_bytes = stats.congestion_window_bytes;
        let (split, twin) = {
            let mut peer = self.cell.peer.lock();
            peer.set_path(path_bytes);
            (peer.sent().split, peer.twin().cloned())
        };
        self.report_split(split);
        self.report_twin(twin);
        self.cell.view.lock().stats = stats;
        let said_at = self.rivals.shown_since;
        if said_at.is_some_and(|said| said.elapsed() >= RIVAL_SHOWN) {
            self.rivals.shown_since = None;
            self.cell.view.lock().warning = None;
        }
        let Some((first, sign)) = self.seat.claim(&stats) else {
            return false;
        };
        let contest = match first {
            Event::Control(hello) => {
                let peer = self.cell.peer.lock();
                peer.contest(wall(), hello, sign, &self.shared.node())
            }
            Event::Batch(_) | Event::Notice(_) | Event::Closed(_) => Err(TurnedAway::because(
                &"something else than a hello arrived first",
            )),
        };
        match contest {
            Ok(contest) => contest == Contest::Replaced,
            Err(turned_away) => {
                self.turn_away(&turned_away, out);
                false
            }
        }
    }

    /// Whether the roster does not know the region any more.
    fn is_removed(&self) -> bool {
        let seat = self.shared.roster.seat(self.cell.index);
        *self.orders.borrow() == Order::Leave || seat.is_some_and(|seat| !seat.is_present)
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
        let (now, node) = (self.shared.clocks.now(), self.shared.node());
        let mut peer = self.cell.peer.lock();
        peer.handle(now, wall(), input, &node, out);
        drop(peer);
        note_change(&self.shared.changes, &self.shared.roster);
    }

    fn perform(&mut self, out: &mut Outbox, sender: &mut LinkSender) -> Result<(), End> {
        for output in out.drain(..) {
            match output {
                Output::Control(frame) => sender.send_control(&frame).map_err(End::Link)?,
                Output::Batch(batch) => sender.send_batch(Bytes::from(batch)).map_err(End::Link)?,
                Output::Established => self.report_up(sender.stats().rtt),
                Output::Close(turned_away) => return Err(End::Refused(turned_away)),
            }
        }
        Ok(())
    }
}
