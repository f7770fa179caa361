//! The cluster's certificate authority and its nodes' certificates, as PEM files in a directory, and back into
//! what TLS needs. It knows files and names; it does not know sockets.
//!
//! | file | what | mode |
//! |---|---|---|
//! | `ca.pem`, `ca-key.pem` | the cluster's CA, valid ten years; the key is needed only to issue | key 0600 |
//! | `REGION.pem`, `REGION-key.pem` | a node's certificate, valid two years | key 0600 |

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use quinn::rustls::{
    self, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::{
    authority::Authority,
    files::{self, write_whole},
    identity::{BadName, NodeName, check_name, cluster_of_ca, cluster_uri},
};

/// A certificate or key file that cannot be made or used; names the file. What the system said is the error's source.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    /// A file is in the way.
    #[error("{} exists already: remove it or ask to overwrite", .0.display())]
    Exists(PathBuf),
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: expected {expected}, found {found}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
        /// What is in it.
        found: String,
    },
    /// A name that no certificate can carry.
    #[error(transparent)]
    Name(#[from] BadName),
    /// The certificate cannot be built.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
}

/// Whether files that are in the way are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// Refuse, and leave everything as it is.
    No,
    /// Replace them.
    Yes,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const CA_DAYS: u32 = 3_650;
const NODE_DAYS: u32 = 730;

/// Certificates are valid from a day ago, so that a machine whose clock is behind can use a fresh one.
const BACKDATED: Duration = DAY;

/// Where a node's credentials are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The cluster's CA certificate.
    pub ca: PathBuf,
    /// The node's certificate, leaf first.
    pub certificate: PathBuf,
    /// The node's private key.
    pub key: PathBuf,
}

impl CertificateFiles {
    /// The files that [`create_ca`] and [`issue_node`] write.
    #[must_use]
    pub fn in_dir(dir: &Path, region: &str) -> Self {
        Self {
            ca: dir.join("ca.pem"),
            certificate: dir.join(format!("{region}.pem")),
            key: dir.join(format!("{region}-key.pem")),
        }
    }
}

fn ca_key_path(dir: &Path) -> PathBuf {
    dir.join("ca-key.pem")
}

/// Makes the CA of `cluster` in `dir`, which is made if it is missing. Certificates issued by a CA that is
/// overwritten become worthless.
///
/// # Errors
/// [`CertError`]; without [`Overwrite::Yes`] nothing is written when a file is in the way.
pub fn create_ca(dir: &Path, cluster: &str, overwrite: Overwrite) -> Result<(), CertError> {
    check_name(cluster)?;
    fs::create_dir_all(dir).map_err(|source| file_error(dir, source))?;
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
    let mut params = dated_params(CA_DAYS);
    params
        .distinguished_name
        .push(DnType::CommonName, format!("greenwich {cluster} CA"));
    params.subject_alt_names = vec![SanType::URI(cluster_uri(cluster).try_into()?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    let path = CertificateFiles::in_dir(dir, "").ca;
    write_pair(
        &path,
        &certificate.pem(),
        &ca_key_path(dir),
        &key.serialize_pem(),
        overwrite,
    )
}

/// Makes a certificate for the node of `region` with the CA in `dir`, beside it.
///
/// # Errors
/// [`CertError`]; without [`Overwrite::Yes`] nothing is written when a file is in the way.
pub fn issue_node(dir: &Path, region: &str, overwrite: Overwrite) -> Result<NodeName, CertError> {
    let files = CertificateFiles::in_dir(dir, region);
    let ca = read_certificates(&files.ca)?.swap_remove(0);
    let ca_key = read_ca_key(&ca_key_path(dir))?;
    let cluster = cluster_of_ca(&ca).ok_or_else(|| CertError::Content {
        path: files.ca.clone(),
        expected: "a CA certificate that names greenwich://CLUSTER",
        found: "none".to_owned(),
    })?;
    let name = NodeName::new(&cluster, region)?;
    let issuer = Issuer::from_ca_cert_der(&ca, ca_key)?;
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
    let mut params = dated_params(NODE_DAYS);
    params
        .distinguished_name
        .push(DnType::CommonName, format!("greenwich {cluster} {region}"));
    params.subject_alt_names = vec![
        SanType::URI(name.uri().try_into()?),
        SanType::DnsName(name.dns_name().try_into()?),
    ];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer)?;
    let (pem, key_pem) = (certificate.pem(), key.serialize_pem());
    write_pair(&files.certificate, &pem, &files.key, &key_pem, overwrite)?;
    Ok(name)
}

fn dated_params(days: u32) -> CertificateParams {
    let mut params = CertificateParams::default();
    let now = SystemTime::now();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + DAY * days).into();
    params
}

/// What a node shows to its peers and what it trusts.
#[derive(Debug)]
pub struct Credentials {
    /// Whom the certificate names.
    pub name: NodeName,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) roots: Arc<RootCertStore>,
    /// Whose certificates are trusted, for messages.
    pub(crate) authorities: String,
}

