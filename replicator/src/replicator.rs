//! The replicator of a node: its endpoint, a driver for each peer, on a thread of their own.

use std::{sync::Arc, thread, time::Duration};

use greenwich_proto::{
    entry::totals::Actor,
    lives::Lives,
    log::{Log, PeerIndex},
    members::Members,
    peer::{
        Limits, Report,
        handshake::{Expected, Identity},
    },
    roster::{ChangeError, Roster},
    store::Store,
    wire::control::Twin,
};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use crate::{
    clock::{Clocks, wall},
    delivery::{Undelivered, deliver},
    driver::{RIVAL_SHOWN, Shared, note_change},
    endpoint::{BindError, CLOSE_CODE_DRIVER_FIRST, Endpoint, EndpointConfig},
    horizon::{Horizon, HorizonLimits},
    links::{Cells, Links},
    superseded::Superseded,
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
    /// The other regions, as configured.
    pub peers: Vec<PeerConfig>,
    /// Which regions were added and removed since.
    pub members: Members,
    /// Limits of every session.
    pub limits: Limits,
    /// How long a node that has started waits for the keys of peers that it cannot reach.
    pub loading_patience: Duration,
    /// How long regions that are away are waited for before the dead are forgotten without them.
    pub horizon: HorizonLimits,
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

/// How a peer fares.
#[derive(Clone, Debug)]
pub struct PeerReport {
    /// Its number.
    pub index: PeerIndex,
    /// Its region.
    pub expected: Expected,
    /// Host and port of its replication port.
    pub address: String,
    /// Its session.
    pub session: Report,
    /// Its link.
    pub view: LinkView,
    /// Whether it has confirmed that it knows which regions were added and removed.
    pub is_informed: bool,
    /// Whether its region has been away for so long that it is not waited for.
    pub is_released: bool,
    /// The other process of this node's region that it turned away lately.
    pub twin: Option<Twin>,
}

/// A running replicator. Dropping it stops it, once linked peers have what was written or a second has passed.
pub struct Replicator {
    log: Arc<Log>,
    lives: Arc<Lives>,
    roster: Arc<Roster>,
    clocks: Clocks,
    cells: Arc<Cells>,
    changes: watch::Sender<u64>,
    acknowledged: Arc<Notify>,
    superseded: watch::Receiver<Option<Superseded>>,
    stop: watch::Sender<bool>,
    thread: Option<thread::JoinHandle<Vec<Undelivered>>>,
}

impl std::fmt::Debug for Replicator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replicator")
            .field("roster", &self.roster)
            .finish_non_exhaustive()
    }
}

impl Replicator {
    /// Starts replicating `log`, which knows of no peer yet, and `store` with the configured peers.
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
        assert_eq!(log.peers(), 0, "the roster gives the log its peers");
        let clocks = Clocks::start();
        let cells = Arc::new(Cells::default());
        let wake = Arc::clone(&cells);
        log.wake_with(move || wake.wake());
        let own = Actor {
            origin: config.identity.origin,
            incarnation: config.identity.incarnation,
        };
        let lives = Lives::new(own, [], clocks.now(), config.loading_patience)
            .with_horizon(config.horizon.absence);
        let (lives, roster) = (Arc::new(lives), Arc::new(config.roster()));
        roster.seat_all(&log, &lives);
        let acknowledged = Arc::new(Notify::new());
        let (stop, stopped) = watch::channel(false);
        let (changes, _) = watch::channel(roster.version());
        let (supersede, superseded) = watch::channel(None);
        let shared = Arc::new(Shared {
            identity: config.identity.clone(),
            log: Arc::clone(&log),
            store,
            lives: Arc::clone(&lives),
            roster: Arc::clone(&roster),
            changes: changes.clone(),
            supersede,
            builder: Mutex::default(),
            clocks,
            acknowledged: Arc::clone(&acknowledged),
        });
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let run_cells = Arc::clone(&cells);
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
                roster,
                clocks,
                cells,
                changes,
                acknowledged,
                superseded,
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

    /// Which regions there are.
    #[must_use]
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Changes with the roster, whoever changed it.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Adds a region, or gives one that is there another address. Returns whether that changed anything. All peers are
    /// told; [`PeerReport::is_informed`] says which know.
    ///
    /// # Errors
    /// [`ChangeError`] when the name or the number belongs to another region, or is none, or the node has just started.
    pub fn add_region(&self, expected: Expected, address: String) -> Result<bool, ChangeError> {
        let stamp = self.log.clock().stamp(wall());
        let added = self
            .roster
            .add(expected, address, stamp, &self.log, &self.lives);
        note_change(&self.changes, &self.roster);
        added
    }

