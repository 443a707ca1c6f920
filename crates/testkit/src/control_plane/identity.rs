//! Who is who: certificates, the key of service accounts, tokens, kubeconfigs. All new for each control plane.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use http::Uri;
use kube::Config;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// Name of the user who may do everything (group `system:masters`).
pub const ADMIN: &str = "admin";

/// Bytes of chance in a token: other users of the machine can reach the port, and must not guess it.
const TOKEN_BYTES: usize = 16;

// Files in the folder of the control plane; the servers run there.
pub(crate) const SERVING_CERTIFICATE: &str = "apiserver.crt";
pub(crate) const SERVING_KEY: &str = "apiserver.key";
pub(crate) const SERVICE_ACCOUNT_KEY: &str = "sa.key";
pub(crate) const SERVICE_ACCOUNT_PUBLIC_KEY: &str = "sa.pub";
pub(crate) const TOKENS: &str = "tokens.csv";
const CA_CERTIFICATE: &str = "ca.crt";

/// Why keys and credentials could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A key or certificate could not be generated.
    #[error("cannot generate keys and certificates")]
    Certificate(#[from] rcgen::Error),
    /// The system gave no random bytes.
    #[error("cannot draw a random token")]
    Token(#[source] rustls::Error),
    /// A file could not be written.
    #[error("cannot write {}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A user that the API server will know by a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User name as RBAC sees it. `system:serviceaccount:<namespace>:<name>` stands in for a service account.
    pub name: String,
    /// Groups, beside `system:authenticated`, which everybody is in.
    pub groups: Vec<String>,
}

/// The credentials of one control plane.
#[derive(Debug)]
pub(crate) struct Identity {
    ca: Vec<u8>,
    admin: Login,
    users: Vec<Login>,
}

#[derive(Debug)]
struct Login {
    user: User,
    token: String,
    kubeconfig: PathBuf,
}

// === impl User ===

impl User {
    /// A user and the groups it is in.
    #[must_use]
    pub fn new(name: &str, groups: &[&str]) -> Self {
        Self { name: name.to_owned(), groups: groups.iter().map(|&group| group.to_owned()).collect() }
    }
}

// === impl Identity ===

impl Identity {
    /// Makes all keys and writes the files the API server wants, with the admin as the first user.
    pub(crate) fn create(folder: &Path, users: Vec<User>) -> Result<Self, IdentityError> {
        let ca = authority()?;
        write(folder, CA_CERTIFICATE, &ca.pem())?;
        let key = KeyPair::generate()?;
        let certificate = serving_params()?.signed_by(&key, &ca)?;
        write(folder, SERVING_CERTIFICATE, &certificate.pem())?;
        write(folder, SERVING_KEY, &key.serialize_pem())?;

        let key = KeyPair::generate()?; // ECDSA P-256: tokens are signed with ES256
        write(folder, SERVICE_ACCOUNT_KEY, &key.serialize_pem())?;
        write(folder, SERVICE_ACCOUNT_PUBLIC_KEY, &key.public_key_pem())?;

        let login = |(number, user): (usize, User)| {
            let kubeconfig = folder.join(format!("{number}.kubeconfig")); // a name may hold any character
            Ok(Login { user, token: random_token()?, kubeconfig })
        };
        let admin = login((0, User::new(ADMIN, &["system:masters"])))?;
        let users = (1..).zip(users).map(login).collect::<Result<Vec<_>, IdentityError>>()?;
        let identity = Self { ca: ca.der().to_vec(), admin, users };
        write(folder, TOKENS, &identity.logins().map(token_line).collect::<String>())?;
        Ok(identity)
    }

    /// Path of the user's kubeconfig; none if nobody has that name.
    pub(crate) fn kubeconfig(&self, user: &str) -> Option<&Path> {
        self.login(user).map(|login| login.kubeconfig.as_path())
    }

    /// Path of the admin's kubeconfig.
    pub(crate) fn admin_kubeconfig(&self) -> &Path {
        &self.admin.kubeconfig
    }

    /// Client configuration of the user; none if nobody has that name.
    pub(crate) fn config(&self, user: &str, address: &Uri) -> Option<Config> {
        self.login(user).map(|login| self.config_of(login, address))
    }

    /// Client configuration of the admin.
    pub(crate) fn admin_config(&self, address: &Uri) -> Config {
        self.config_of(&self.admin, address)
    }

    /// Writes the kubeconfigs of all users.
    pub(crate) fn write_kubeconfigs(&self, address: &Uri) -> Result<(), IdentityError> {
        self.logins().try_for_each(|login| {
            let path = &login.kubeconfig;
            fs::write(path, kubeconfig(address, &login.token))
                .map_err(|source| IdentityError::Write { path: path.clone(), source })
        })
    }

    fn logins(&self) -> impl Iterator<Item = &Login> {
        std::iter::once(&self.admin).chain(&self.users)
    }

    fn login(&self, user: &str) -> Option<&Login> {
        self.logins().find(|login| login.user.name == user)
    }

    fn config_of(&self, login: &Login, address: &Uri) -> Config {
        let mut config = Config::new(address.clone());
        config.root_cert = Some(vec![self.ca.clone()]);
        config.auth_info.token = Some(login.token.clone().into());
        config
    }
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "throw-away control plane");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn serving_params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn random_token() -> Result<String, IdentityError> {
    let mut bytes = [0; TOKEN_BYTES];
    let chance = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    chance.fill(&mut bytes).map_err(|error| IdentityError::Token(error.into()))?;
    Ok(bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}"); // a String takes every write
        hex
    }))
}

/// One line of the token file: token, user, uid, groups.
fn token_line(login: &Login) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let Login { user: User { name, groups }, token, kubeconfig: _ } = login;
    format!("{token},{},{},{}\n", quoted(name), quoted(name), quoted(&groups.join(",")))
}

/// The certificate is named relative to the file, as kubectl and kube understand it.
fn kubeconfig(address: &Uri, token: &str) -> String {
    format!(
        "apiVersion: v1
kind: Config
current-context: control-plane
contexts:
- name: control-plane
  context: {{cluster: control-plane, user: control-plane}}
clusters:
- name: control-plane
  cluster:
    server: {address}
    certificate-authority: {CA_CERTIFICATE}
users:
- name: control-plane
  user: {{token: {token}}}
"
    )
}

fn write(folder: &Path, name: &str, text: &str) -> Result<(), IdentityError> {
    let path = folder.join(name);
    fs::write(&path, text).map_err(|source| IdentityError::Write { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_groups_with_commas_and_quotes_stay_in_their_column() {
        let user = User::new("a\"b", &["one", "two"]);
        let login = Login { user, token: "t".to_owned(), kubeconfig: PathBuf::new() };
        assert_eq!(token_line(&login), "t,\"a\"\"b\",\"a\"\"b\",\"one,two\"\n");
    }

    #[test]
    fn every_control_plane_has_tokens_of_its_own() {
        assert_ne!(random_token().unwrap(), random_token().unwrap());
    }
}
