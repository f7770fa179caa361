//! One UDP port that dials and accepts authenticated QUIC connections to other regions. It knows who a peer is; it
//! does not know what is said.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use greenwich_proto::wire;
use quinn::{AsyncUdpSocket, Runtime, TokioRuntime, VarInt, rustls::pki_types::CertificateDer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::timeout;

use crate::{
    authority,
    certs::Credentials,
    compression::Compression,
    emulation::{EmulatedSocket, Emulation, EmulationConfig},
    error::{LinkError, is_no_certificate},
    identity::{BadName, NodeName},
    link::LinkLimits,
    reset_key,
    tls::{self, TlsError},
    transport::TransportConfig,
};

/// How to open the replication port.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// The address to listen on; peers are dialled from it too.
    pub bind: SocketAddr,
    /// Who this node is and whom it trusts.
    pub credentials: Arc<Credentials>,
    /// QUIC's settings.
    pub transport: TransportConfig,
    /// Where the key for stateless resets is kept, made if missing.
    pub reset_key: Option<PathBuf>,
    /// The longest batch that a link takes or sends, in bytes. What waits to be sent is limited to this and 128 MiB, what
    /// has arrived of unfinished batches to this and 64 MiB; neither is allocated ahead. It must hold the largest entry
    /// and the largest unit of the store, on every node: 1088 MiB, the wire's own limit.
    pub batch_bytes_max: usize,
    /// A link whose connection owes bytes but moves none for this long is given up; an unfinished batch of which nothing
    /// arrives for three times as long, too. 10 s. It limits silence, never the length of a transfer.
    pub stall_limit: Duration,
    /// What this node does to the batches that it sends; nothing by default. A peer that cannot read compressed ones is
    /// sent plain ones.
    pub compression: Compression,
    /// Emulated links, for a rehearsal.
    pub emulation: Option<EmulationConfig>,
}

impl EndpointConfig {
    /// A port with default settings and no emulation.
    #[must_use]
    pub fn new(bind: SocketAddr, credentials: Arc<Credentials>) -> Self {
        Self {
            bind,
            credentials,
            transport: TransportConfig::default(),
            reset_key: None,
            batch_bytes_max: wire::BATCH_BYTES_MAX,
            stall_limit: STALL_LIMIT,
            compression: Compression::None,
            emulation: None,
        }
    }
}

