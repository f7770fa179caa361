//! Clusters with certificates in a temporary directory, and links between two of their nodes.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use greenwich_proto::netem::LinkProfile;
use greenwich_replicator::{
    certs::{self, CertificateFiles, Credentials, Overwrite},
    emulation::EmulationConfig,
    endpoint::{Endpoint, EndpointConfig},
    link::{Event, LinkReceiver, LinkSender},
};
use tempfile::TempDir;

pub(crate) const REGIONS: [&str; 3] = ["us-east", "eu-west", "ap-south"];

pub(crate) struct Cluster {
    pub(crate) dir: TempDir,
    name: String,
}

impl Cluster {
    pub(crate) fn new(name: &str) -> Self {
        let cluster = Self {
            dir: tempfile::tempdir().unwrap(),
            name: name.to_owned(),
        };
        cluster.renew(Overwrite::No);
        cluster
    }

    pub(crate) fn renew(&self, overwrite: Overwrite) {
        certs::create_ca(self.dir.path(), &self.name, overwrite).unwrap();
        for region in REGIONS {
            certs::issue_node(self.dir.path(), region, overwrite).unwrap();
        }
    }

    pub(crate) fn files(&self, region: &str) -> CertificateFiles {
        CertificateFiles::in_dir(self.dir.path(), region)
    }

    pub(crate) fn credentials(&self, region: &str) -> Arc<Credentials> {
        Arc::new(Credentials::load(&self.files(region)).unwrap())
    }

    pub(crate) fn endpoint(&self, region: &str) -> Endpoint {
        self.endpoint_with(region, None)
    }

    pub(crate) fn endpoint_with(
        &self,
        region: &str,
        emulation: Option<EmulationConfig>,
    ) -> Endpoint {
        self.endpoint_of(region, |config| config.emulation = emulation)
    }

    pub(crate) fn endpoint_of(
        &self,
        region: &str,
        change: impl FnOnce(&mut EndpointConfig),
    ) -> Endpoint {
        let mut config = EndpointConfig::new(loopback(), self.credentials(region));
        config.reset_key = Some(self.dir.path().join(format!("{region}-reset.key")));
        change(&mut config);
        Endpoint::bind(config).unwrap()
    }
}

pub(crate) fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub(crate) type Link = (LinkSender, LinkReceiver);

pub(crate) struct Pair {
    pub(crate) dialler: Link,
    pub(crate) acceptor: Link,
    pub(crate) east: Endpoint,
    pub(crate) west: Endpoint,
}

/// Two nodes of a fresh cluster, `us-east` and `eu-west`.
pub(crate) fn endpoints(emulation: Option<EmulationConfig>) -> (Endpoint, Endpoint) {
    endpoints_of(|config| config.emulation.clone_from(&emulation))
}

/// The same with other settings.
pub(crate) fn endpoints_of(change: impl Fn(&mut EndpointConfig)) -> (Endpoint, Endpoint) {
    let cluster = Cluster::new("shop");
    (
        cluster.endpoint_of("us-east", &change),
        cluster.endpoint_of("eu-west", &change),
    )
}

/// A link between them, dialled by the first.
pub(crate) async fn connect(east: Endpoint, west: Endpoint) -> Pair {
    let mut accepting = west.acceptor();
    let dialling = async {
        let addr = west.local_addr().unwrap();
        let connection = east.connect(addr, "eu-west").await.unwrap();
        assert_eq!(
            (connection.region(), connection.is_dialler()),
            ("eu-west", true)
        );
        connection.open_link().await.unwrap()
    };
    let answering = async {
        let connection = accepting.accept().await.unwrap().unwrap();
        assert_eq!(
            (connection.region(), connection.is_dialler()),
            ("us-east", false)
        );
        connection.open_link().await.unwrap()
    };
    let (dialler, acceptor) = tokio::join!(dialling, answering);
    Pair {
        dialler,
        acceptor,
        east,
        west,
    }
}

/// Sets what happens to datagrams that one of two endpoints with emulation sends to the other.
pub(crate) fn impair(from: &Endpoint, to: &Endpoint, profile: LinkProfile) {
    let (emulation, name) = (from.emulation().unwrap(), &to.name().region);
    emulation.set_profile(name, profile);
    emulation.place(name, &[to.local_addr().unwrap()]);
}

/// A link between two nodes of a fresh cluster.
pub(crate) async fn pair(emulation: Option<EmulationConfig>) -> Pair {
    let (east, west) = endpoints(emulation);
    connect(east, west).await
}

/// The next event, or a panic after a time in which anything arrives.
pub(crate) async fn next(receiver: &mut LinkReceiver) -> Event {
    tokio::time::timeout(Duration::from_secs(30), receiver.next())
        .await
        .expect("an event in time")
}

/// A batch that differs for every number; its size from four bytes to some packets, every hundredth 300 kB.
pub(crate) fn batch(number: u32) -> Bytes {
    let bytes = if number.is_multiple_of(100) {
        300_000
    } else {
        4 + (number as usize * 37) % 9_000
    };
    // Quickly, even without optimization: a thousand of them must not keep a link silent for its idle time-out.
    let mut filled = number.to_le_bytes().repeat(bytes.div_ceil(4));
    filled.truncate(bytes);
    filled.into()
}
