//! The seam between the command line and the running parts of a node.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::admin::StatusSource;
use crate::config::Config;
use crate::status::{EmulatedLink, Link, RESTART_NOTE, Status, UpdateLog};

/// The running parts of a node.
pub struct Assembly {
    /// What the node says about itself.
    pub status: StatusSource,
    /// Resolves with a reason when the node cannot go on.
    pub stopped: oneshot::Receiver<String>,
    /// Stops everything in order; returns when it is stopped.
    pub stop: Box<dyn FnOnce() + Send>,
}

impl std::fmt::Debug for Assembly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assembly").finish_non_exhaustive()
    }
}

/// Starts everything behind the client and the replication port.
pub fn start(config: &Arc<Config>) -> anyhow::Result<Assembly> {
    let (failed, stopped) = oneshot::channel();
    let started = Instant::now();
    let config = Arc::clone(config);
    let status: StatusSource = Arc::new(move || {
        let uptime_ms = started.elapsed().as_millis() as u64;
        Status {
            uptime_ms,
            ..configured_status(&config)
        }
    });
    Ok(Assembly {
        status,
        stopped,
        stop: Box::new(move || drop(failed)),
    })
}

/// What the configuration alone says: names, limits, and a link for every peer.
pub fn configured_status(config: &Config) -> Status {
    Status {
        cluster: config.cluster.clone(),
        region: config.region.name.clone(),
        id: config.region.id,
        version: env!("CARGO_PKG_VERSION").into(),
        log: UpdateLog {
            bytes: 0,
            limit_bytes: config.replication.log_limit.0,
        },
        links: config
            .replication
            .peers
            .iter()
            .map(|peer| Link {
                region: peer.region.clone(),
                id: peer.id,
                address: peer.address.clone(),
                emulation: emulated_link(config, &peer.region),
                ..Link::default()
            })
            .collect(),
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