/// Why the replication port cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is in use or not this machine's.
    #[error("cannot listen for peers on {addr}")]
    Socket {
        /// The address.
        addr: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The credentials do not work.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The reset key cannot be read or made.
    #[error("cannot keep the reset key in {}", path.display())]
    ResetKey {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Room for bursts of a whole window from several peers; the kernel may grant less.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// A peer answers a handshake in a few round trips; one that does not is not there.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(2);

/// A peer that takes nothing for this long, though its QUIC answers, will not take more.
const STALL_LIMIT: Duration = Duration::from_secs(10);

/// Handshakes that are answered at the same time; others wait, and are refused when too many wait.
const HANDSHAKES_MAX: usize = 32;
const HANDSHAKES_WAITING_MAX: usize = 128;

/// Close codes of this layer; the driver's own start at [`CLOSE_CODE_DRIVER_FIRST`].
const CLOSE_CODE_BAD_PEER: u32 = 1;

/// Codes from here on are free for the users of a [`Connection`].
pub const CLOSE_CODE_DRIVER_FIRST: u32 = 16;

/// The replication port. Dropping it, its acceptor and every connection frees the port.
#[derive(Debug)]
pub struct Endpoint {
    quinn: quinn::Endpoint,
    credentials: Arc<Credentials>,
    transport: Arc<quinn::TransportConfig>,
    limits: LinkLimits,
    emulation: Option<Emulation>,
    bound: IpAddr,
}

impl Endpoint {
    /// Opens the port. Must be called on a tokio runtime, which then drives it.
    ///
    /// # Errors
    /// [`BindError`] naming the address or file.
    pub fn bind(config: EndpointConfig) -> Result<Self, BindError> {
        let addr = config.bind;
        let transport = config.transport.to_quinn();
        let crypto = tls::server_config(&config.credentials)?;
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        server
            .transport_config(Arc::clone(&transport))
            .max_incoming(HANDSHAKES_WAITING_MAX);
        let endpoint_config = match &config.reset_key {
            Some(path) => {
                let key = reset_key::load(path).map_err(|source| BindError::ResetKey {
                    path: path.clone(),
                    source,
                })?;
                quinn::EndpointConfig::new(Arc::new(key))
            }
            None => quinn::EndpointConfig::default(),
        };
        let opened = open_socket(addr, config.emulation.as_ref());
        let (socket, emulation) = opened.map_err(|source| BindError::Socket { addr, source })?;
        let runtime = Arc::new(TokioRuntime);
        let quinn = quinn::Endpoint::new_with_abstract_socket(
            endpoint_config,
            Some(server),
            socket,
            runtime,
        )
        .map_err(|source| BindError::Socket { addr, source })?;
        let limits = LinkLimits {
            batch_bytes_max: config.batch_bytes_max,
            stall_limit: config.stall_limit,
            compression: config.compression,
        };
        let credentials = config.credentials;
        tracing::info!(%addr, node = %credentials.name, "listening for peers");
        Ok(Self {
            quinn,
            credentials,
            transport,
            limits,
            emulation,
            bound: addr.ip(),
        })
    }

    /// Whom this endpoint speaks for.
    #[must_use]
    pub fn name(&self) -> &NodeName {
        &self.credentials.name
    }

    /// The address that is listened on, with the port that was chosen if port 0 was asked for.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.quinn.local_addr()
    }

    /// The address that it was bound to, perhaps none in particular.
    pub(crate) const fn own_ip(&self) -> IpAddr {
        self.bound
    }

    /// Has datagrams to these addresses, and to no others, pass the emulated link of `region`, if links are emulated.
    pub(crate) fn emulate(&self, region: &str, addresses: &[SocketAddr]) {
        if let Some(emulation) = &self.emulation {
            emulation.place(region, addresses);
        }
    }

    /// The handle to the emulated links, if emulation was asked for.
    #[must_use]
    pub const fn emulation(&self) -> Option<&Emulation> {
        self.emulation.as_ref()
    }

    /// Dials the node of `region` in this node's cluster. A connection that is returned may still be refused by the
    /// peer, which checks this node's certificate one flight later: the link then ends with [`LinkError::Refused`]
    /// or [`LinkError::ClosedByPeer`].
    ///
    /// # Errors
    /// [`LinkError`]: not reached in time, or another region or cluster than expected.
    pub async fn connect(&self, addr: SocketAddr, region: &str) -> Result<Connection, LinkError> {
        let failed = |reason: String| LinkError::Dial { addr, reason };
        let expected = NodeName::new(&self.credentials.name.cluster, region)
            .map_err(|e: BadName| failed(e.to_string()))?;
        let (crypto, mismatch) =
            tls::client_config(&self.credentials, &expected).map_err(|e| failed(e.to_string()))?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::clone(&self.transport));
        let connecting = self
            .quinn
            .connect_with(config, addr, &expected.dns_name())
            .map_err(|e| failed(e.to_string()))?;
        let connected = timeout(HANDSHAKE_LIMIT, connecting)
            .await
            .map_err(|_| handshake_timed_out())?;
        match (connected, mismatch.found()) {
            (Ok(quinn), _) => Ok(Connection {
                quinn,
                peer: expected,
                dialled: true,
                limits: self.limits,
            }),
            (Err(_), Some(found)) => Err(LinkError::WrongPeer {
                addr,
                expected: Box::new(expected),
                found: Box::new(found),
            }),
            (Err(error), None) => Err(error.into()),
        }
    }

    /// Accepts peers. One acceptor an endpoint is enough: several share the peers that dial in.
    #[must_use]
    pub fn acceptor(&self) -> Acceptor {
        Acceptor {
            endpoint: self.quinn.clone(),
            credentials: Arc::clone(&self.credentials),
            limits: self.limits,
            handshakes: FuturesUnordered::new(),
        }
    }

    /// Closes every connection with this code and reason, and accepts no more.
    pub fn close(&self, code: u32, reason: &str) {
        self.quinn.close(VarInt::from_u32(code), reason.as_bytes());
    }

    /// Waits until peers have been told that their connections are closed; bounded by three time-outs of a lost packet.
    pub async fn wait_idle(&self) {
        self.quinn.wait_idle().await;
    }
}

/// A node that dialled in and was turned away, or did not finish its handshake.
#[derive(Clone, Debug, thiserror::Error)]
#[error("refused {addr}: {error}")]
pub struct RefusedPeer {
    /// Where it dialled from.
    pub addr: SocketAddr,
    /// Why it was refused.
    #[source]
    pub error: LinkError,
}

/// Answers handshakes, several at a time so that a slow peer holds up nobody.
pub struct Acceptor {
    endpoint: quinn::Endpoint,
    credentials: Arc<Credentials>,
    limits: LinkLimits,
    handshakes: FuturesUnordered<BoxFuture<'static, Result<Connection, RefusedPeer>>>,
}

impl Acceptor {
    /// The next peer that proved who it is, or was refused; `None` once the endpoint is closed. Safe to cancel.
    pub async fn accept(&mut self) -> Option<Result<Connection, RefusedPeer>> {
        loop {
            tokio::select! {
                Some(finished) = self.handshakes.next(), if !self.handshakes.is_empty() => return Some(finished),
                incoming = self.endpoint.accept(), if self.handshakes.len() < HANDSHAKES_MAX => {
                    let credentials = Arc::clone(&self.credentials);
                    self.handshakes.push(Box::pin(handshake(incoming?, credentials, self.limits)));
                }
            }
        }
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let handshakes = self.handshakes.len();
        f.debug_struct("Acceptor")
            .field("handshakes", &handshakes)
            .finish_non_exhaustive()
    }
}

