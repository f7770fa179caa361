//! The time from a node's start until clients are served: until it holds what its peers held.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use greenwich_replicator::Replicator;
use parking_lot::Mutex;
use tokio::time::interval;

use crate::server::Server;

/// How often it is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How often the log says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Lets clients in once nothing is waited for.
pub(super) async fn wait(server: Arc<Server>, replicator: Arc<Mutex<Option<Replicator>>>) {
    let started = Instant::now();
    let mut said = started;
    let mut looks = interval(LOOK_INTERVAL);
    loop {
        looks.tick().await;
        let Some(awaited) = replicator.lock().as_ref().map(Replicator::awaited) else {
            return server.is_loading.store(false, Ordering::Relaxed);
        };
        let Some(awaited) = awaited else {
            break;
        };
        if said.elapsed() >= PROGRESS_INTERVAL {
            said = Instant::now();
            let keys = server.keyspace.usage().keys;
            tracing::info!(
                peers = awaited.join(", "),
                keys,
                "loading: keys of these peers have not all arrived"
            );
        }
    }
    server.is_loading.store(false, Ordering::Relaxed);
    let keys = server.keyspace.usage().keys;
    tracing::info!(keys, after = ?started.elapsed(), "clients are served");
    let missing = {
        let replicator = replicator.lock();
        let missing = replicator.as_ref().map(Replicator::missing);
        missing.unwrap_or_default()
    };
    if !missing.is_empty() {
        tracing::warn!(
            peers = missing.join(", "),
            "these peers could not be reached in time: clients are served without keys that only they hold"
        );
    }
}
