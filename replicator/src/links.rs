//! The drivers of all peers: one for each region of the roster, started and ended as regions come and go. Connections that
//! peers dialled are handed to them.

use std::{sync::Arc, time::Instant};

use greenwich_proto::{
    log::PeerIndex,
    peer::{Limits, Peer},
    roster::{Roster, Seat},
    store::Store,
};
use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
};

use crate::{
    dialler::Dialler,
    driver::{CLOSE_CODE_REMOVED, Driver, Order, Rivals, Shared, was_removed},
    endpoint::{CLOSE_CODE_DRIVER_FIRST, Connection, Endpoint, RefusedPeer},
    names::Name,
    news::{LinkNews, News},
    rival,
    supervisor::supervise,
    view::{LinkView, PeerCell},
};

/// What drivers and the rest of the node share of each peer that is there, in the order of their numbers.
#[derive(Default)]
pub(crate) struct Cells(RwLock<Vec<Arc<PeerCell>>>);

impl Cells {
    /// All of them at this moment.
    pub(crate) fn all(&self) -> Vec<Arc<PeerCell>> {
        self.0.read().clone()
    }

    /// The log was appended to.
    pub(crate) fn wake(&self) {
        let cells = self.0.read();
        cells.iter().for_each(|cell| cell.appended.notify_one());
    }
}

/// A driver at work.
struct Post {
    cell: Arc<PeerCell>,
    address: String,
    /// Whether this side dials.
    dials: bool,
    door: mpsc::Sender<Connection>,
    orders: watch::Sender<Order>,
    driver: JoinHandle<()>,
}

impl Post {
    /// Waits until its driver has ended: a session has one at a time.
    async fn end(self, order: Order) {
        self.orders.send_replace(order);
        if self.driver.await.is_err() {
            tracing::error!("a driver did not end in order");
        }
    }
}

/// All drivers of a node.
pub(crate) struct Links<S> {
    endpoint: Arc<Endpoint>,
    shared: Arc<Shared<S>>,
    limits: Limits,
    cells: Arc<Cells>,
    posts: Vec<Post>,
    refusals: News,
}

