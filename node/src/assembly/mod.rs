//! The seam between the command line and the running parts of a node.

mod clocks;
mod differing;
mod life;
mod loading;
mod memory;
mod rates;
mod regions;
mod report;
mod superseded;
mod via;

use std::{
    hash::{BuildHasher, RandomState},
    process,
    sync::Arc,
    time::Duration,
};

use greenwich_proto::{
    entry::totals::Actor,
    hlc::{Clock, Origin, Stamp},
    log::Log,
    members::Members,
    peer::handshake::{Expected, Identity},
    settled::Settled,
    store::Store,
};
use greenwich_replicator::{
    PeerConfig, Replicator, ReplicatorConfig, Undelivered, certs::Credentials,
    emulation::EmulationConfig, endpoint::EndpointConfig,
};
use parking_lot::Mutex;
use tokio::{sync::oneshot, task::JoinHandle, time::interval};

pub(crate) use self::regions::FILE as REGIONS_FILE;
use self::{
    life::{Keeper, Life},
    regions::Registrar,
    report::{RATE_INTERVAL, Reporter},
};
use crate::{
    admin::{RegionsSource, StatusSource},
    config::{self, Config},
    keyspace::Keyspace,
    server::{self, Server, process::wall},
    status::{EmulatedLink, RESTART_NOTE, Status, UpdateLog},
};

/// The running parts of a node.
pub struct Assembly {
    /// What the node says about itself.
    pub status: StatusSource,
    /// Which regions there are, and what is to become of them.
    pub regions: RegionsSource,
    /// Resolves with a reason when the node cannot go on.
    pub stopped: oneshot::Receiver<String>,
    /// Stops everything in order; returns when it is stopped, with what each peer still lacks of what was written here.
    pub stop: Box<dyn FnOnce() -> Vec<Undelivered> + Send>,
}

impl std::fmt::Debug for Assembly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assembly").finish_non_exhaustive()
    }
}

/// How often some of the keyspace is tended.
const TEND_INTERVAL: Duration = Duration::from_millis(100);
/// Shards that are tended at a time: all of them in about three seconds.
const TEND_SHARDS: usize = 32;

/// Starts everything behind the client and the replication port.
pub fn start(config: &Arc<Config>) -> anyhow::Result<Assembly> {
    let (clock, life) = begin_life(config)?;
    let incarnation = life.incarnation();
    let origin = Origin(config.region.id);
    let members = regions::read(&config.data_dir)?;
    regions::announce(&members);
    let log = Arc::new(Log::new(clock, 0, config.replication.log_limit.as_usize()));
    let keyspace = Arc::new(Keyspace::new(
        Arc::clone(&log),
        Actor {
            origin,
            incarnation,
        },
        seed(),
    ));
    let replicator = replicate(config, incarnation, members.clone(), &keyspace)?;
    let acknowledged = replicator
        .as_ref()
        .map(|replicator| Arc::clone(replicator.acknowledged()));
    let server = Arc::new(Server::new(
        config,
        Arc::clone(&keyspace),
        incarnation,
        acknowledged.unwrap_or_default(),
    ));
    if replicator.is_some() {
        server.door.load();
    }
    let serving = server::serve(&server, config)?;

    let said = replicator.as_ref().map(Replicator::superseded);
    let superseding = said.map(|said| tokio::spawn(superseded::wait(Arc::clone(&server), said)));
    let replicator = Arc::new(Mutex::new(replicator));
    let loading = tokio::spawn(loading::wait(Arc::clone(&server), Arc::clone(&replicator)));
    let links = Arc::clone(&replicator);
    let keeper = Keeper::start(life, log, move || was_heard(&links))?;
    let parts = Reporter::new(
        Arc::clone(config),
        incarnation,
        server,
        Arc::clone(&keyspace),
        Arc::clone(&replicator),
    );
    let reporter = Arc::new(parts);
    let registrar = Registrar::new(Arc::clone(config), Arc::clone(&replicator), members);
    let registrar = Arc::new(registrar);
    let keeping = tokio::spawn(regions::follow(Arc::clone(&registrar)));
    let measuring = tokio::spawn(measure(Arc::clone(&reporter)));
    let tending = tokio::spawn(tend(keyspace));
    let giving_back = tokio::spawn(memory::give_back());
    let (failed, stopped) = oneshot::channel();
    Ok(Assembly {
        status: Arc::new(move || reporter.status()),
        regions: Arc::new(move |question| registrar.answer(question)),
        stopped,
        stop: Box::new(move || {
            measuring.abort();
            loading.abort();
            superseding.inspect(JoinHandle::abort);
            tending.abort();
            giving_back.abort();
            keeping.abort();
            // Clients first: what they wrote last is then in the log, and stopping the replicator delivers it.
            serving.stop();
            let is_heard = was_heard(&replicator);
            drop(failed);
            let replicator = replicator.lock().take();
            let undelivered = replicator.map(Replicator::stop).unwrap_or_default();
            keeper.end(is_heard);
            undelivered
        }),
    })
}

