//! The replicator of a node: its endpoint, a driver for each peer, on a thread of their own.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use greenwich_proto::{
    entry::totals::Actor,
    lives::{Lives, Loading},
    log::{Log, PeerIndex},
    peer::{
        Limits, Peer, Report,
        handshake::{Expected, Identity},
    },
    store::Store,
};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::timeout,
};

use crate::{
    clock::Clocks,
    delivery::{Undelivered, deliver},
    dialler::Dialler,
    driver::{Driver, Rivals, Shared},
    endpoint::{
        BindError, CLOSE_CODE_DRIVER_FIRST, Connection, Endpoint, EndpointConfig, RefusedPeer,
    },
    names::Name,
    news::{LinkNews, News},
    rival::Seat,
    supervisor::supervise,
    view::{LinkView, PeerCell},
};

/// How long peers are told that this node stops.
const FAREWELL_LIMIT: Duration = Duration::from_millis(500);

/// Another region's node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// Name and number of its region.
    pub expected: Expected,
    /// Host and port of its replication port; looked up anew with each dial.
    pub address: String,
}

/// What a replicator needs to know.
#[derive(Clone, Debug)]
pub struct ReplicatorConfig {
    /// Who this node is.
    pub identity: Identity,
    /// Its replication port.
    pub endpoint: EndpointConfig,
    /// The other regions, in the order of the log's peers.
    pub peers: Vec<PeerConfig>,
    /// Limits of every session.
    pub limits: Limits,
    /// How long a node that has started waits for the keys of peers that it cannot reach.
    pub loading_patience: Duration,
}

/// Why a replicator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The replication port.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The thread or its runtime.
    #[error("cannot start the replication thread")]
    Thread(#[from] std::io::Error),
}

/// A running replicator. Dropping it stops it, once linked peers have what was written or a second has passed.
pub struct Replicator {
    log: Arc<Log>,
    lives: Arc<Lives>,
    clocks: Clocks,
    cells: Vec<Arc<PeerCell>>,
    peers: Vec<PeerConfig>,
    acknowledged: Arc<Notify>,
    stop: watch::Sender<bool>,
    thread: Option<thread::JoinHandle<Vec<Undelivered>>>,
}

impl std::fmt::Debug for Replicator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replicator")
            .field("peers", &self.peers)
            .finish_non_exhaustive()
    }
}

