//! The TLS configuration: versions and trusted authorities.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use crate::text::Clean;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, Der, TrustAnchor};
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest, Sha256};

/// The only protocol that the client offers, because the service's own SDKs use nothing newer.
const HTTP_1_1: &[u8] = b"http/1.1";

/// Characters of a reason that are kept.
const MAX_CAUSE: usize = 256;

/// Why the TLS configuration failed.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The CA bundle is not PEM, or a certificate in it cannot be read.
    #[error("the CA bundle cannot be read: {0}")]
    Bundle(String),
    /// The CA bundle holds no certificate.
    #[error("the CA bundle holds no certificate")]
    EmptyBundle,
    /// The cryptography does not offer the versions of TLS that are wanted.
    #[error("TLS 1.2 and 1.3 are not available")]
    Versions(#[source] rustls::Error),
}

/// Identifies a CA bundle.
pub(crate) type BundleDigest = [u8; 32];

/// The configurations of transports that exist, by the digest of their CA bundle.
static SHARED: Mutex<BTreeMap<Option<BundleDigest>, Weak<ClientConfig>>> = Mutex::new(BTreeMap::new());

/// The digest of a CA bundle.
pub(crate) fn digest(ca_bundle_pem: Option<&str>) -> Option<BundleDigest> {
    ca_bundle_pem.map(|bundle| Sha256::digest(bundle).into())
}

/// The TLS configuration for a CA bundle, if a transport has it in memory.
pub(crate) fn in_memory(digest: Option<BundleDigest>) -> Option<Arc<ClientConfig>> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).and_then(Weak::upgrade)
}

/// The TLS configuration for a CA bundle. Transports with the same bundle share one, while any of them exists.
pub(crate) fn config(ca_bundle_pem: Option<&str>) -> Result<Arc<ClientConfig>, TlsError> {
    let digest = digest(ca_bundle_pem);
    if let Some(config) = in_memory(digest) {
        return Ok(config);
    }
    let config = Arc::new(new_config(ca_bundle_pem)?);
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.retain(|_, config| config.strong_count() > 0);
    shared.insert(digest, Arc::downgrade(&config));
    Ok(config)
}

/// TLS 1.2 or newer, with this crate's own cryptography provider instead of the process default. Trusts the system's
/// certificate authorities and those of the bundle.
fn new_config(ca_bundle_pem: Option<&str>) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.extend(system_roots().roots.iter().map(borrowed));
    if let Some(bundle) = ca_bundle_pem {
        add_bundle(&mut roots, bundle)?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Versions)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    // A server says how large the tickets are that would be kept for it.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The system's certificate authorities; in a container without any, the set that Mozilla maintains.
///
/// One of the two, never both: an administrator who removes an authority from the system's store does not want
/// Mozilla's copy of it. Read once for the process and shared, because a copy for each client would be larger than
/// the rest of the client.
fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        roots
    })
}

/// The same trust anchor, borrowing its content.
fn borrowed(anchor: &'static TrustAnchor<'static>) -> TrustAnchor<'static> {
    TrustAnchor {
        subject: Der::from_slice(&anchor.subject),
        subject_public_key_info: Der::from_slice(&anchor.subject_public_key_info),
        name_constraints: anchor.name_constraints.as_ref().map(|constraints| Der::from_slice(constraints)),
    }
}

fn add_bundle(roots: &mut RootCertStore, bundle: &str) -> Result<(), TlsError> {
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        // The reader's own message repeats the unreadable text in full.
        let certificate = certificate.map_err(|error| TlsError::Bundle(short(&error)))?;
        roots.add(certificate).map_err(|error| TlsError::Bundle(short(&error)))?;
    }
    if roots.len() == before { Err(TlsError::EmptyBundle) } else { Ok(()) }
}

fn short(error: &dyn std::fmt::Display) -> String {
    Clean::line(&error.to_string()).chars().take(MAX_CAUSE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t07_a_bundle_without_a_readable_certificate_is_refused() {
        assert!(matches!(config(Some("")), Err(TlsError::EmptyBundle)));
        assert!(matches!(config(Some("not PEM at all")), Err(TlsError::EmptyBundle)));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(config(Some(broken)), Err(TlsError::Bundle(_))));
        let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        assert!(matches!(config(Some(cut)), Err(TlsError::Bundle(_))));
    }

    #[test]
    fn t17_the_same_trust_is_in_memory_once() {
        let bundle = || rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap().cert.pem();
        let (one, other) = (bundle(), bundle());
        let of_one = config(Some(&one)).unwrap();
        assert!(Arc::ptr_eq(&of_one, &config(Some(&one)).unwrap()));
        assert!(!Arc::ptr_eq(&of_one, &config(Some(&other)).unwrap()));
        let untrusting = config(None).unwrap();
        assert!(Arc::ptr_eq(&untrusting, &config(None).unwrap()));
        assert!(!Arc::ptr_eq(&untrusting, &of_one));
    }

    #[test]
    fn only_http_1_1_is_offered() {
        assert_eq!(config(None).unwrap().alpn_protocols, [b"http/1.1".to_vec()]);
    }
}