async fn handshake(
    incoming: quinn::Incoming,
    credentials: Arc<Credentials>,
    limits: LinkLimits,
) -> Result<Connection, RefusedPeer> {
    let addr = incoming.remote_address();
    let refused = |error| RefusedPeer { addr, error };
    let connected = timeout(HANDSHAKE_LIMIT, incoming.into_future()).await;
    let quinn = connected
        .map_err(|_| refused(handshake_timed_out()))?
        .map_err(|error| {
            refused(match is_no_certificate(&error) {
                true => LinkError::Untrusted(tls::none_found(&credentials.authorities)),
                false => error.into(),
            })
        })?;
    match authenticate(&quinn, &credentials) {
        Ok(peer) => Ok(Connection {
            quinn,
            peer,
            dialled: false,
            limits,
        }),
        Err(error) => {
            quinn.close(
                VarInt::from_u32(CLOSE_CODE_BAD_PEER),
                error.to_string().as_bytes(),
            );
            Err(refused(error))
        }
    }
}

/// Whom the peer's certificate names, whose signature the handshake has checked.
fn authenticate(
    connection: &quinn::Connection,
    credentials: &Credentials,
) -> Result<NodeName, LinkError> {
    let own = &credentials.name;
    let identity = connection
        .peer_identity()
        .and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    let leaf = identity.as_deref().and_then(|chain| chain.first());
    let Some(leaf) = leaf else {
        return Err(LinkError::Untrusted(tls::none_found(
            &credentials.authorities,
        )));
    };
    match NodeName::of_certificate(leaf) {
        None => Err(LinkError::Nameless(authority::describe(leaf))),
        Some(found) if found.cluster != own.cluster => Err(LinkError::WrongCluster {
            expected: own.cluster.clone(),
            found: Box::new(found),
        }),
        Some(found) if found.region == own.region => Err(LinkError::OwnRegion(found)),
        Some(found) => Ok(found),
    }
}

const fn handshake_timed_out() -> LinkError {
    LinkError::OpenTimedOut {
        step: "the handshake",
        limit: HANDSHAKE_LIMIT,
    }
}

/// An authenticated connection to the node of another region, from which a link is opened.
#[derive(Debug)]
pub struct Connection {
    pub(crate) quinn: quinn::Connection,
    pub(crate) peer: NodeName,
    pub(crate) dialled: bool,
    pub(crate) limits: LinkLimits,
}

impl Connection {
    /// The region that the peer's certificate names.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.peer.region
    }

    /// Whom the peer's certificate names.
    #[must_use]
    pub const fn peer(&self) -> &NodeName {
        &self.peer
    }

    /// Whether this side dialled.
    #[must_use]
    pub const fn is_dialler(&self) -> bool {
        self.dialled
    }

    /// The peer's address at present.
    #[must_use]
    pub fn remote_addr(&self) -> SocketAddr {
        self.quinn.remote_address()
    }

    /// Closes the connection at once; what the peer has not acknowledged may be lost. Use codes from
    /// [`CLOSE_CODE_DRIVER_FIRST`] on.
    pub fn close(&self, code: u32, reason: &str) {
        self.quinn.close(VarInt::from_u32(code), reason.as_bytes());
    }
}

type OpenSocket = (Arc<dyn AsyncUdpSocket>, Option<Emulation>);

fn open_socket(addr: SocketAddr, emulation: Option<&EmulationConfig>) -> io::Result<OpenSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Best effort: the kernel's limits (net.core.rmem_max, wmem_max) may allow less.
    let asked = socket
        .set_recv_buffer_size(SOCKET_BUFFER_BYTES)
        .and_then(|()| socket.set_send_buffer_size(SOCKET_BUFFER_BYTES));
    socket.bind(&addr.into())?;
    socket.set_nonblocking(true)?;
    let (receive_bytes, send_bytes) = (socket.recv_buffer_size()?, socket.send_buffer_size()?);
    match asked.is_ok() && receive_bytes.min(send_bytes) >= SOCKET_BUFFER_BYTES {
        true => tracing::debug!(receive_bytes, send_bytes, "socket buffers"),
        false => tracing::warn!(
            receive_bytes,
            send_bytes,
            wanted_bytes = SOCKET_BUFFER_BYTES,
            "small socket buffers: bursts from peers may be lost; raise net.core.rmem_max and wmem_max"
        ),
    }
    let socket: std::net::UdpSocket = socket.into();
    let Some(emulation) = emulation else {
        return Ok((TokioRuntime.wrap_udp_socket(socket)?, None));
    };
    let inner = TokioRuntime.wrap_udp_socket(socket.try_clone()?)?;
    let (socket, handle) = EmulatedSocket::new(socket, inner, emulation)?;
    Ok((Arc::new(socket), Some(handle)))
}
