//! The emulator's own certificate authority and the server's certificate.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{RootCertStore, ServerConfig};
use time::OffsetDateTime;

use crate::config::Tls;

/// File name of the authority's certificate inside [`Tls::dir`].
pub const CA_CERT: &str = "ca.crt";

/// File name of the authority's private key.
const CA_KEY: &str = "ca.key";

/// Name of the authority. Clients recognise an authority by its key, so the name never changes.
const CA_NAME: &str = "functiongraph-emulator local CA";

/// Names that the certificate always has.
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Certificates are valid from a day ago, because clocks of containers and virtual machines may be slow.
const BACKDATED: SignedDuration = SignedDuration::from_hours(24);

/// The authority is valid for ten years, so that you trust it only once.
const CA_LIFE: SignedDuration = SignedDuration::from_hours(24 * 3650);

/// The server's certificate is re-created at every start. Some systems distrust certificates valid for more than 825
/// days.
const SERVER_LIFE: SignedDuration = SignedDuration::from_hours(24 * 365);

/// Why there is no certificate for the server.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of the authority could not be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The files exist, but they hold no valid authority of the emulator.
    #[error("{} does not hold a valid authority of the emulator; remove {CA_CERT} and {CA_KEY}, and the emulator creates a new one", .0.display())]
    ForeignAuthority(PathBuf),
    /// A certificate could not be created, usually because one of the additional names is invalid.
    #[error("cannot create a certificate; check the additional names")]
    Certificate(#[from] rcgen::Error),
    /// The TLS library refused the certificate.
    #[error("cannot serve TLS")]
    Rustls(#[from] rustls::Error),
}

/// The authority's certificate as PEM, and the configuration of the server.
pub(crate) struct Identity {
    pub(crate) ca_pem: String,
    pub(crate) server: ServerConfig,
}

/// Loads or creates the authority, and signs a new certificate for the server with it.
pub(crate) fn identity(tls: &Tls, now: Timestamp) -> Result<Identity, TlsError> {
    let params = authority_params(now);
    let (ca_pem, ca_key, loaded_from) = match &tls.dir {
        None => {
            let key = KeyPair::generate()?;
            (params.self_signed(&key)?.pem(), key, None)
        }
        Some(dir) => {
            let (pem, key) = match load(dir)? {
                Some(found) => found,
                None => make(dir, &params)?,
            };
            (pem, key, Some(dir))
        }
    };

    let key = KeyPair::generate()?;
    let names: Vec<String> =
        OWN_NAMES.into_iter().map(str::to_owned).chain(tls.names.iter().cloned()).collect();
    let mut leaf = CertificateParams::new(names)?;
    leaf.distinguished_name.push(DnType::CommonName, "functiongraph-emulator");
    leaf.use_authority_key_identifier_extension = true;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (leaf.not_before, leaf.not_after) = validity(now, SERVER_LIFE);
    let certificate = leaf.signed_by(&key, &Issuer::from_params(&params, ca_key))?;

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    if let Some(dir) = loaded_from {
        // Other files would give certificates that no client trusts, without a hint why.
        verify(&ca_pem, certificate.der(), now, &provider)
            .ok_or_else(|| TlsError::ForeignAuthority(dir.clone()))?;
    }
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Identity { ca_pem, server })
}

fn authority_params(now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, CA_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = validity(now, CA_LIFE);
    params
}

fn validity(now: Timestamp, life: SignedDuration) -> (OffsetDateTime, OffsetDateTime) {
    let at = |time: Timestamp| {
        OffsetDateTime::from_unix_timestamp(time.as_second()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    };
    let from = now.saturating_sub(BACKDATED).unwrap_or(now);
    (at(from), at(now.saturating_add(life).unwrap_or(now)))
}

/// The authority in a folder; none if neither file exists.
fn load(dir: &Path) -> Result<Option<(String, KeyPair)>, TlsError> {
    let read = |name| {
        let path = dir.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(TlsError::File { path, source }),
        }
    };
    match (read(CA_CERT)?, read(CA_KEY)?) {
        (None, None) => Ok(None),
        (Some(pem), Some(key)) => match KeyPair::from_pem(&key) {
            Ok(key) => Ok(Some((pem, key))),
            Err(_) => Err(TlsError::ForeignAuthority(dir.to_owned())),
        },
        // If only one of the two files exists, do not overwrite it.
        _ => Err(TlsError::ForeignAuthority(dir.to_owned())),
    }
}

fn make(dir: &Path, params: &CertificateParams) -> Result<(String, KeyPair), TlsError> {
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    fs::create_dir_all(dir).map_err(|source| TlsError::File { path: dir.to_owned(), source })?;
    write(&dir.join(CA_KEY), &key.serialize_pem(), true)?;
    write(&dir.join(CA_CERT), &pem, false)?;
    Ok((pem, key))
}

/// Writes a new file that only the owner can read: the key of a trusted authority can impersonate any server.
fn write(path: &Path, text: &str, secret: bool) -> Result<(), TlsError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, if secret { 0o600 } else { 0o644 });
    #[cfg(not(unix))]
    let _ = secret;
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| TlsError::File { path: path.to_owned(), source })
}

/// Checks that a client that trusts this authority accepts the server.
fn verify(
    ca_pem: &str,
    certificate: &CertificateDer<'_>,
    now: Timestamp,
    provider: &Arc<CryptoProvider>,
) -> Option<()> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).ok()?).ok()?;
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build().ok()?;
    let name = ServerName::try_from(OWN_NAMES[0]).ok()?;
    let now = UnixTime::since_unix_epoch(now.duration_since(Timestamp::UNIX_EPOCH).unsigned_abs());
    verifier.verify_server_cert(certificate, &[], &name, &[], now).ok()?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn in_dir(dir: &Path) -> Result<String, TlsError> {
        let tls = Tls { dir: Some(dir.to_owned()), names: Vec::new() };
        identity(&tls, clock::now()).map(|identity| identity.ca_pem)
    }

    #[test]
    fn an_authority_in_a_folder_is_made_once_and_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("new");
        let first = in_dir(&dir).unwrap();
        assert_eq!(fs::read_to_string(dir.join(CA_CERT)).unwrap(), first);
        assert_eq!(in_dir(&dir).unwrap(), first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(dir.join(CA_KEY)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn foreign_authority_files_are_refused_and_kept() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        in_dir(a.path()).unwrap();
        in_dir(b.path()).unwrap();
        fs::copy(a.path().join(CA_KEY), b.path().join(CA_KEY)).unwrap();
        assert!(matches!(in_dir(b.path()), Err(TlsError::ForeignAuthority(_))), "key of another");
        fs::remove_file(b.path().join(CA_KEY)).unwrap();
        assert!(matches!(in_dir(b.path()), Err(TlsError::ForeignAuthority(_))), "no key");
        assert!(b.path().join(CA_CERT).exists());
    }

    #[test]
    fn without_a_folder_every_start_has_its_own_authority() {
        let make = || identity(&Tls::default(), clock::now()).unwrap().ca_pem;
        assert_ne!(make(), make());
    }
}
