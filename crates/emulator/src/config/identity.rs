//! Configuration of the identity services: users, providers, agencies, and lifetimes of credentials.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::id_token::{self, Expected};

/// Configuration of the identity services (IAM). Without users they refuse every login.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Identity {
    /// Lifetime of a token; in the real service one day.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub token_lifetime: Duration,
    /// Maximum lifetime of a temporary key. A request for more gets this. Use seconds to see renewals.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub keys_lifetime: Duration,
    /// Users who may log in with a password.
    pub users: Vec<User>,
    /// Additional projects. The emulator's own project has the name of its region. Several projects may have the same
    /// name.
    pub projects: Vec<Project>,
    /// Identity providers whose id tokens are accepted.
    pub identity_providers: Vec<IdentityProvider>,
    /// Agencies that a caller can assume with an id token.
    pub agencies: Vec<Agency>,
    /// Address of the services on virtual machines and in pods (plain HTTP, as in the real ones: keep it on
    /// loopback); port 0 means a free port. The emulator opens it only with `metadata` or `podIdentity`.
    pub local_listen: SocketAddr,
    /// The metadata of a virtual machine with an agency; absent: no metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// Pod identity of CCE; absent: no pod identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_identity: Option<PodIdentity>,
}

/// A user who may log in with a password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct User {
    /// Name of the account.
    pub domain: String,
    /// Name of the user in the account.
    pub name: String,
    /// The password.
    pub password: String,
}

/// A project for tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Project {
    /// Its id.
    pub id: String,
    /// Its name; the main project of a region has the name of the region.
    pub name: String,
}

/// An external identity provider (OIDC) whose id tokens are accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentityProvider {
    /// Value of `X-Idp-Id`.
    pub id: String,
    /// Its URN in the STS; absent: `iam::emulator:oidcProvider:` and the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urn: Option<String>,
    /// Required value of the claim `iss`; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Required value in the claim `aud`; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// Allowed values of the claim `sub`; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
    /// Its keys (RSA for RS256, P-256 for ES256), as an object or as text: the output of `kubectl get --raw
    /// /openid/v1/jwks`. Absent: signatures are not checked, only claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<serde_json::Value>,
}

/// An agency that a caller can assume with an id token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Agency {
    /// Its URN.
    pub urn: String,
    /// Allowed values of the claim `sub`; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
}

/// The metadata of a virtual machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Metadata {
    /// Whether a caller needs a session token to get a key.
    pub tokens: MetadataTokens,
}

/// Whether a caller needs a session token to get a key from the metadata.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MetadataTokens {
    /// Required (version 2).
    #[default]
    Required,
    /// Optional. A token that is sent must be valid.
    Optional,
    /// Not supported (version 1): a request for a token is answered with 404.
    Unsupported,
}

/// Pod identity of CCE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodIdentity {
    /// The path in `HC_CONTAINER_CREDENTIALS_FULL_URI`.
    #[serde(default = "default_pod_path")]
    pub path: String,
    /// The content of the file `HC_CONTAINER_AUTHORIZATION_TOKEN_FILE`, which must equal the header `Authorization`.
    pub authorization: String,
}

fn default_pod_path() -> String {
    "/v1/credentials".to_owned()
}

// === impl PodIdentity ===

impl PodIdentity {
    /// Pod identity at the default path.
    #[must_use]
    pub fn with(authorization: &str) -> Self {
        Self { path: default_pod_path(), authorization: authorization.to_owned() }
    }
}

// === impl IdentityProvider ===

impl IdentityProvider {
    /// A provider that accepts every token that has not expired.
    #[must_use]
    pub fn named(id: &str) -> Self {
        let (urn, issuer, audience, subjects, jwks) = (None, None, None, Vec::new(), None);
        Self { id: id.to_owned(), urn, issuer, audience, subjects, jwks }
    }

    /// Requirements for its tokens.
    pub(crate) fn expected(&self) -> Expected<'_> {
        let (issuer, audience) = (self.issuer.as_deref(), self.audience.as_deref());
        Expected { issuer, audience, keys: self.jwks.as_ref() }
    }

    /// Its URN in the STS.
    #[must_use]
    pub fn urn(&self) -> String {
        self.urn.clone().unwrap_or_else(|| format!("iam::emulator:oidcProvider:{}", self.id))
    }
}

// === impl Identity ===

impl Default for Identity {
    fn default() -> Self {
        const DAY: Duration = Duration::from_hours(24);
        Self {
            token_lifetime: DAY,
            keys_lifetime: DAY,
            users: Vec::new(),
            projects: Vec::new(),
            identity_providers: Vec::new(),
            agencies: Vec::new(),
            local_listen: (Ipv4Addr::LOCALHOST, 0).into(),
            metadata: None,
            pod_identity: None,
        }
    }
}

impl Identity {
    /// Checks that the configuration can be used.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.identity_providers.iter().try_for_each(|provider| {
            let error = |source| ConfigError::KeySet { provider: provider.id.clone(), source };
            provider.jwks.as_ref().map_or(Ok(()), id_token::check_keys).map_err(error)
        })
    }

    /// The path of pod identity.
    pub(crate) fn pod_path(&self) -> Option<&str> {
        self.pod_identity.as_ref().map(|pod| pod.path.as_str())
    }

    /// Whether the port of virtual machines and pods is needed.
    pub(crate) fn is_local(&self) -> bool {
        self.metadata.is_some() || self.pod_identity.is_some()
    }

    /// The configured passwords and tokens.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = String> {
        let passwords = self.users.iter().map(|user| user.password.clone());
        passwords.chain(self.pod_identity.iter().map(|pod| pod.authorization.clone()))
    }

    /// Whether any login can succeed.
    pub(crate) fn has_logins(&self) -> bool {
        !self.users.is_empty() || !self.identity_providers.is_empty() || self.is_local()
    }

    /// Adds the emulator's own project at the front, unless it is listed.
    pub(crate) fn with_project(&self, project_id: &str, region: &str) -> Self {
        let mut whole = self.clone();
        if whole.projects.iter().all(|project| project.id != project_id) {
            let own = Project { id: project_id.to_owned(), name: region.to_owned() };
            whole.projects.insert(0, own);
        }
        whole
    }
}
