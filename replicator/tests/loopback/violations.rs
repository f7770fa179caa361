//! Peers that break the rules, played with bare QUIC: each is refused, named, and takes a bounded amount of memory.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use greenwich_replicator::{
    certs::CertificateFiles,
    endpoint::{Connection, Endpoint, EndpointConfig, RefusedPeer},
    error::LinkError,
    link::{CONTROL_FRAME_BYTES_MAX, Event, LinkReceiver, LinkSender},
};
use quinn::{
    VarInt,
    crypto::rustls::QuicClientConfig,
    rustls::{
        self, ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

use tokio::time::Instant;

use crate::{
    common::{Cluster, loopback, next},
    names_both_authorities,
};

/// A client of the cluster's CA that speaks `alpn`, with or without the certificate of `us-east`.
fn client_config(cluster: &Cluster, with_certificate: bool, alpn: &[u8]) -> quinn::ClientConfig {
    let files = with_certificate.then(|| cluster.files("us-east"));
    config_of(cluster, files.as_ref(), alpn)
}

/// A client that trusts the cluster's CA and shows the certificate in `files`, if any.
fn config_of(
    trusted: &Cluster,
    files: Option<&CertificateFiles>,
    alpn: &[u8],
) -> quinn::ClientConfig {
    let mut roots = RootCertStore::empty();
    let ca = trusted.files("us-east").ca;
    roots
        .add(CertificateDer::from_pem_file(ca).unwrap())
        .unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut tls = match files {
        Some(files) => {
            let chain = vec![CertificateDer::from_pem_file(&files.certificate).unwrap()];
            let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![alpn.to_vec()];
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}

/// Dials the node of `eu-west`: what the client got, and what the node.
async fn knock(
    client: &quinn::Endpoint,
    config: quinn::ClientConfig,
    west: &Endpoint,
) -> (
    Result<quinn::Connection, quinn::ConnectionError>,
    Result<Connection, RefusedPeer>,
) {
    let addr = west.local_addr().unwrap();
    let dialling = client
        .connect_with(config, addr, "eu-west.shop.greenwich.internal")
        .unwrap();
    let mut acceptor = west.acceptor();
    let (dialled, accepted) = tokio::join!(dialling, acceptor.accept());
    (dialled, accepted.unwrap())
}

async fn refusal(with_certificate: bool, alpn: &[u8]) -> LinkError {
    let cluster = Cluster::new("shop");
    let west = cluster.endpoint("eu-west");
    let client = quinn::Endpoint::client(loopback()).unwrap();
    let config = client_config(&cluster, with_certificate, alpn);
    let (_, accepted) = knock(&client, config, &west).await;
    accepted.unwrap_err().error
}

#[tokio::test]
async fn no_certificate_is_refused() {
    let error = refusal(false, b"greenwich/1").await;
    assert!(matches!(error, LinkError::Untrusted(_)), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("expected one signed by CN=greenwich shop CA (key "),
        "{text}"
    );
    assert!(text.ends_with("), found none"), "{text}");
}

/// What our side says of a node of another authority that dials and trusts anybody, and what it is told.
#[tokio::test]
async fn a_dialler_of_another_authority_is_refused_with_both_authorities_on_both_sides() {
    let (ours, theirs) = (Cluster::new("shop"), Cluster::new("shop"));
    let west = ours.endpoint("eu-west");
    let client = quinn::Endpoint::client(loopback()).unwrap();
    let config = config_of(&ours, Some(&theirs.files("us-east")), b"greenwich/1");
    let (dialled, accepted) = knock(&client, config, &west).await;
    let refused = accepted.unwrap_err();
    assert!(
        matches!(refused.error, LinkError::Untrusted(_)),
        "{refused}"
    );
    let told = match dialled {
        Ok(connection) => connection.closed().await,
        Err(error) => error,
    };
    let told = LinkError::from(told);
    assert!(matches!(told, LinkError::Refused(_)), "{told}");
    for text in [refused.to_string(), told.to_string()] {
        names_both_authorities(&text, "greenwich://shop/us-east");
    }
}

#[tokio::test]
async fn another_wire_version_is_refused() {
    let error = refusal(true, b"greenwich/2").await;
    assert!(matches!(error, LinkError::WireVersion { .. }), "{error}");
    assert!(
        error.to_string().contains("expected greenwich/1"),
        "{error}"
    );
}

/// A node's link whose other end is in the test's hands.
pub(crate) struct Raw {
    pub(crate) link: (LinkSender, LinkReceiver),
    pub(crate) peer: quinn::Connection,
    pub(crate) control: quinn::SendStream,
    _unread: quinn::RecvStream,
    _endpoints: (Endpoint, quinn::Endpoint),
}

pub(crate) const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

async fn raw() -> Raw {
    raw_with(Duration::from_secs(10)).await
}

async fn raw_with(stall_limit: Duration) -> Raw {
    raw_of(b"greenwich/1", |config| config.stall_limit = stall_limit).await
}

/// A bare peer that offers only `alpn`.
pub(crate) async fn raw_of(alpn: &[u8], change: impl FnOnce(&mut EndpointConfig)) -> Raw {
    let cluster = Cluster::new("shop");
    let west = cluster.endpoint_of("eu-west", |config| {
        config.batch_bytes_max = BATCH_BYTES_MAX;
        change(config);
    });
    let client = quinn::Endpoint::client(loopback()).unwrap();
    let config = client_config(&cluster, true, alpn);
    let (peer, accepted) = knock(&client, config, &west).await;
    let peer = peer.unwrap();
    let (mut control, unread) = peer.open_bi().await.unwrap();
    control.write_all(&0_u32.to_le_bytes()).await.unwrap();
    let link = accepted.unwrap().open_link().await.unwrap();
    Raw {
        link,
        peer,
        control,
        _unread: unread,
        _endpoints: (west, client),
    }
}

pub(crate) async fn closed_with(raw: &mut Raw) -> LinkError {
    let event = next(&mut raw.link.1).await;
    let Event::Closed(error) = event else {
        panic!("{event:?}")
    };
    error
}

#[tokio::test]
async fn a_control_frame_over_the_limit_closes_the_link_before_it_is_read() {
    let mut raw = raw().await;
    let announced = u32::try_from(CONTROL_FRAME_BYTES_MAX + 1).unwrap();
    raw.control
        .write_all(&announced.to_le_bytes())
        .await
        .unwrap();
    let error = closed_with(&mut raw).await;
    assert!(
        matches!(error, LinkError::ControlFrameTooLarge { .. }),
        "{error}"
    );
    let told = raw.peer.closed().await.to_string();
    assert!(told.contains("expected at most 1048576"), "{told}");
}

#[tokio::test]
async fn control_frames_are_put_together_from_any_pieces() {
    let mut raw = raw().await;
    let wire: Vec<u8> = [&b"\x03\0\0\0abc"[..], b"\0\0\0\0", b"\x01\0\0\0d"].concat();
    let received = async {
        let (first, second) = (next(&mut raw.link.1).await, next(&mut raw.link.1).await);
        assert!(matches!(first, Event::Control(frame) if frame == "abc"));
        assert!(matches!(second, Event::Control(frame) if frame == "d"));
    };
    let sent = async {
        for byte in wire {
            raw.control.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(received, sent);
    raw.control.finish().unwrap();
    let error = closed_with(&mut raw).await;
    assert!(matches!(error, LinkError::ControlEnded), "{error}");
}

#[tokio::test]
async fn a_batch_over_the_limit_closes_the_link() {
    let mut raw = raw().await;
    let mut stream = raw.peer.open_uni().await.unwrap();
    let too_long = vec![1; BATCH_BYTES_MAX + 1];
    let (error, _sent) = tokio::join!(closed_with(&mut raw), stream.write_all(&too_long));
    assert!(matches!(error, LinkError::BatchTooLarge { .. }), "{error}");
}

#[tokio::test]
async fn a_batch_given_up_half_way_is_never_told() {
    let mut raw = raw().await;
    let mut stream = raw.peer.open_uni().await.unwrap();
    stream.write_all(b"half a ").await.unwrap();
    stream.reset(VarInt::from_u32(9)).unwrap();
    let error = closed_with(&mut raw).await;
    assert!(matches!(error, LinkError::BatchAbandoned(9)), "{error}");
}

#[tokio::test]
async fn many_unfinished_batches_are_cut_off() {
    let mut raw = raw().await;
    let peer = raw.peer.clone();
    let part = Bytes::from(vec![3; BATCH_BYTES_MAX]);
    let flood = async {
        let mut unfinished = Vec::new();
        loop {
            let mut stream = peer.open_uni().await?;
            if stream.write_chunk(part.clone()).await.is_err() {
                return Err::<(), _>(peer.closed().await);
            }
            unfinished.push(stream);
        }
    };
    let (error, ended) = tokio::join!(closed_with(&mut raw), flood);
    assert!(matches!(error, LinkError::ReceiveBacklog { .. }), "{error}");
    assert!(ended.is_err());
}

#[tokio::test]
async fn a_batch_that_stops_half_way_is_given_up() {
    let mut raw = raw_with(Duration::from_millis(100)).await;
    let mut stream = raw.peer.open_uni().await.unwrap();
    stream.write_all(b"half a ").await.unwrap();
    let error = closed_with(&mut raw).await;
    assert!(matches!(error, LinkError::BatchTimedOut(_)), "{error}");
}

#[tokio::test]
async fn a_batch_that_trickles_in_is_awaited() {
    let stall_limit = Duration::from_millis(300);
    let mut raw = raw_with(stall_limit).await;
    let mut stream = raw.peer.open_uni().await.unwrap();
    let started = Instant::now();
    let trickle = async {
        let mut sent = 0;
        while started.elapsed() < 6 * stall_limit {
            stream.write_all(&[4]).await.unwrap();
            sent += 1;
            tokio::time::sleep(stall_limit / 30).await;
        }
        stream.finish().unwrap();
        sent
    };
    let (event, sent) = tokio::join!(next(&mut raw.link.1), trickle);
    assert!(
        matches!(&event, Event::Batch(batch) if batch.len() == sent),
        "{event:?}"
    );
}

#[tokio::test]
async fn a_link_to_a_peer_that_takes_nothing_is_given_up_though_control_frames_go() {
    let mut raw = raw_with(Duration::from_millis(500)).await;
    let batch = Bytes::from(vec![5; BATCH_BYTES_MAX]);
    // More than its windows; the raw peer reads none of it.
    for _ in 0..20 {
        raw.link.0.send_batch(batch.clone()).unwrap();
    }
    let mut heartbeat = tokio::time::interval(Duration::from_millis(10));
    let deadline = Instant::now() + Duration::from_secs(30);
    let error = loop {
        assert!(Instant::now() < deadline, "{:?}", raw.link.0);
        tokio::select! {
            driven = raw.link.0.drive() => if let Err(error) = driven { break error },
            _ = heartbeat.tick() => raw.link.0.send_control(b"here").unwrap(),
        }
    };
    assert!(matches!(error, LinkError::Stalled(_)), "{error}");
}
