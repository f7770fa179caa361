//! Whom a certificate speaks for: a region of a cluster, written as a URI and as a DNS name in the certificate.

use std::fmt;

use quinn::rustls::pki_types::CertificateDer;

/// A region of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeName {
    /// The cluster.
    pub cluster: String,
    /// The region in it.
    pub region: String,
}

/// A cluster or region name that cannot be part of a host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name: expected 1 to 63 of a-z, 0-9 and -, not starting or ending with -")]
pub struct BadName(pub String);

const SCHEME: &str = "greenwich://";

/// `.internal` is reserved for private use, so the names can never be somebody else's hosts.
const DNS_SUFFIX: &str = "greenwich.internal";

const NAME_CHARS_MAX: usize = 63;

/// Checks a cluster or region name: a host name label in lower case.
///
/// # Errors
/// [`BadName`] with the name.
pub fn check_name(name: &str) -> Result<(), BadName> {
    let of_label = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let inside = !name.starts_with('-') && !name.ends_with('-');
    match (1..=NAME_CHARS_MAX).contains(&name.len()) && inside && name.bytes().all(of_label) {
        true => Ok(()),
        false => Err(BadName(name.to_owned())),
    }
}

impl NodeName {
    /// Both names, checked.
    ///
    /// # Errors
    /// [`BadName`] when one of them is no host name label.
    pub fn new(cluster: &str, region: &str) -> Result<Self, BadName> {
        check_name(cluster)?;
        check_name(region)?;
        Ok(Self {
            cluster: cluster.to_owned(),
            region: region.to_owned(),
        })
    }

    /// The name that TLS checks: `REGION.CLUSTER.greenwich.internal`.
    #[must_use]
    pub fn dns_name(&self) -> String {
        format!("{}.{}.{DNS_SUFFIX}", self.region, self.cluster)
    }

    /// The URI in the certificate: `greenwich://CLUSTER/REGION`.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("{SCHEME}{}/{}", self.cluster, self.region)
    }

    /// Whom this certificate names. The certificate's signature is not checked here.
    #[must_use]
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Option<Self> {
        let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
        parsed.valid_uri_names().find_map(|uri| {
            let (cluster, region) = uri.strip_prefix(SCHEME)?.split_once('/')?;
            Self::new(cluster, region).ok()
        })
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri())
    }
}

/// The URI that names a cluster in its CA's certificate.
pub(crate) fn cluster_uri(cluster: &str) -> String {
    format!("{SCHEME}{cluster}")
}

/// The cluster whose CA this certificate is.
pub(crate) fn cluster_of_ca(certificate: &CertificateDer<'_>) -> Option<String> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    parsed.valid_uri_names().find_map(|uri| {
        let cluster = uri.strip_prefix(SCHEME)?;
        check_name(cluster).ok()?;
        Some(cluster.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_host_name_labels() {
        for good in ["a", "eu-west", "region1", &"x".repeat(63)] {
            assert_eq!(check_name(good), Ok(()));
        }
        for bad in ["", "-a", "a-", "EU", "a.b", "a_b", "ü", &"x".repeat(64)] {
            assert_eq!(check_name(bad), Err(BadName(bad.to_owned())));
        }
    }

    #[test]
    fn a_name_is_written_as_uri_and_host() {
        let name = NodeName::new("shop", "eu-west").unwrap();
        assert_eq!(name.to_string(), "greenwich://shop/eu-west");
        assert_eq!(name.dns_name(), "eu-west.shop.greenwich.internal");
    }

    #[test]
    fn no_certificate_names_nobody() {
        assert_eq!(
            NodeName::of_certificate(&CertificateDer::from_slice(b"junk")),
            None
        );
    }
}
