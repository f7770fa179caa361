//! Mutual TLS 1.3 for the replication port: both sides show a certificate of the cluster's CA, and the dialling side
//! insists on the region that it dialled. Sessions are never resumed, so every link checks certificates anew.

use std::sync::Arc;

use parking_lot::Mutex;
use quinn::{
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
    rustls::{
        self, CertificateError, DigitallySignedStruct, SignatureScheme,
        client::{
            Resumption, WebPkiServerVerifier,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, ServerName, UnixTime},
        server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier},
        version::TLS13,
    },
};

use crate::{certs::Credentials, identity::NodeName};

/// The version of the link, agreed on as TLS's application protocol: a peer that speaks another one is refused during the handshake.
pub(crate) const WIRE_VERSION: &str = "greenwich/1";

/// Why credentials cannot be used for TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The key does not fit the certificate, or either is of an unsupported kind.
    #[error("unusable certificate or key: {0}")]
    Credentials(#[from] rustls::Error),
    /// The CA certificate cannot be used to check peers.
    #[error("unusable CA certificate: {0}")]
    Authority(#[from] VerifierBuilderError),
    /// The cipher that QUIC starts with is missing.
    #[error("unusable cipher suites: {0}")]
    Ciphers(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// TLS for the accepting side.
pub(crate) fn server_config(credentials: &Credentials) -> Result<QuicServerConfig, TlsError> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&credentials.roots), provider())
            .build()?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(credentials.chain.clone(), credentials.key.clone_key())?;
    config.alpn_protocols = vec![WIRE_VERSION.into()];
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
        expected: expected.clone(),
        mismatch: Arc::clone(&mismatch),
    };
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(credentials.chain.clone(), credentials.key.clone_key())?;
    config.alpn_protocols = vec![WIRE_VERSION.into()];
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

/// The standard verification, which also remembers who answered when only the name was wrong, and checks the URI
/// beside the host name, so that both sides agree on one identity.
#[derive(Debug)]
struct PeerVerifier {
    chain: Arc<WebPkiServerVerifier>,
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
        if verdict.is_ok() && found.as_ref() == Some(&self.expected) {
            return verdict;
        }
        let named_otherwise = matches!(
            verdict,
            Ok(_)
                | Err(rustls::Error::InvalidCertificate(
                    CertificateError::NotValidForName
                        | CertificateError::NotValidForNameContext { .. }
                ))
        );
        if named_otherwise {
            *self.mismatch.0.lock() = found;
        }
        verdict.and(Err(CertificateError::NotValidForName.into()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