impl Credentials {
    /// Reads a node's credentials.
    ///
    /// # Errors
    /// [`CertError`] naming the file.
    pub fn load(files: &CertificateFiles) -> Result<Self, CertError> {
        let mut roots = RootCertStore::empty();
        let mut authorities = Vec::new();
        for certificate in read_certificates(&files.ca)? {
            authorities.extend(Authority::of_ca(&certificate).map(|it| it.to_string()));
            let bad = |e: rustls::Error| content_error(&files.ca, "a CA certificate", &e);
            roots.add(certificate).map_err(bad)?;
        }
        let chain = read_certificates(&files.certificate)?;
        let name = NodeName::of_certificate(&chain[0]).ok_or_else(|| CertError::Content {
            path: files.certificate.clone(),
            expected: "a certificate that names greenwich://CLUSTER/REGION",
            found: "one that names no region".to_owned(),
        })?;
        let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?)
            .map_err(|e| content_error(&files.key, "a PEM private key", &e))?;
        Ok(Self {
            name,
            chain,
            key,
            roots: Arc::new(roots),
            authorities: authorities.join(" or "),
        })
    }
}

/// At least one certificate.
fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertError> {
    const EXPECTED: &str = "PEM certificates";
    let certificates = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| content_error(path, EXPECTED, &e))?;
    match certificates.is_empty() {
        true => Err(content_error(path, EXPECTED, &"none")),
        false => Ok(certificates),
    }
}

fn read_ca_key(path: &Path) -> Result<KeyPair, CertError> {
    let expected = "a PEM private key";
    let text = String::from_utf8(read(path)?).map_err(|e| content_error(path, expected, &e))?;
    KeyPair::from_pem(&text).map_err(|e| content_error(path, expected, &e))
}

fn read(path: &Path) -> Result<Vec<u8>, CertError> {
    fs::read(path).map_err(|source| file_error(path, source))
}

fn file_error(path: &Path, source: io::Error) -> CertError {
    CertError::File {
        path: path.to_owned(),
        source,
    }
}

fn content_error(path: &Path, expected: &'static str, found: &dyn std::fmt::Display) -> CertError {
    CertError::Content {
        path: path.to_owned(),
        expected,
        found: found.to_string(),
    }
}

fn write_pair(
    certificate: &Path,
    pem: &str,
    key: &Path,
    key_pem: &str,
    overwrite: Overwrite,
) -> Result<(), CertError> {
    if let Overwrite::No = overwrite
        && let Some(path) = [certificate, key].into_iter().find(|path| path.exists())
    {
        return Err(CertError::Exists(path.to_owned()));
    }
    for (path, pem, mode) in [
        (key, key_pem, files::PRIVATE),
        (certificate, pem, files::PUBLIC),
    ] {
        write_whole(path, pem.as_bytes(), mode).map_err(|source| file_error(path, source))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn issued_credentials_name_their_region_and_keys_are_private() {
        let dir = tempfile::tempdir().unwrap();
        create_ca(dir.path(), "shop", Overwrite::No).unwrap();
        let name = issue_node(dir.path(), "eu-west", Overwrite::No).unwrap();
        let files = CertificateFiles::in_dir(dir.path(), "eu-west");
        let credentials = Credentials::load(&files).unwrap();
        assert_eq!(credentials.name, name);
        assert_eq!(name.to_string(), "greenwich://shop/eu-west");
        for key in [&files.key, &ca_key_path(dir.path())] {
            let mode = fs::metadata(key).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, files::PRIVATE, "{}", key.display());
        }
    }

    #[test]
    fn nothing_is_overwritten_unless_asked() {
        let dir = tempfile::tempdir().unwrap();
        create_ca(dir.path(), "shop", Overwrite::No).unwrap();
        let before = fs::read(dir.path().join("ca.pem")).unwrap();
        let refused = create_ca(dir.path(), "shop", Overwrite::No).unwrap_err();
        assert!(matches!(refused, CertError::Exists(_)), "{refused}");
        assert_eq!(fs::read(dir.path().join("ca.pem")).unwrap(), before);
        create_ca(dir.path(), "shop", Overwrite::Yes).unwrap();
        assert_ne!(fs::read(dir.path().join("ca.pem")).unwrap(), before);
    }

    #[test]
    fn errors_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let missing = issue_node(dir.path(), "eu-west", Overwrite::No).unwrap_err();
        assert!(missing.to_string().contains("ca.pem"), "{missing}");
        create_ca(dir.path(), "shop", Overwrite::No).unwrap();
        issue_node(dir.path(), "eu-west", Overwrite::No).unwrap();
        let files = CertificateFiles::in_dir(dir.path(), "eu-west");
        fs::write(&files.key, "not a key").unwrap();
        let broken = Credentials::load(&files).unwrap_err();
        assert!(broken.to_string().contains("eu-west-key.pem"), "{broken}");
        fs::write(&files.certificate, "").unwrap();
        let empty = Credentials::load(&files).unwrap_err();
        assert!(
            empty
                .to_string()
                .contains("expected PEM certificates, found none"),
            "{empty}"
        );
    }

    #[test]
    fn bad_names_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            create_ca(dir.path(), "Shop", Overwrite::No),
            Err(CertError::Name(_))
        ));
        create_ca(dir.path(), "shop", Overwrite::No).unwrap();
        let refused = issue_node(dir.path(), "eu/west", Overwrite::No).unwrap_err();
        assert!(matches!(refused, CertError::Name(_)), "{refused}");
    }
}
