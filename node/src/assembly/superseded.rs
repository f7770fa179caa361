//! What a node does once a peer has heard of a later process of its region: it serves nobody any more, and says so.

use std::sync::Arc;

use greenwich_replicator::Superseded;
use tokio::sync::watch;

use crate::server::Server;

/// Waits until a peer says so; for ever if none does.
pub(super) async fn wait(server: Arc<Server>, mut said: watch::Receiver<Option<Superseded>>) {
    let said = said.wait_for(Option::is_some).await;
    // The replicator is gone once the node stops.
    let Some(superseded) = said.ok().and_then(|said| said.clone()) else {
        return;
    };
    server.door.supersede(superseded.to_string());
    tracing::error!("{superseded}; clients are not served any more");
}
