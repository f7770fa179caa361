//! The node's status from its parts.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use greenwich_proto::{
    log::PeerIndex,
    peer::{Report, State},
};
use greenwich_replicator::{LinkView, PeerReport, Replicator, clock::wall_error_ms};
use parking_lot::Mutex;

use super::{
    clocks::ClockWatch,
    configured_status,
    differing::differing,
    emulated_link,
    rates::Rate,
    via::{relayed, via},
};
use crate::{
    config::Config,
    keyspace::Keyspace,
    server::{
        Server, Service,
        process::{self, wall},
    },
    status::{
        Batches, Clients, Commands, Compared, Link, LinkState, Loading, Lookups, Memory, Status,
        Twin, UpdateLog, Updates,
    },
};

/// How often rates are measured.
pub(super) const RATE_INTERVAL: Duration = Duration::from_secs(1);

/// Everything that a status is made of.
pub(super) struct Reporter {
    pub(super) config: Arc<Config>,
    pub(super) incarnation: u64,
    pub(super) started: Instant,
    pub(super) server: Arc<Server>,
    pub(super) keyspace: Arc<Keyspace>,
    pub(super) replicator: Arc<Mutex<Option<Replicator>>>,
    rates: Mutex<Rates>,
    clocks: Mutex<ClockWatch>,
}

/// Sent and received bytes of each link, by the number of its peer.
type Rates = BTreeMap<PeerIndex, (Rate, Rate)>;

impl Reporter {
    pub(super) fn new(
        config: Arc<Config>,
        incarnation: u64,
        server: Arc<Server>,
        keyspace: Arc<Keyspace>,
        replicator: Arc<Mutex<Option<Replicator>>>,
    ) -> Self {
        let started = Instant::now();
        let clocks = ClockWatch::new(config.replication.max_skew.0);
        Self {
            config,
            incarnation,
            started,
            server,
            keyspace,
            replicator,
            rates: Mutex::default(),
            clocks: Mutex::new(clocks),
        }
    }

    /// Measures the rates, looks at the clocks, and tells the server how the links are. To be called about every [`RATE_INTERVAL`].
    pub(super) fn measure(&self) {
        let now = Instant::now();
        let links = self.links();
        let mut rates = self.rates.lock();
        self.server.counters.sample(now);
        rates.retain(|index, _| links.iter().any(|link| link.index == *index));
        for link in &links {
            let begin = || (Rate::start(0, now), Rate::start(0, now));
            let (sent, received) = rates.entry(link.index).or_insert_with(begin);
            let (sent_total, received_total) = total_bytes(&link.view);
            sent.look(sent_total, now);
            received.look(received_total, now);
        }
        let described = self.describe_all(&links, &rates);
        {
            let mut clocks = self.clocks.lock();
            clocks.look_at_own(wall_error_ms());
            clocks.look_at_peers(&described);
        }
        self.server.tell_links(described);
    }

    /// All links with how they are.
    fn describe_all(&self, links: &[PeerReport], rates: &Rates) -> Vec<Link> {
        let now = wall();
        let described = |peer: &PeerReport| {
            let mut link = Link {
                region: peer.expected.region.clone(),
                id: peer.expected.origin.0,
                address: peer.address.clone(),
                released: peer.is_released,
                emulation: emulated_link(&self.config, &peer.expected.region),
                relayed: relayed(peer),
                via: via(links, peer, now),
                ..Link::default()
            };
            describe(&mut link, &peer.session, &peer.view);
            if let Some((sent, received)) = rates.get(&peer.index) {
                link.sent.bytes_per_second = sent.per_second();
                link.received.bytes_per_second = received.per_second();
            }
            link
        };
        links.iter().map(described).collect()
    }

    fn links(&self) -> Vec<PeerReport> {
        let replicator = self.replicator.lock();
        replicator
            .as_ref()
            .map(Replicator::reports)
            .unwrap_or_default()
    }

    /// Why clients are not served, or should not be.
    fn not_ready(&self, removed_by: Option<&str>, loading: Option<&Loading>) -> Vec<String> {
        if let Some(peer) = removed_by {
            return vec![format!(
                "this region was removed from the cluster, says {peer}: stop this node, or add its region again and restart it"
            )];
        }
        match self.server.door.service() {
            Service::Open => Vec::new(),
            // The first look comes a moment after the start.
            Service::Loading => {
                vec![loading.map_or_else(|| "loading".to_owned(), Loading::to_string)]
            }
            Service::Superseded => self
                .server
                .door
                .superseded()
                .map(str::to_owned)
                .into_iter()
                .collect(),
        }
    }

