//! Nodes of a cluster on loopback, each with a replicator and a keyspace of its own.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use greenwich_proto::{
    hlc::{Clock, Origin},
    log::Log,
    members::Members,
    peer::{
        Limits, Report, State,
        handshake::{Expected, Identity},
    },
    time::Wall,
};
use greenwich_replicator::{
    HorizonLimits, LinkView, PeerConfig, Replicator, ReplicatorConfig,
    certs::{self, CertificateFiles, Credentials, Overwrite},
    endpoint::EndpointConfig,
};
use tempfile::TempDir;

use crate::keys::Keys;

pub(crate) const REGIONS: [&str; 3] = ["us-east", "eu-west", "ap-south"];

/// Longer than anything that a test waits for takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Cluster {
    dir: TempDir,
    /// Where the node of each region listens.
    pub(crate) addresses: [SocketAddr; REGIONS.len()],
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        certs::create_ca(dir.path(), "shop", Overwrite::No).unwrap();
        for region in REGIONS {
            certs::issue_node(dir.path(), region, Overwrite::No).unwrap();
        }
        let sockets = REGIONS.map(|_| free_socket());
        Self {
            dir,
            addresses: sockets.map(|socket| socket.local_addr().unwrap()),
        }
    }

    /// What a node of this region is started with. It has no peers yet.
    pub(crate) fn config(&self, region: usize) -> ReplicatorConfig {
        let files = CertificateFiles::in_dir(self.dir.path(), REGIONS[region]);
        let credentials = Arc::new(Credentials::load(&files).unwrap());
        let mut endpoint = EndpointConfig::new(self.addresses[region], credentials);
        endpoint.reset_key = Some(self.dir.path().join(format!("{region}-reset.key")));
        ReplicatorConfig {
            identity: Identity {
                cluster: "shop".into(),
                region: REGIONS[region].into(),
                origin: origin(region),
                incarnation: wall().0,
                rules: 0,
            },
            endpoint,
            peers: Vec::new(),
            members: Members::default(),
            limits: Limits::default(),
            loading_patience: PATIENCE,
            horizon: HorizonLimits::NONE,
        }
    }

    pub(crate) fn peer(&self, region: usize) -> PeerConfig {
        self.peer_at(region, self.addresses[region].to_string())
    }

    pub(crate) fn peer_at(&self, region: usize, address: String) -> PeerConfig {
        let expected = Expected {
            region: REGIONS[region].into(),
            origin: origin(region),
        };
        PeerConfig { expected, address }
    }

    /// A node of `region` with these peers, as they are addressed by default.
    pub(crate) fn start(&self, region: usize, peers: &[usize]) -> Node {
        let mut config = self.config(region);
        config.peers = peers.iter().map(|&peer| self.peer(peer)).collect();
        Node::start(config)
    }
}

/// A socket on a port that nobody has.
pub(crate) fn free_socket() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

fn origin(region: usize) -> Origin {
    Origin(u8::try_from(region + 1).unwrap())
}

pub(crate) fn wall() -> Wall {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Wall(u64::try_from(since_epoch.as_millis()).unwrap())
}

pub(crate) struct Node {
    pub(crate) replicator: Replicator,
    pub(crate) keys: Arc<Keys>,
    log: Arc<Log>,
    origin: Origin,
    pub(crate) incarnation: u64,
}

impl Node {
    pub(crate) fn start(config: ReplicatorConfig) -> Self {
        const LOG_BYTES: usize = 64 << 20;
        let clock = Clock::new(Duration::from_secs(5));
        let log = Arc::new(Log::new(clock, 0, LOG_BYTES));
        let keys = Arc::new(Keys::default());
        let (origin, incarnation) = (config.identity.origin, config.identity.incarnation);
        let replicator = Replicator::start(config, Arc::clone(&log), Arc::clone(&keys)).unwrap();
        Self {
            replicator,
            keys,
            log,
            origin,
            incarnation,
        }
    }

    pub(crate) fn set(&self, key: &str, value: &[u8]) {
        self.keys.set(&self.log, self.origin, key, value, wall());
    }

    /// How the session and the link with a peer fare.
    pub(crate) fn link(&self, peer: usize) -> (Report, LinkView) {
        let report = self.replicator.reports().swap_remove(peer);
        (report.session, report.view)
    }

    pub(crate) fn is_up(&self, peer: usize) -> bool {
        self.link(peer).0.state == State::Up
    }

    /// Why the link to a peer is not up, or what is wrong with it.
    pub(crate) fn reason(&self, peer: usize) -> String {
        let view = self.link(peer).1;
        view.warning.or(view.reason).unwrap_or_default()
    }
}

/// Waits until it is so, and fails with what `told` says if that takes too long.
pub(crate) fn until_told(told: impl Fn() -> String, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain: {}", told());
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn until(what: &str, is_so: impl FnMut() -> bool) {
    until_told(|| what.to_owned(), is_so);
}
