//! A client's place among those that may be connected.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use tokio::net::TcpStream;

use super::super::{Server, process::wall};
use crate::{
    client::{Client, Handle},
    command::pubsub::unsubscribe_all,
};

/// A client's place among those that may be connected; given back when dropped.
#[derive(Debug)]
pub(in crate::server) struct Seat {
    pub(super) server: Arc<Server>,
    pub(super) client: Client,
}

impl Seat {
    /// A place, if there is one.
    pub(in crate::server) fn take(
        server: &Arc<Server>,
        stream: &TcpStream,
        address: SocketAddr,
    ) -> Option<Self> {
        if !server
            .clients
            .take_place(server.settings.clients_max.load(Relaxed))
        {
            return None;
        }
        let local = stream.local_addr().unwrap_or_else(|_| server.address());
        let id = server.clients.next_id();
        let handle = Arc::new(Handle::new(
            id,
            (address, local),
            wall(),
            server.limits.output_bytes_max,
        ));
        server.clients.insert(Arc::clone(&handle));
        let client = Client::new(handle, !server.settings.asks_password());
        Some(Self {
            server: Arc::clone(server),
            client,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        unsubscribe_all(&self.server, &mut self.client);
        self.server.clients.remove(self.client.handle.id);
        self.server.clients.leave_place();
    }
}