impl<S: Store + Send + Sync + 'static> Links<S> {
    pub(crate) fn new(
        endpoint: Arc<Endpoint>,
        shared: Arc<Shared<S>>,
        limits: Limits,
        cells: Arc<Cells>,
    ) -> Self {
        Self {
            endpoint,
            shared,
            limits,
            cells,
            posts: Vec::new(),
            refusals: News::default(),
        }
    }

    /// Has a driver for every region that is there, and for no other.
    pub(crate) async fn follow(&mut self) {
        let seats = self.shared.roster.seats();
        let mut kept = Vec::new();
        let mut moved = Vec::new();
        for post in std::mem::take(&mut self.posts) {
            let seat = &seats[post.cell.index.0];
            let is_same = seat.expected == post.cell.expected;
            match (seat.is_present && is_same, seat.address == post.address) {
                (true, true) => kept.push(post),
                (true, false) => {
                    moved.push(Arc::clone(&post.cell));
                    post.end(Order::Stop).await;
                }
                (false, _) => {
                    tracing::info!(peer = post.cell.expected.region, "the region was removed");
                    post.end(Order::Leave).await;
                }
            }
        }
        for (at, seat) in seats.iter().enumerate().filter(|(_, seat)| seat.is_present) {
            let index = PeerIndex(at);
            if kept.iter().any(|post| post.cell.index == index) {
                continue;
            }
            let cell = moved.iter().find(|cell| cell.index == index).cloned();
            let cell = cell.unwrap_or_else(|| self.cell(index, seat));
            kept.push(self.post(cell, seat));
        }
        kept.sort_by_key(|post| post.cell.index);
        let cells = kept.iter().map(|post| Arc::clone(&post.cell));
        *self.cells.0.write() = cells.collect();
        self.posts = kept;
    }

    /// A session that has met nobody.
    fn cell(&self, index: PeerIndex, seat: &Seat) -> Arc<PeerCell> {
        let now = self.shared.clocks.now();
        let session = Peer::new(index, seat.expected.clone(), self.limits, now);
        Arc::new(PeerCell {
            index,
            expected: seat.expected.clone(),
            peer: Mutex::new(session),
            view: Mutex::new(LinkView::default()),
            appended: Notify::new(),
        })
    }

    fn post(&self, cell: Arc<PeerCell>, seat: &Seat) -> Post {
        let (door, incoming) = mpsc::channel(1);
        let (orders, obeys) = watch::channel(Order::Go);
        // Of two regions, the one with the smaller number dials.
        let dials = self.shared.identity.origin < seat.expected.origin;
        let region = seat.expected.region.clone();
        let name = Name::new(seat.address.clone());
        let driver = Driver {
            shared: Arc::clone(&self.shared),
            cell: Arc::clone(&cell),
            dialler: Dialler::new(Arc::clone(&self.endpoint), region.clone(), name),
            region,
            dials,
            incoming,
            seat: rival::Seat::default(),
            orders: obeys,
            news: LinkNews::default(),
            rivals: Rivals::default(),
        };
        Post {
            cell,
            address: seat.address.clone(),
            dials,
            door,
            orders,
            driver: tokio::spawn(supervise(driver)),
        }
    }

    /// Hands a connection that a peer dialled to its driver.
    pub(crate) fn admit(&mut self, connection: Connection) {
        let region = connection.region().to_owned();
        let post = self
            .posts
            .iter()
            .find(|post| post.cell.expected.region == region);
        let Some(post) = post else {
            let (code, reason) = self.refusal(&region);
            if self.refusals.is_news(&region, &reason, Instant::now()) {
                tracing::warn!(peer = region, reason, "link refused");
            }
            return connection.close(code, &reason);
        };
        if let Err(rejected) = post.door.try_send(connection) {
            tracing::debug!(peer = region, "the peer dialled twice at once");
            rejected.into_inner().close(
                CLOSE_CODE_DRIVER_FIRST,
                "another link of yours is being opened",
            );
        }
    }

    /// Why a region that is not there is refused.
    fn refusal(&self, region: &str) -> (u32, String) {
        if is_removed(&self.shared.roster, region) {
            return (CLOSE_CODE_REMOVED, was_removed(region));
        }
        let known = self.posts.iter();
        let known: Vec<&str> = known
            .map(|post| post.cell.expected.region.as_str())
            .collect();
        let reason = format!(
            "expected one of the configured peers {}, found {region}",
            known.join(", ")
        );
        (CLOSE_CODE_DRIVER_FIRST, reason)
    }

    /// Somebody without a valid certificate. Whoever it is said to be in an address proves nothing, so it is shown at the
    /// awaited peers that have no link.
    pub(crate) fn note_stranger(&mut self, refused: &RefusedPeer) {
        say_stranger(refused, &mut self.refusals);
        for post in self.posts.iter().filter(|post| !post.dials) {
            let mut view = post.cell.view.lock();
            if !view.is_connected {
                view.reason = Some(format!(
                    "a node at {} got no link: {}",
                    refused.addr, refused.error
                ));
            }
        }
    }

    /// Ends all drivers.
    pub(crate) async fn end(self) {
        for post in &self.posts {
            post.orders.send_replace(Order::Stop);
        }
        for post in self.posts {
            post.end(Order::Stop).await;
        }
    }
}

/// Whether there was a region of that name, and is none.
fn is_removed(roster: &Roster, region: &str) -> bool {
    let seats = roster.seats();
    let mut named = seats.iter().filter(|seat| seat.expected.region == region);
    named.next().is_some_and(|first| !first.is_present) && named.all(|seat| !seat.is_present)
}

fn say_stranger(refused: &RefusedPeer, refusals: &mut News) {
    // A port is another one with each attempt.
    let source = refused.addr.ip().to_string();
    if refusals.is_news(&source, &refused.error.to_string(), Instant::now()) {
        tracing::warn!(address = %refused.addr, reason = %refused.error, "link refused");
    }
}

#[cfg(test)]
mod tests {
    use std::{io, io::Write, sync::PoisonError};

    use super::*;
    use crate::error::LinkError;

    #[derive(Clone, Default)]
    struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            lines.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stranger_that_knocks_again_is_logged_once_for_each_reason() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .finish();
        let mut refusals = News::default();
        tracing::subscriber::with_default(subscriber, || {
            for port in 0..100 {
                for reason in ["no certificate", "unknown issuer"] {
                    let addr = (std::net::Ipv4Addr::LOCALHOST, port).into();
                    let error = LinkError::Untrusted(reason.to_owned());
                    say_stranger(&RefusedPeer { addr, error }, &mut refusals);
                }
            }
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(
            text.contains("no certificate") && text.contains("unknown issuer"),
            "{text}"
        );
    }
}