impl Replicator {
    /// Starts replicating `log` and `store` with the configured peers.
    ///
    /// # Errors
    /// [`StartError`] when the port or the thread cannot be had.
    pub fn start<S>(
        config: ReplicatorConfig,
        log: Arc<Log>,
        store: Arc<S>,
    ) -> Result<Self, StartError>
    where
        S: Store + Send + Sync + 'static,
    {
        assert_eq!(
            config.peers.len(),
            log.peers(),
            "the log has a place for every peer"
        );
        let clocks = Clocks::start();
        let cell = |(index, peer): (usize, &PeerConfig)| {
            let session = Peer::new(
                PeerIndex(index),
                peer.expected.clone(),
                config.limits,
                clocks.now(),
            );
            Arc::new(PeerCell {
                peer: Mutex::new(session),
                view: Mutex::new(LinkView::default()),
                appended: Notify::new(),
            })
        };
        let cells: Vec<_> = config.peers.iter().enumerate().map(cell).collect();
        let wake = cells.clone();
        log.wake_with(move || wake.iter().for_each(|cell| cell.appended.notify_one()));
        let own = Actor {
            origin: config.identity.origin,
            incarnation: config.identity.incarnation,
        };
        let origins = config.peers.iter().map(|peer| peer.expected.origin);
        let lives = Lives::new(own, origins, clocks.now(), config.loading_patience);
        let lives = Arc::new(lives);
        let acknowledged = Arc::new(Notify::new());
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            identity: config.identity.clone(),
            log: Arc::clone(&log),
            store,
            lives: Arc::clone(&lives),
            builder: Mutex::default(),
            clocks,
            acknowledged: Arc::clone(&acknowledged),
        });
        let peers = config.peers.clone();
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let run_cells = cells.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = thread::Builder::new()
            .name("replication".to_owned())
            .spawn(move || {
                let undelivered = runtime.block_on(run(config, shared, run_cells, stopped, &ready));
                // A resolver that hangs must not hold up the end.
                runtime.shutdown_background();
                undelivered
            })?;
        match started.recv() {
            Ok(Ok(())) => Ok(Self {
                log,
                lives,
                clocks,
                cells,
                peers,
                acknowledged,
                stop,
                thread: Some(thread),
            }),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(StartError::Thread(std::io::Error::other(
                "the replication thread ended",
            ))),
        }
    }

    /// Wakes its waiters whenever a peer may have applied something.
    #[must_use]
    pub fn acknowledged(&self) -> &Arc<Notify> {
        &self.acknowledged
    }

    /// The configured peers.
    #[must_use]
    pub fn peers(&self) -> &[PeerConfig] {
        &self.peers
    }

    /// What this node still waits for before it serves clients, if it has not begun to.
    #[must_use]
    pub fn loading(&self) -> Option<Loading> {
        self.lives.loading(self.clocks.now())
    }

    /// Regions from which not all keys have arrived since the start.
    #[must_use]
    pub fn missing(&self) -> Vec<&str> {
        let missing = self.lives.missing().into_iter();
        missing
            .map(|PeerIndex(at)| self.peers[at].expected.region.as_str())
            .collect()
    }

    /// Whether a peer may have heard of what this node stamped since this was asked last.
    pub fn was_heard(&self) -> bool {
        let was_heard = |cell: &Arc<PeerCell>| {
            let mut view = cell.view.lock();
            let still = view.is_connected && view.is_heard;
            std::mem::replace(&mut view.is_heard, still)
        };
        // Every peer is asked: each forgets what it was asked.
        self.cells
            .iter()
            .map(was_heard)
            .fold(false, |any, one| any | one)
    }

    /// How each peer's session and link fare, in the order of the configuration.
    pub fn reports(&self) -> impl Iterator<Item = (Report, LinkView)> {
        self.cells.iter().map(|cell| {
            let report = cell.report(&self.log);
            let view = cell.view.lock().clone();
            (report, view)
        })
    }

    /// Stops it, as dropping it does, and tells what each peer still lacks of what was written here.
    #[must_use]
    pub fn stop(mut self) -> Vec<Undelivered> {
        self.end()
    }

    fn end(&mut self) -> Vec<Undelivered> {
        self.stop.send_replace(true);
        let Some(thread) = self.thread.take() else {
            return Vec::new();
        };
        thread.join().unwrap_or_else(|_| {
            tracing::error!("the replication thread panicked");
            Vec::new()
        })
    }
}

impl Drop for Replicator {
    fn drop(&mut self) {
        self.end();
    }
}

