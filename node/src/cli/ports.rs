//! Whether ports are free, found out before anything is started.
//!
//! The client port is later bound with `SO_REUSEPORT`, under which a second node would silently
//! share it. The check binds without, so that the clash is seen.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use thiserror::Error;

use crate::config::Config;

/// A port that is about to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    address: SocketAddr,
    purpose: Purpose,
    region: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Redis,
    Admin,
    Replication,
}

/// A port that cannot be used.
#[derive(Debug, Error)]
pub(crate) enum PortError {
    #[error("{0} is already in use")]
    InUse(Claim),
    #[error("{0} cannot be used: {1}")]
    Unusable(Claim, io::Error),
}

/// The three ports of a node.
pub(crate) fn claims(config: &Config) -> [Claim; 3] {
    let claim = |address, purpose| Claim {
        address,
        purpose,
        region: config.region.name.clone(),
    };
    [
        claim(config.client.bind, Purpose::Redis),
        claim(config.admin.bind, Purpose::Admin),
        claim(config.replication.bind, Purpose::Replication),
    ]
}

/// Binds every port at once and lets all go again.
pub(crate) fn check(claims: &[Claim]) -> Result<(), PortError> {
    let mut tcp = Vec::new();
    let mut udp = Vec::new();
    for claim in claims {
        let bound = match claim.purpose {
            Purpose::Redis | Purpose::Admin => {
                TcpListener::bind(claim.address).map(|it| tcp.push(it))
            }
            Purpose::Replication => UdpSocket::bind(claim.address).map(|it| udp.push(it)),
        };
        match bound {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(PortError::InUse(claim.clone()));
            }
            Err(error) => return Err(PortError::Unusable(claim.clone(), error)),
        }
    }
    Ok(())
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (protocol, purpose) = match self.purpose {
            Purpose::Redis => ("TCP", "Redis"),
            Purpose::Admin => ("TCP", "admin"),
            Purpose::Replication => ("UDP", "replication"),
        };
        write!(
            f,
            "{protocol} {} ({purpose} port of {})",
            self.address, self.region
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(client: SocketAddr) -> Config {
        let mut config = Config::example("us-east", 1);
        for bind in [
            &mut config.client.bind,
            &mut config.admin.bind,
            &mut config.replication.bind,
        ] {
            *bind = SocketAddr::from(([127, 0, 0, 1], 0));
        }
        config.client.bind = client;
        config
    }

    #[test]
    fn a_port_in_use_is_named_with_its_purpose() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let refused = check(&claims(&config(address))).unwrap_err().to_string();
        assert_eq!(
            refused,
            format!("TCP {address} (Redis port of us-east) is already in use")
        );
    }

    #[test]
    fn free_ports_are_free_again_after_the_check() {
        let free = claims(&config(SocketAddr::from(([127, 0, 0, 1], 0))));
        assert!(check(&free).is_ok());
        assert!(check(&free).is_ok());
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 6401));
        let refused = check(&claims(&config(elsewhere))).unwrap_err().to_string();
        assert!(
            refused.starts_with("TCP 192.0.2.1:6401 (Redis port of us-east) cannot be used"),
            "{refused}"
        );
    }
}