    /// The node as it is at this moment.
    pub(super) fn status(&self) -> Status {
        let mut status = configured_status(&self.config);
        let usage = self.keyspace.usage();
        let links = self.links();
        let rates = self.rates.lock();
        status.links = self.describe_all(&links, &rates);
        let removed_by = links.iter().find(|link| link.view.is_removed);
        let removed_by = removed_by.map(|link| link.expected.region.as_str());
        status.removed = removed_by.is_some();
        status.superseded = self.server.door.superseded().is_some();
        status.loading = self.server.door.loading();
        status.not_ready = self.not_ready(removed_by, status.loading.as_ref());
        status.twins = twins(&links);
        status.incarnation = self.incarnation;
        status.uptime_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        status.clock_error_ms = wall_error_ms();
        status.keys = usage.keys as u64;
        status.husks = usage.husks as u64;
        status.husk_bytes = usage.husk_bytes as u64;
        status.memory = Memory {
            resident_bytes: process::resident_bytes(),
            entry_bytes: usage.entry_bytes as u64,
        };
        status.clients = Clients {
            connected: self.server.clients_connected(),
            accepted: self.server.clients_accepted(),
            refused: self.server.clients_refused(),
        };
        let totals = self.server.counters.totals();
        status.commands = Commands {
            per_second: self.server.counters.commands_per_second(),
            total: totals.commands,
        };
        status.lookups = Lookups {
            hits: totals.lookups.hits,
            misses: totals.lookups.misses,
        };
        status.expired = self.keyspace.expired();
        let log = self.keyspace.log();
        status.log = UpdateLog {
            bytes: log.bytes() as u64,
            limit_bytes: log.limit_bytes() as u64,
            dropped_units: log.units().dropped(),
        };
        status
    }
}

/// Other processes of this node's region that peers turned away lately.
fn twins(links: &[PeerReport]) -> Vec<Twin> {
    let twin = |link: &PeerReport| {
        let twin = link.twin.as_ref()?;
        Some(Twin {
            incarnation: twin.incarnation,
            address: twin.address.clone(),
            refused_by: link.expected.region.clone(),
        })
    };
    links.iter().filter_map(twin).collect()
}

/// Where a link stands, and why it is not up or what is wrong with it.
pub(super) fn link_of(report: &Report, view: &LinkView) -> (LinkState, Option<String>) {
    let state = match (&report.state, view.is_connected) {
        (State::Up, _) => LinkState::Up,
        (State::Handshaking, _) => LinkState::Handshaking,
        (State::Refused(_), _) => LinkState::Refused,
        (State::Down, _) if view.is_refused => LinkState::Refused,
        (State::Down, _) if report.connects > 0 => LinkState::Down,
        (State::Down, _) => LinkState::Connecting,
    };
    let reason = match &report.state {
        State::Refused(reason) => view.reason.clone().or_else(|| Some(reason.clone())),
        State::Up => view.warning.clone(),
        State::Down | State::Handshaking => view.reason.clone(),
    };
    (state, reason)
}

fn describe(link: &mut Link, report: &Report, view: &LinkView) {
    let (sent_bytes, received_bytes) = total_bytes(view);
    (link.state, link.reason) = link_of(report, view);
    link.silent = report.is_silent;
    link.rtt_ms = view
        .is_connected
        .then_some(view.stats.rtt.as_secs_f64() * 1e3);
    // On average, what the peer said was half a round trip on its way.
    let way_ms = view.stats.rtt.as_secs_f64() * 1e3 / 2.0;
    link.clock_skew_ms = report.clock_lead_ms.map(|lead_ms| lead_ms as f64 + way_ms);
    link.lag_ms = report.lag_ms;
    link.lag_updates = report.lag_updates;
    link.in_flight_bytes = report.in_flight_bytes;
    (link.sent.bytes, link.received.bytes) = (sent_bytes, received_bytes);
    link.batches = Batches {
        sent: report.sent.batches,
        received: report.received.batches,
        sent_bytes: view.past_batch_bytes.0 + view.stats.batch_bytes,
        sent_encoded_bytes: view.past_batch_bytes.1 + view.stats.encoded_batch_bytes,
    };
    link.updates = Updates {
        sent: report.sent.updates,
        coalesced: report.sent.coalesced,
        split: report.sent.split,
        received: report.received.changed + report.received.superseded,
        applied: report.received.changed,
        superseded: report.received.superseded,
    };
    link.sweeping = report.is_sweeping;
    link.sweeps = report.sent.sweeps;
    link.compared = Compared {
        equal_as_of_ms: report.compares.equal_as_of.map(|stamp| stamp.wall().0),
        rounds: report.compares.rounds,
        different: report.compares.different,
        repaired: report.compares.repaired,
        keys: report.differences.iter().map(differing).collect(),
    };
    link.reconnects = report.connects.saturating_sub(1);
}

fn total_bytes(view: &LinkView) -> (u64, u64) {
    let (sent, received) = view.past_bytes;
    (
        sent + view.stats.sent_bytes,
        received + view.stats.received_bytes,
    )
}
