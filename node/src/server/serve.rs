//! The threads that serve clients, each with its own runtime and its own socket on the client port.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    sync::watch,
    time::{interval, sleep, timeout},
};
use tracing::{debug, info, warn};

use super::{
    Server,
    connection::{self, Seat},
    listen::listen,
};
use crate::{client::Doom, config::Config};

/// How often commands are sampled for their rate.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
/// Connections have this long to send what they owe when the server stops.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(2);
/// Pause after a connection could not be accepted, as when no file descriptors are left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Silence after which the system asks whether the client is still there.
const KEEPALIVE: Duration = Duration::from_secs(300);
const FULL: &[u8] = b"-ERR max number of clients reached\r\n";

/// Running client threads. They stop when this is dropped.
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Serving {
    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the port, lets commands that run finish and their replies leave, and ends every connection.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                warn!("a client thread had failed");
            }
        }
    }
}

/// Opens the client port and starts the threads.
///
/// # Errors
/// When the port cannot be opened or a thread not be started.
pub fn serve(server: &Arc<Server>, config: &Config) -> io::Result<Serving> {
    let (address, sockets) = listen(config.client.bind, server.counters.thread_count())?;
    let set = server.address.set(address);
    assert!(set.is_ok(), "a server opens its port once");
    let (stop, stopped) = watch::channel(false);
    let mut serving = Serving {
        address,
        stop,
        threads: Vec::new(),
    };
    for (index, socket) in sockets.into_iter().enumerate() {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = ClientThread {
            server: Arc::clone(server),
            index,
            stopped: stopped.clone(),
        };
        let builder = thread::Builder::new().name(format!("client-{index}"));
        serving
            .threads
            .push(builder.spawn(move || thread.run(&runtime, socket))?);
    }
    Ok(serving)
}

struct ClientThread {
    server: Arc<Server>,
    index: usize,
    stopped: watch::Receiver<bool>,
}

impl ClientThread {
    fn run(mut self, runtime: &Runtime, socket: std::net::TcpListener) {
        runtime.block_on(async {
            if self.index == 0 {
                tokio::spawn(look_after(Arc::clone(&self.server)));
            }
            match TcpListener::from_std(socket) {
                Ok(listener) => self.accept(listener).await,
                Err(error) => warn!(%error, "a client thread cannot listen"),
            }
            self.drain().await;
        });
    }

    /// Accepts connections until the server stops.
    async fn accept(&mut self, listener: TcpListener) {
        let mut stopped = self.stopped.clone();
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => self.admit(stream, address),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    self.report(&error);
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn report(&self, error: &io::Error) {
        let mut news = self.server.news.lock();
        if news.is_news("accept", &error.to_string(), Instant::now()) {
            warn!(%error, "cannot accept connections; they wait");
        }
    }

    fn admit(&self, stream: TcpStream, address: SocketAddr) {
        let counters = &self.server.counters;
        let Some(seat) = Seat::take(&self.server, &stream, address) else {
            counters.refused.fetch_add(1, Relaxed);
            // A new connection has room for one line; if not, it is closed without.
            let _ = SockRef::from(&stream).send(FULL);
            return;
        };
        counters.accepted.fetch_add(1, Relaxed);
        let socket = SockRef::from(&stream);
        let prepared = stream
            .set_nodelay(true)
            .and_then(|()| socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE)));
        if let Err(error) = prepared {
            debug!(%error, "a connection ended before it began");
            return;
        }
        tokio::spawn(connection::run(seat, stream, self.index));
    }

    /// Ends all connections, those of other threads included, and waits for them.
    async fn drain(&self) {
        let clients = &self.server.clients;
        let emptied = timeout(DRAIN_TIME_MAX, async {
            while clients.count() > 0 {
                clients
                    .all()
                    .iter()
                    .for_each(|handle| handle.end(Doom::Shutdown));
                sleep(Duration::from_millis(5)).await;
            }
        });
        if emptied.await.is_err() && self.index == 0 {
            info!(clients = clients.count(), "clients were cut off");
        }
    }
}

/// Samples the counters, and ends connections that have been silent for too long.
async fn look_after(server: Arc<Server>) {
    let mut ticks = interval(SAMPLE_INTERVAL);
    let mut checked = Instant::now();
    loop {
        ticks.tick().await;
        server.counters.sample(Instant::now());
        let idle_seconds_max = server.settings.idle_seconds_max.load(Relaxed);
        if idle_seconds_max > 0 && checked.elapsed() >= Duration::from_secs(1) {
            checked = Instant::now();
            let oldest = super::process::wall()
                .0
                .saturating_sub(idle_seconds_max * 1000);
            for handle in server.clients.all() {
                let may_be_silent = handle.is_subscriber() || handle.is_blocked.load(Relaxed);
                if handle.active.load(Relaxed) < oldest && !may_be_silent {
                    handle.end(Doom::Idle);
                }
            }
        }
    }
}