async fn run<S>(
    config: ReplicatorConfig,
    shared: Arc<Shared<S>>,
    cells: Vec<Arc<PeerCell>>,
    mut stopped: watch::Receiver<bool>,
    ready: &std::sync::mpsc::SyncSender<Result<(), BindError>>,
) -> Vec<Undelivered>
where
    S: Store + Send + Sync + 'static,
{
    let endpoint = match Endpoint::bind(config.endpoint) {
        Ok(endpoint) => Arc::new(endpoint),
        Err(error) => {
            // The starter waits for exactly one answer.
            let _answered = ready.send(Err(error));
            return Vec::new();
        }
    };
    let (end_drivers, drivers_end) = watch::channel(false);
    let mut drivers = tokio::task::JoinSet::new();
    let mut doors = Vec::new();
    for (peer, cell) in config.peers.into_iter().zip(&cells) {
        let (door, incoming) = mpsc::channel(1);
        // Of two regions, the one with the smaller number dials.
        let dials = shared.identity.origin < peer.expected.origin;
        let region = peer.expected.region;
        doors.push((region.clone(), dials, door));
        let name = Name::new(peer.address);
        let driver = Driver {
            shared: Arc::clone(&shared),
            cell: Arc::clone(cell),
            dialler: Dialler::new(Arc::clone(&endpoint), region.clone(), name),
            region,
            dials,
            incoming,
            seat: Seat::default(),
            shutdown: drivers_end.clone(),
            news: LinkNews::default(),
            rivals: Rivals::default(),
        };
        drivers.spawn(supervise(driver));
    }
    let _answered = ready.send(Ok(()));
    tokio::select! {
        () = accept(&endpoint, &doors, &cells) => {}
        _ = stopped.wait_for(|&stop| stop) => {}
    }
    let undelivered = deliver(&cells, &shared.log).await;
    end_drivers.send_replace(true);
    drivers.join_all().await;
    endpoint.close(CLOSE_CODE_DRIVER_FIRST, "this node stops");
    // Peers that do not hear it notice by their idle time-out.
    let _told = timeout(FAREWELL_LIMIT, endpoint.wait_idle()).await;
    undelivered
}

/// Hands connections that peers dialled to their drivers.
async fn accept(
    endpoint: &Endpoint,
    doors: &[(String, bool, mpsc::Sender<Connection>)],
    cells: &[Arc<PeerCell>],
) {
    // Those that this side does not dial.
    let awaited: Vec<Arc<PeerCell>> = doors
        .iter()
        .zip(cells)
        .filter(|((_, dials, _), _)| !dials)
        .map(|(_, cell)| Arc::clone(cell))
        .collect();
    let mut acceptor = endpoint.acceptor();
    let mut refusals = News::default();
    while let Some(accepted) = acceptor.accept().await {
        match accepted {
            Ok(connection) => admit(connection, doors, &mut refusals),
            Err(refused) => note_stranger(&refused, &awaited, &mut refusals),
        }
    }
}

fn admit(
    connection: Connection,
    doors: &[(String, bool, mpsc::Sender<Connection>)],
    refusals: &mut News,
) {
    let region = connection.region().to_owned();
    let reason = match doors.iter().find(|(name, ..)| *name == region) {
        Some((_, false, door)) => {
            if let Err(rejected) = door.try_send(connection) {
                tracing::debug!(peer = region, "the peer dialled twice at once");
                rejected.into_inner().close(
                    CLOSE_CODE_DRIVER_FIRST,
                    "another link of yours is being opened",
                );
            }
            return;
        }
        Some((_, true, _)) => "of two regions, the one with the smaller id dials".to_owned(),
        None => {
            let configured: Vec<&str> = doors.iter().map(|(name, ..)| name.as_str()).collect();
            format!(
                "expected one of the configured peers {}, found {region}",
                configured.join(", ")
            )
        }
    };
    if refusals.is_news(&region, &reason, Instant::now()) {
        tracing::warn!(peer = region, reason, "link refused");
    }
    connection.close(CLOSE_CODE_DRIVER_FIRST, &reason);
}

/// Somebody without a valid certificate. Whoever it is said to be in an address proves nothing, so it is shown at the
/// awaited peers that have no link.
fn note_stranger(refused: &RefusedPeer, awaited: &[Arc<PeerCell>], refusals: &mut News) {
    // A port is another one with each attempt.
    let source = refused.addr.ip().to_string();
    if refusals.is_news(&source, &refused.error.to_string(), Instant::now()) {
        tracing::warn!(address = %refused.addr, reason = %refused.error, "link refused");
    }
    for cell in awaited {
        let mut view = cell.view.lock();
        if !view.is_connected {
            view.reason = Some(format!(
                "a node at {} got no link: {}",
                refused.addr, refused.error
            ));
        }
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
                    note_stranger(&RefusedPeer { addr, error }, &[], &mut refusals);
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
