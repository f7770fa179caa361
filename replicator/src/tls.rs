//! Mutual TLS 1.3 for the replication port: both sides show a certificate of the cluster's CA, and the dialling side
//! insists on the region that it dialled. Sessions are never resumed, so every link checks certificates anew.
//!
//! Verification is rustls' own. What is added is the text of a refusal, which names what was expected and what was
//! found; QUIC carries it to the refused peer, so that both sides log the same two values.

use std::sync::Arc;

use parking_lot::Mutex;
use quinn::{
    crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig},
    rustls::{
        self, CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme,
        client::{
            Resumption, WebPkiServerVerifier,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, ServerName, UnixTime},
        server::{
            NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier,
            danger::{ClientCertVerified, ClientCertVerifier},
        },
        version::TLS13,
    },
};

use crate::{authority, certs::Credentials, identity::NodeName};

/// The version of the link, agreed on as TLS's application protocol: a peer that speaks another one is refused during the handshake.
pub(crate) const WIRE_VERSION: &str = "greenwich/1";

/// The same version between two nodes that both read compressed batches ([`crate::compression`]).
const WIRE_VERSION_COMPRESSION: &str = "greenwich/1+zstd";

/// What is offered, and of the peer's offers the first of these is taken: a release that knows nothing of compression
/// gets plain batches.
fn protocols() -> Vec<Vec<u8>> {
    vec![WIRE_VERSION_COMPRESSION.into(), WIRE_VERSION.into()]
}

/// Whether both ends of a connection read compressed batches.
pub(crate) fn is_compression_agreed(connection: &quinn::Connection) -> bool {
    let agreed = connection
        .handshake_data()
        .and_then(|any| any.downcast::<HandshakeData>().ok())
        .and_then(|data| data.protocol);
    agreed.is_some_and(|protocol| protocol == WIRE_VERSION_COMPRESSION.as_bytes())
}

/// Why credentials cannot be used for TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The key does not fit the certificate, or either is of an unsupported kind.
    #[error("unusable certificate or key")]
    Credentials(#[from] rustls::Error),
    /// The CA certificate cannot be used to check peers.
    #[error("unusable CA certificate")]
    Authority(#[from] VerifierBuilderError),
    /// The cipher that QUIC starts with is missing.
    #[error("unusable cipher suites")]
    Ciphers(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// TLS for the accepting side.
pub(crate) fn server_config(credentials: &Credentials) -> Result<QuicServerConfig, TlsError> {
    let roots = Arc::clone(&credentials.roots);
    let verifier = DiallerVerifier {
        chain: WebPkiClientVerifier::builder_with_provider(roots, provider()).build()?,
        authorities: credentials.authorities.clone(),
    };
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(credentials.chain.clone(), credentials.key.clone_key())?;
    config.alpn_protocols = protocols();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config.try_into()?)
}

/// TLS for dialling `expected`, and where the name of a valid certificate of somebody else will be found.
pub(crate) fn client_config(
    credentials: &Credentials,
    expected: &NodeName,
) -> Result<(QuicClientConfig, Arc<Mismatch>), TlsError> {
    let mismatch = Arc::new(Mismatch::default());
    let roots = Arc::clone(&credentials.roots);
    let verifier = PeerVerifier {
        chain: WebPkiServerVerifier::builder_with_provider(roots, provider()).build()?,
        authorities: credentials.authorities.clone(),
        expected: expected.clone(),
        mismatch: Arc::clone(&mismatch),
    };
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(credentials.chain.clone(), credentials.key.clone_key())?;
    config.alpn_protocols = protocols();
    config.resumption = Resumption::disabled();
    Ok((config.try_into()?, mismatch))
}

/// The peer that answered in place of the dialled one.
#[derive(Debug, Default)]
pub(crate) struct Mismatch(Mutex<Option<NodeName>>);

impl Mismatch {
    pub(crate) fn found(&self) -> Option<NodeName> {
        self.0.lock().take()
    }
}

/// What precedes a text of ours in the reason of a failed handshake.
const TEXT_PREFIX: &str = "unexpected error: ";

/// A refusal's text as it was before rustls and QUIC carried it.
pub(crate) fn plain(reason: &str) -> &str {
    reason.strip_prefix(TEXT_PREFIX).unwrap_or(reason)
}

/// What is said when a peer shows no certificate.
pub(crate) fn none_found(authorities: &str) -> String {
    format!("expected one signed by {authorities}, found none")
}

/// Names both authorities where the certificate is not signed by one that is trusted. Other texts of rustls name both
/// values already, such as those of an expired certificate.
fn explain(
    error: rustls::Error,
    certificate: &CertificateDer<'_>,
    authorities: &str,
) -> rustls::Error {
    let is_foreign = matches!(
        error,
        rustls::Error::InvalidCertificate(
            CertificateError::BadSignature | CertificateError::UnknownIssuer
        )
    );
    match is_foreign {
        true => rustls::Error::General(format!(
            "expected one signed by {authorities}, found {}",
            authority::describe(certificate)
        )),
        false => error,
    }
}

/// What both verifiers leave to the standard one.
macro_rules! signatures_as_usual {
    ($($verify:ident)*) => {
        $(fn $verify(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            self.chain.$verify(message, certificate, signature)
        })*

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.chain.supported_verify_schemes()
        }
    };
}

/// The standard verification of a node that dials in. Whom its certificate names is looked at once the link is there.
#[derive(Debug)]
struct DiallerVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    authorities: String,
}

impl ClientCertVerifier for DiallerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verdict = self
            .chain
            .verify_client_cert(end_entity, intermediates, now);
        verdict.map_err(|error| explain(error, end_entity, &self.authorities))
    }

    signatures_as_usual!(verify_tls12_signature verify_tls13_signature);
}

/// The standard verification of the node that was dialled, which also remembers who answered when only the name was
/// wrong, and checks the URI beside the host name, so that both sides agree on one identity.
#[derive(Debug)]
struct PeerVerifier {
    chain: Arc<WebPkiServerVerifier>,
    authorities: String,
    expected: NodeName,
    mismatch: Arc<Mismatch>,
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self.chain.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        let found = NodeName::of_certificate(end_entity);
        match verdict {
            Ok(verified) if found.as_ref() == Some(&self.expected) => Ok(verified),
            Ok(_)
            | Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => {
                *self.mismatch.0.lock() = found;
                Err(rustls::Error::General(format!(
                    "expected one for {}, found one for {}",
                    self.expected,
                    authority::bearer(end_entity)
                )))
            }
            Err(error) => Err(explain(error, end_entity, &self.authorities)),
        }
    }

    signatures_as_usual!(verify_tls12_signature verify_tls13_signature);
}
