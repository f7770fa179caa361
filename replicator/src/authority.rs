//! Who vouches for a certificate, in the words of a refusal: the authority's name and the identifier of its key, by
//! which two authorities of the same name differ. Nothing is verified here.

use std::fmt;

use quinn::rustls::pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate, extensions::ParsedExtension, prelude::FromDer, x509::X509Name,
};

use crate::identity::NodeName;

/// A name that a peer chose goes into the log: bounded, and without control characters.
const NAME_CHARS_MAX: usize = 100;

/// The first bytes of a key's identifier, which is itself a digest of the key, tell keys apart.
const KEY_BYTES_SHOWN: usize = 8;

/// An authority: `CN=greenwich shop CA (key 8f0c2d5e9b1a7743)`. The key is what
/// `openssl x509 -ext subjectKeyIdentifier,authorityKeyIdentifier` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    name: String,
    key: Option<String>,
}

impl Authority {
    /// Which authority this certificate of one is; `None` when it cannot be read.
    pub(crate) fn of_ca(certificate: &CertificateDer<'_>) -> Option<Self> {
        Self::read(
            certificate,
            |it| it.subject(),
            |extension| {
                let ParsedExtension::SubjectKeyIdentifier(own) = extension else {
                    return None;
                };
                Some(own.0)
            },
        )
    }

    /// Which authority this certificate says that it is of; `None` when it cannot be read.
    pub(crate) fn of_issuer(certificate: &CertificateDer<'_>) -> Option<Self> {
        Self::read(
            certificate,
            |it| it.issuer(),
            |extension| {
                let ParsedExtension::AuthorityKeyIdentifier(signers) = extension else {
                    return None;
                };
                Some(signers.key_identifier.as_ref()?.0)
            },
        )
    }

    fn read(
        certificate: &CertificateDer<'_>,
        name: impl for<'a> Fn(&'a X509Certificate<'a>) -> &'a X509Name<'a>,
        key: impl for<'a> Fn(&'a ParsedExtension<'a>) -> Option<&'a [u8]>,
    ) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let mut extensions = parsed.extensions().iter();
        let key = extensions.find_map(|extension| key(extension.parsed_extension()));
        let shown = |key: &[u8]| {
            let bytes = key.iter().take(KEY_BYTES_SHOWN);
            bytes.map(|byte| format!("{byte:02x}")).collect()
        };
        Some(Self {
            name: words(name(&parsed)),
            key: key.map(shown),
        })
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.key {
            Some(key) => write!(f, " (key {key})"),
            None => Ok(()),
        }
    }
}

/// Whom a certificate names and who issued it, by its own account.
pub(crate) fn describe(certificate: &CertificateDer<'_>) -> String {
    let Some(authority) = Authority::of_issuer(certificate) else {
        return "an unreadable certificate".to_owned();
    };
    format!("one for {} by {authority}", bearer(certificate))
}

/// Whom a certificate names: a region, or else its subject.
pub(crate) fn bearer(certificate: &CertificateDer<'_>) -> String {
    let region = NodeName::of_certificate(certificate).map(|name| name.to_string());
    region.unwrap_or_else(|| {
        let parsed = X509Certificate::from_der(certificate);
        parsed.map_or_else(|_| "nobody".to_owned(), |(_, it)| words(it.subject()))
    })
}

fn words(name: &X509Name<'_>) -> String {
    let text = name.to_string();
    let shown = text.chars().take(NAME_CHARS_MAX);
    let clean: String = shown
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match clean.is_empty() {
        true => "an authority without a name".to_owned(),
        false => clean,
    }
}

#[cfg(test)]
mod tests {
    use quinn::rustls::pki_types::pem::PemObject;

    use super::*;
    use crate::certs::{CertificateFiles, Overwrite, create_ca, issue_node};

    fn certificates(cluster: &str) -> (CertificateDer<'static>, CertificateDer<'static>) {
        let dir = tempfile::tempdir().unwrap();
        create_ca(dir.path(), cluster, Overwrite::No).unwrap();
        issue_node(dir.path(), "eu-west", Overwrite::No).unwrap();
        let files = CertificateFiles::in_dir(dir.path(), "eu-west");
        let read = |path| CertificateDer::from_pem_file(path).unwrap();
        (read(&files.ca), read(&files.certificate))
    }

    #[test]
    fn a_certificate_and_its_authority_agree_and_another_of_the_same_name_does_not() {
        let (ca, node) = certificates("shop");
        let ours = Authority::of_ca(&ca).unwrap();
        assert_eq!(Authority::of_issuer(&node), Some(ours.clone()));
        let (other, _) = certificates("shop");
        let theirs = Authority::of_ca(&other).unwrap();
        assert_eq!(theirs.name, ours.name);
        assert_ne!(theirs.key, ours.key);
        let text = describe(&node);
        assert_eq!(text, format!("one for greenwich://shop/eu-west by {ours}"));
        assert!(text.contains("CN=greenwich shop CA (key "), "{text}");
    }

    #[test]
    fn whom_a_certificate_names_is_told_even_when_it_names_no_region() {
        let (ca, _) = certificates("shop");
        assert_eq!(bearer(&ca), "CN=greenwich shop CA");
        let junk = CertificateDer::from_slice(b"junk");
        assert_eq!(bearer(&junk), "nobody");
        assert_eq!(describe(&junk), "an unreadable certificate");
    }
}