    /// Removes a region. Returns whether it was there. All peers are told, as by [`Self::add_region`].
    ///
    /// # Errors
    /// [`ChangeError`] when there is no such region, it is the node's own, or the node has just started.
    pub fn remove_region(&self, region: &str) -> Result<bool, ChangeError> {
        let stamp = self.log.clock().stamp(wall());
        let removed = self.roster.remove(region, stamp, &self.log, &self.lives);
        note_change(&self.changes, &self.roster);
        removed
    }

    /// Where peers find this node, in the words of one that said so.
    #[must_use]
    pub fn reached_at(&self) -> Option<String> {
        let cells = self.cells.all();
        let said = |cell: &Arc<PeerCell>| cell.peer.lock().reached_at().map(str::to_owned);
        cells.iter().find_map(said)
    }

    /// Regions whose keys this node still waits for before it serves clients; `None` once it has begun to.
    #[must_use]
    pub fn awaited(&self) -> Option<Vec<String>> {
        let loading = self.lives.loading(self.clocks.now())?;
        Some(self.regions(&loading.awaited))
    }

    /// Whether a peer has said that a later process of this node's region has taken its place, which is never taken back.
    #[must_use]
    pub fn superseded(&self) -> watch::Receiver<Option<Superseded>> {
        self.superseded.clone()
    }

    /// Links that are refused, by this node or by the peer: which region's, and why.
    #[must_use]
    pub fn refusals(&self) -> Vec<String> {
        let refusal = |cell: &Arc<PeerCell>| {
            let view = cell.view.lock();
            let reason = view.reason.as_ref().filter(|_| view.is_refused)?;
            Some(format!("{}: {reason}", cell.expected.region))
        };
        self.cells.all().iter().filter_map(refusal).collect()
    }

    /// About how many keys the fullest of the peers holds, as far as they have said so on their present links.
    #[must_use]
    pub fn keys_told(&self) -> Option<u64> {
        let told = |cell: &Arc<PeerCell>| cell.peer.lock().keys_told();
        self.cells.all().iter().filter_map(told).max()
    }

    /// Regions from which not all keys have arrived since the start.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        self.regions(&self.lives.missing())
    }

    fn regions(&self, peers: &[PeerIndex]) -> Vec<String> {
        let seats = peers.iter().filter_map(|&peer| self.roster.seat(peer));
        seats.map(|seat| seat.expected.region).collect()
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
            .all()
            .iter()
            .map(was_heard)
            .fold(false, |any, one| any | one)
    }

    /// How each peer's session and link fare, in the order of their numbers.
    #[must_use]
    pub fn reports(&self) -> Vec<PeerReport> {
        let now = self.clocks.now();
        let cells = self.cells.all();
        let released = self.lives.released();
        let report = |cell: &Arc<PeerCell>| {
            let session = cell.report(&self.log);
            let peer = cell.peer.lock();
            let address = self.roster.seat(cell.index).map(|seat| seat.address);
            let twin = peer.twin().filter(|(at, _)| now < *at + RIVAL_SHOWN);
            PeerReport {
                index: cell.index,
                expected: cell.expected.clone(),
                address: address.unwrap_or_default(),
                session,
                is_informed: peer.is_informed(&self.roster),
                is_released: released.contains(&cell.index),
                twin: twin.map(|(_, twin)| twin.clone()),
                view: cell.view.lock().clone(),
            }
        };
        cells.iter().map(report).collect()
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

impl ReplicatorConfig {
    fn roster(&self) -> Roster {
        let own = Expected {
            region: self.identity.region.clone(),
            origin: self.identity.origin,
        };
        let peer = |peer: &PeerConfig| (peer.expected.clone(), peer.address.clone());
        Roster::new(own, self.peers.iter().map(peer), self.members.clone())
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
    cells: Arc<Cells>,
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
    let mut changes = shared.changes.subscribe();
    let (endpoint_of_links, shared_with_links) = (Arc::clone(&endpoint), Arc::clone(&shared));
    let mut links = Links::new(
        endpoint_of_links,
        shared_with_links,
        config.limits,
        Arc::clone(&cells),
    );
    links.follow().await;
    let mut horizon = Horizon::new(Arc::clone(&shared), config.horizon);
    let _answered = ready.send(Ok(()));
    let mut acceptor = endpoint.acceptor();
    loop {
        tokio::select! {
            accepted = acceptor.accept() => match accepted {
                Some(Ok(connection)) => links.admit(connection),
                Some(Err(refused)) => links.note_stranger(&refused),
                None => break,
            },
            Ok(()) = changes.changed() => links.follow().await,
            () = horizon.due() => horizon.look(),
            _ = stopped.wait_for(|&stop| stop) => break,
        }
    }
    let undelivered = deliver(&cells.all(), &shared.log).await;
    links.end().await;
    endpoint.close(CLOSE_CODE_DRIVER_FIRST, "this node stops");
    // Peers that do not hear it notice by their idle time-out.
    let _told = timeout(FAREWELL_LIMIT, endpoint.wait_idle()).await;
    undelivered
}
