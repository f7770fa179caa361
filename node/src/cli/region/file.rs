//! The configuration of the node of a region that was added.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::super::nodes::NodesArgs;
use crate::regions::{Addition, Regions};

/// Where `up` and the examples put ports: clients 1,000 below the replication port, the admin port 2,000 above.
const CLIENT_BELOW: u16 = 1_000;
const ADMIN_ABOVE: u16 = 2_000;

/// What stands for an address that nobody has told.
const UNKNOWN: &str = "FILL-IN:7401";

/// The file of the new node, as far as the node that was told knows the cluster.
pub(super) fn configuration(addition: &Addition, told: &Regions, nodes: &NodesArgs) -> String {
    let Addition {
        region,
        id,
        address,
    } = addition;
    let certs = certificates(nodes);
    let certs = certs.display();
    let mut out = format!(
        "# Made by `greenwich region add`. `greenwich node --print-config` lists every setting.\n\
         cluster = \"{}\"\ndata_dir = \"{region}\"\n\n\
         [region]\nname = \"{region}\"\nid = {id}\n\n\
         {}\
         ca = \"{certs}/ca.pem\"\ncert = \"{certs}/{region}.pem\"\nkey = \"{certs}/{region}-key.pem\"\n",
        told.cluster,
        ports(address)
    );
    let others = told
        .others
        .iter()
        .filter(|other| !other.removed && other.region != *region);
    let others = others.map(|other| (&other.region, other.id, other.address.as_str()));
    let own = (
        &told.region,
        told.id,
        told.address.as_deref().unwrap_or(UNKNOWN),
    );
    for (region, id, address) in std::iter::once(own).chain(others) {
        let peer = format!(
            "\n[[replication.peers]]\nregion = \"{region}\"\nid = {id}\naddress = \"{address}\"\n"
        );
        out += &peer;
    }
    if told.address.is_none() {
        writeln!(
            out,
            "# {UNKNOWN}: where the replication port of {} is reached.",
            told.region
        )
        .expect("a String takes all");
    }
    out
}

/// On this machine the ports beside the replication port are as `up` has them; elsewhere they have their defaults.
fn ports(address: &str) -> String {
    let port = address
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse::<u16>().ok());
    let local = address
        .parse::<SocketAddr>()
        .ok()
        .filter(|address| address.ip().is_loopback());
    match (local, port) {
        (Some(local), Some(port)) => {
            let at = |port: Option<u16>| {
                let port = port.filter(|port| *port > 0).unwrap_or_default();
                SocketAddr::new(local.ip(), port)
            };
            format!(
                "[client]\nbind = \"{}\"\n\n[admin]\nbind = \"{}\"\n\n[replication]\nbind = \"{local}\"\n",
                at(port.checked_sub(CLIENT_BELOW)),
                at(port.checked_add(ADMIN_ABOVE)),
            )
        }
        (_, port) => {
            let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port.unwrap_or(7401));
            format!("[replication]\nbind = \"{any}\"\n")
        }
    }
}

/// Where the certificates of a cluster of `up` are; elsewhere beside the file.
fn certificates(nodes: &NodesArgs) -> PathBuf {
    let of_up = nodes.data_of_up().map(|data| data.join("certs"));
    let of_up = of_up.and_then(|path| std::path::absolute(path).ok());
    of_up.unwrap_or_else(|| "certs".into())
}

/// What is to be done with it.
pub(super) fn next_step(region: &str, file: Option<&Path>, nodes: &NodesArgs) -> String {
    let certs = certificates(nodes);
    let file = file.map_or_else(|| "FILE".to_owned(), |file| file.display().to_string());
    format!(
        "Next, unless it has a certificate: greenwich certs node --region {region} --out {}\n\
         Then, with an empty data_dir: greenwich node --config {file}\n",
        certs.display()
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::Config;
    use crate::regions::Other;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        nodes: NodesArgs,
    }

    #[test]
    fn what_is_printed_is_a_configuration() {
        let nodes = Line::parse_from(["region", "--admin", "127.0.0.1:1"]).nodes;
        let other = |region: &str, id, removed| Other {
            region: region.into(),
            id,
            address: format!("{region}.example:7401"),
            removed,
            by_command: false,
            informed: true,
            link: None,
            reason: None,
        };
        let told = Regions {
            cluster: "shop".into(),
            region: "us-east".into(),
            id: 1,
            address: Some("us-east.example:7401".into()),
            others: vec![other("eu-west", 2, false), other("ap-south", 3, true)],
        };
        for (address, bind) in [
            ("us-west.example:7409", "0.0.0.0:7409"),
            ("127.0.0.1:7404", "127.0.0.1:7404"),
        ] {
            let addition = Addition {
                region: "us-west".into(),
                id: 4,
                address: address.into(),
            };
            let text = configuration(&addition, &told, &nodes);
            let read = Config::parse(&text, Path::new("node.toml")).unwrap();
            assert_eq!((read.region.name.as_str(), read.region.id), ("us-west", 4));
            assert_eq!(read.replication.bind.to_string(), bind);
            let peers: Vec<_> = read
                .replication
                .peers
                .iter()
                .map(|peer| peer.region.as_str())
                .collect();
            assert_eq!(peers, ["us-east", "eu-west"]);
        }
    }
}
