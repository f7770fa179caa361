//! Dials one peer, or waits to be dialled by it: which of the addresses behind its name are tried, in which order. It
//! does not know when to dial again.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use crate::{
    emulation::canonical,
    endpoint::{Connection, Endpoint},
    error::LinkError,
    names::Name,
};

/// How often a peer that dials is looked up, if the link to it is emulated.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// A peer that dials does so within seconds of its start, or of the loss of a link.
const KNOCK_AFTER: Duration = Duration::from_secs(4);

/// The way to one peer.
pub(crate) struct Dialler {
    endpoint: Arc<Endpoint>,
    region: String,
    name: Name,
    /// Where the peer was last.
    last: Option<SocketAddr>,
}

impl Dialler {
    pub(crate) fn new(endpoint: Arc<Endpoint>, region: String, name: Name) -> Self {
        Self {
            endpoint,
            region,
            name,
            last: None,
        }
    }

    /// Tries every address that the name has at present, one after the other, beginning where the peer was last. Safe to
    /// cancel.
    pub(crate) async fn dial(&mut self) -> Result<Connection, LinkError> {
        let mut addresses = self.name.resolve(self.endpoint.own_ip()).await?;
        addresses.sort_by_key(|&address| Some(canonical(address)) != self.last);
        self.endpoint.emulate(&self.region, &addresses);
        let mut failures = Vec::new();
        for address in addresses {
            match self.endpoint.connect(address, &self.region).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failures.push((address, error)),
            }
        }
        Err(LinkError::of_dials(failures))
    }

    /// Waits for the peer, which dials, and dials it only when it does not come: it may have a link with another node of
    /// this region, or not know this region, and says so. Safe to cancel.
    pub(crate) async fn knock(&mut self) -> Result<Connection, LinkError> {
        // It never ends by itself.
        let _waited = timeout(KNOCK_AFTER, self.watch()).await;
        self.dial().await
    }

    /// Never returns: the peer dials. Where its first packets will come from matters only to an emulated link, which
    /// impairs the answers to them.
    async fn watch(&mut self) {
        while self.endpoint.emulation().is_some() {
            if let Ok(mut addresses) = self.name.resolve(self.endpoint.own_ip()).await {
                addresses.extend(self.last);
                self.endpoint.emulate(&self.region, &addresses);
            }
            sleep(WATCH_INTERVAL).await;
        }
        std::future::pending().await
    }

    /// Somebody dialled from here, which need not be where the peer's name leads. It may come to be the peer's link.
    pub(crate) fn hear_from(&self, address: SocketAddr) {
        let addresses: Vec<SocketAddr> = self.last.into_iter().chain([address]).collect();
        self.endpoint.emulate(&self.region, &addresses);
    }

    /// Where the peer was last.
    pub(crate) const fn last(&self) -> Option<SocketAddr> {
        self.last
    }

    /// The peer's link leads here.
    pub(crate) fn note(&mut self, address: SocketAddr) {
        self.last = Some(canonical(address));
        self.endpoint.emulate(&self.region, &[address]);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};

    use greenwich_proto::netem::LinkProfile;
    use parking_lot::Mutex;
    use tempfile::TempDir;

    use super::*;
    use crate::{
        certs::{self, CertificateFiles, Credentials, Overwrite},
        emulation::EmulationConfig,
        endpoint::EndpointConfig,
    };

    struct Cluster(TempDir);

    impl Cluster {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            certs::create_ca(dir.path(), "shop", Overwrite::No).unwrap();
            for region in ["us-east", "eu-west"] {
                certs::issue_node(dir.path(), region, Overwrite::No).unwrap();
            }
            Self(dir)
        }

        fn config(&self, region: &str, bind: SocketAddr) -> EndpointConfig {
            let files = CertificateFiles::in_dir(self.0.path(), region);
            EndpointConfig::new(bind, Arc::new(Credentials::load(&files).unwrap()))
        }

        /// A node that takes whoever dials.
        fn listener(&self, bind: SocketAddr) -> Arc<Endpoint> {
            let endpoint = Arc::new(Endpoint::bind(self.config("eu-west", bind)).unwrap());
            let mut acceptor = endpoint.acceptor();
            tokio::spawn(async move {
                let mut taken = Vec::new();
                while let Some(Ok(connection)) = acceptor.accept().await {
                    taken.push(connection);
                }
            });
            endpoint
        }
    }

    /// A name and what it stands for at present.
    fn name(answer: &Arc<Mutex<Vec<SocketAddr>>>) -> Name {
        let answer = Arc::clone(answer);
        let lookup = move |_: &str| Ok(answer.lock().clone());
        Name::with_lookup("eu.example:7".to_owned(), Arc::new(lookup))
    }

    fn any_v4() -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 0).into()
    }

    #[tokio::test]
    async fn a_name_is_asked_anew_with_each_dial_and_an_emulated_link_follows_it() {
        let cluster = Cluster::new();
        let mut config = cluster.config("us-east", any_v4());
        config.emulation = Some(EmulationConfig {
            links: vec![("eu-west".to_owned(), LinkProfile::with_rtt_us(2_000))],
            seed: 1,
        });
        let east = Arc::new(Endpoint::bind(config).unwrap());
        let (old, new) = (cluster.listener(any_v4()), cluster.listener(any_v4()));
        let answer = Arc::new(Mutex::new(vec![old.local_addr().unwrap()]));
        let mut dialler = Dialler::new(Arc::clone(&east), "eu-west".to_owned(), name(&answer));
        let emulated = || east.emulation().unwrap().counters("eu-west").offered;
        let first = dialler.dial().await.unwrap();
        assert_eq!(first.remote_addr(), old.local_addr().unwrap());
        let emulated_before = emulated();
        assert!(emulated_before > 0);

        old.close(0, "it moves");
        *answer.lock() = vec![new.local_addr().unwrap()];
        let second = dialler.dial().await.unwrap();
        assert_eq!(second.remote_addr(), new.local_addr().unwrap());
        assert!(emulated() > emulated_before);
    }

    #[tokio::test]
    async fn every_answer_is_tried_of_both_families_and_the_last_good_one_first() {
        let cluster = Cluster::new();
        let any = (Ipv6Addr::UNSPECIFIED, 0).into();
        let east = Arc::new(Endpoint::bind(cluster.config("us-east", any)).unwrap());
        let west = cluster.listener(any_v4());
        // As localhost does: nobody answers over IPv6.
        let nobody = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        let addresses = [&nobody.local_addr(), &west.local_addr()];
        let addresses = addresses.map(|address| *address.as_ref().unwrap());
        let answer = Arc::new(Mutex::new(addresses.to_vec()));
        let mut dialler = Dialler::new(east, "eu-west".to_owned(), name(&answer));
        let connection = dialler.dial().await.unwrap();
        let found = connection.remote_addr();
        assert_eq!(found.ip().to_canonical(), addresses[1].ip());
        dialler.note(found);

        nobody.set_nonblocking(true).unwrap();
        while nobody.recv(&mut [0; 2048]).is_ok() {}
        dialler.dial().await.unwrap();
        let heard = nobody.recv(&mut [0; 2048]);
        assert!(heard.is_err(), "the address that failed was dialled first");
    }

    #[tokio::test]
    async fn a_dial_that_fails_names_every_address() {
        let cluster = Cluster::new();
        let east = Arc::new(Endpoint::bind(cluster.config("us-east", any_v4())).unwrap());
        // Both are this node itself, whose certificate is not the peer's.
        let own = east.local_addr().unwrap();
        let mut acceptor = east.acceptor();
        tokio::spawn(async move { while acceptor.accept().await.is_some() {} });
        let answer = Arc::new(Mutex::new(vec![own, own]));
        let mut dialler = Dialler::new(east, "eu-west".to_owned(), name(&answer));
        let error = dialler.dial().await.unwrap_err();
        let text = error.to_string();
        assert_eq!(text.matches(&own.to_string()).count(), 4, "{text}");
        assert_eq!(error.redial(), crate::error::Redial::Rarely);
    }
}
