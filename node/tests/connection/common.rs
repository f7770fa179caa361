//! A whole server in this process, and clients that speak to it in bytes.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something unexpected happens"
)]

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use greenwich::{
    config::Config,
    keyspace::Keyspace,
    server::{self, Server, Serving},
};
use greenwich_proto::{
    entry::totals::Actor,
    hlc::{Clock, Origin},
    log::Log,
};

/// Everything that should happen happens well within this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A region on its own, or with peers that never connect. It stops when dropped.
pub(crate) struct TestServer {
    pub(crate) server: Arc<Server>,
    serving: Serving,
}

impl TestServer {
    pub(crate) fn start() -> Self {
        Self::with(0, |_| {})
    }

    pub(crate) fn with(peers: usize, configure: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::example("test", 1);
        // Clients of several threads meet, whatever the machine has.
        config.client.threads = 2;
        config.client.bind.set_port(0);
        configure(&mut config);
        let log = Arc::new(Log::new(Clock::new(Duration::from_secs(5)), peers, 1 << 20));
        let keyspace = Arc::new(Keyspace::new(
            log,
            Actor {
                origin: Origin(1),
                incarnation: 1,
            },
            7,
        ));
        let server = Arc::new(Server::new(&config, keyspace, 1, Arc::default()));
        let serving = server::serve(&server, &config).unwrap();
        Self { server, serving }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.serving.address()
    }

    pub(crate) fn client(&self) -> TestClient {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        TestClient { stream }
    }

    pub(crate) fn stop(self) {
        self.serving.stop();
    }
}

pub(crate) struct TestClient {
    pub(crate) stream: TcpStream,
}

impl TestClient {
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Reads as many bytes as are expected, and compares.
    #[track_caller]
    pub(crate) fn expect(&mut self, wanted: impl AsRef<[u8]>) {
        let wanted = wanted.as_ref();
        let mut got = vec![0; wanted.len()];
        let mut len = 0;
        while len < got.len() {
            match self.stream.read(&mut got[len..]) {
                Ok(bytes) if bytes > 0 => len += bytes,
                end => panic!("{end:?} after {:?}", String::from_utf8_lossy(&got[..len])),
            }
        }
        assert!(
            got == wanted,
            "expected {:?}, got {:?}",
            String::from_utf8_lossy(&wanted[..wanted.len().min(300)]),
            String::from_utf8_lossy(&got[..got.len().min(300)])
        );
    }

    /// Sends an inline request and compares the reply.
    #[track_caller]
    pub(crate) fn ask(&mut self, request: &str, reply: impl AsRef<[u8]>) {
        self.send(format!("{request}\r\n"));
        self.expect(reply);
    }

    /// Sends an inline request and returns its integer.
    #[track_caller]
    pub(crate) fn ask_integer(&mut self, request: &str) -> i64 {
        self.send(format!("{request}\r\n"));
        self.line().strip_prefix(':').unwrap().parse().unwrap()
    }

    /// One line without its end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            assert_eq!(
                self.stream.read(&mut byte).unwrap(),
                1,
                "the connection ended"
            );
            line.push(byte[0]);
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).unwrap()
    }

    /// Waits for the server to close the connection, and returns what came before.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
        }
        rest
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}