/// Goes on where earlier lives of this node ended, with a clock that gives none of their stamps.
fn begin_life(config: &Config) -> anyhow::Result<(Clock, Arc<Life>)> {
    let max_skew = config.replication.max_skew.0;
    let (life, after) = Life::begin(&config.data_dir, wall(), max_skew)?;
    let life = Arc::new(life);
    let clock = Clock::new(max_skew);
    clock.advance(after);
    let asked = Arc::clone(&life);
    clock.reserve_with(life.reserved(), move |stamp| asked.reserve(stamp));
    Ok((clock, life))
}

/// Whether a peer agreed to a link since this was asked last.
fn was_heard(replicator: &Mutex<Option<Replicator>>) -> bool {
    let replicator = replicator.lock();
    replicator.as_ref().is_some_and(Replicator::was_heard)
}

/// Starts replication, unless there is nobody to replicate with.
fn replicate(
    config: &Config,
    incarnation: u64,
    members: Members,
    keyspace: &Arc<Keyspace>,
) -> anyhow::Result<Option<Replicator>> {
    let is_added = members.iter().any(|member| member.address.is_some());
    if config.replication.peers.is_empty() && !is_added {
        return Ok(None);
    }
    let credentials = Credentials::load(&config.replication.certificate_files())?;
    let mut endpoint = EndpointConfig::new(config.replication.bind, Arc::new(credentials));
    endpoint.transport = config.replication.transport();
    endpoint.compression = config.replication.compression();
    endpoint.reset_key = Some(config.data_dir.join("reset.key"));
    endpoint.emulation = emulated(config);
    let expected = |peer: &config::Peer| PeerConfig {
        expected: Expected {
            region: peer.region.clone(),
            origin: Origin(peer.id),
        },
        address: peer.address.clone(),
    };
    let config = ReplicatorConfig {
        identity: Identity {
            cluster: config.cluster.clone(),
            region: config.region.name.clone(),
            origin: Origin(config.region.id),
            incarnation,
            rules: 0,
        },
        endpoint,
        peers: config.replication.peers.iter().map(expected).collect(),
        members,
        limits: config.replication.session_limits(),
        loading_patience: config.replication.loading_patience.0,
        horizon: config.replication.horizon(),
    };
    let log = Arc::clone(keyspace.log());
    let started = Replicator::start(config, log, Arc::clone(keyspace))?;
    Ok(Some(started))
}

/// The links that are impaired, by the peer's region; `None` when there are none. The replicator finds their other ends.
fn emulated(config: &Config) -> Option<EmulationConfig> {
    let link = |link: &config::Emulation| (link.peer.clone(), link.profile());
    let links: Vec<_> = config.emulation.iter().map(link).collect();
    (!links.is_empty()).then(|| EmulationConfig {
        links,
        seed: seed(),
    })
}

/// A number that nobody outside can guess.
fn seed() -> u64 {
    RandomState::new().hash_one(process::id())
}

async fn measure(reporter: Arc<Reporter>) {
    let mut ticks = interval(RATE_INTERVAL);
    loop {
        ticks.tick().await;
        reporter.measure();
    }
}

async fn tend(keyspace: Arc<Keyspace>) {
    let mut ticks = interval(TEND_INTERVAL);
    let mut next = 0;
    loop {
        ticks.tick().await;
        let now = wall();
        if keyspace.log().peers() == 0 {
            // Nobody else needs to hear of anything.
            keyspace.settle(Settled::up_to(Stamp::at(now)));
        }
        next = keyspace.tend(now, next, TEND_SHARDS);
    }
}

/// What the configuration alone says: names and limits.
fn configured_status(config: &Config) -> Status {
    Status {
        cluster: config.cluster.clone(),
        region: config.region.name.clone(),
        id: config.region.id,
        version: env!("CARGO_PKG_VERSION").into(),
        log: UpdateLog {
            bytes: 0,
            limit_bytes: config.replication.log_limit.0,
            dropped_units: 0,
        },
        note: RESTART_NOTE.into(),
        ..Status::default()
    }
}

fn emulated_link(config: &Config, region: &str) -> Option<EmulatedLink> {
    let link = config.emulation.iter().find(|link| link.peer == region)?;
    Some(EmulatedLink {
        delay_ms: link.delay.0.as_secs_f64() * 1e3,
        jitter_ms: link.jitter.0.as_secs_f64() * 1e3,
        // Rounded to a millionth: 0.07 * 100 is 7.000000000000001.
        loss_percent: (link.loss.0 * 1e8).round() / 1e6,
        rate_bits_per_second: link.rate.map(|rate| rate.0),
    })
}
