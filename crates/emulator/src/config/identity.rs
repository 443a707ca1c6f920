//! What the identity services are told: whom they know, and for how long what they hand out is good.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::id_token::{self, Expected};

/// What the identity services (IAM) are told. Without users they refuse everybody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Identity {
    /// How long a token is good for; the real one takes a day.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub token_lifetime: Duration,
    /// The longest life of a temporary key: whoever asks for more gets this. Seconds make renewals visible.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub keys_lifetime: Duration,
    /// Who may log in with a password.
    pub users: Vec<User>,
    /// Projects beside the emulator's own, which is called as its region is. A name may occur twice.
    pub projects: Vec<Project>,
    /// Whose id tokens are believed.
    pub identity_providers: Vec<IdentityProvider>,
    /// What can be assumed with an id token.
    pub agencies: Vec<Agency>,
    /// Address of what virtual machines and pods find next to them (plain HTTP, like the real ones: keep it on
    /// loopback); port 0 takes a free one. Nobody listens there without `metadata` or `podIdentity`.
    pub local_listen: SocketAddr,
    /// The metadata of a virtual machine with an agency; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// Pod identity of CCE; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_identity: Option<PodIdentity>,
}

/// Who may log in with a password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct User {
    /// Name of the account.
    pub domain: String,
    /// Name of the user in it.
    pub name: String,
    /// The password.
    pub password: String,
}

/// A project that tokens can be for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Project {
    /// Its id.
    pub id: String,
    /// Its name; that of a region's main project is the region.
    pub name: String,
}

/// Somebody else's identity provider (OIDC), whose id tokens are believed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentityProvider {
    /// What `X-Idp-Id` says.
    pub id: String,
    /// What the STS calls it; absent: `iam::emulator:oidcProvider:` and the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urn: Option<String>,
    /// What the claim `iss` must be; absent: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// What the claim `aud` must be or hold; absent: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// What the claim `sub` may be; empty: anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
    /// Its keys (RSA for RS256, P-256 for ES256), as an object or as text: what `kubectl get --raw /openid/v1/jwks`
    /// prints. Absent: signatures are not checked, only claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<serde_json::Value>,
}

/// An agency that can be assumed with an id token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Agency {
    /// What it is called.
    pub urn: String,
    /// What the claim `sub` may be; empty: anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
}

/// The metadata of a virtual machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Metadata {
    /// Whether a key is given only for a token.
    pub tokens: MetadataTokens,
}

/// Whether the metadata of a virtual machine give a key only for a token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MetadataTokens {
    /// Only for a token (version 2).
    #[default]
    Required,
    /// Without one as well; one that is sent must be good.
    Optional,
    /// There are no tokens (version 1): to ask for one is a 404.
    Unsupported,
}

/// Pod identity of CCE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodIdentity {
    /// Where it is: the path of `HC_CONTAINER_CREDENTIALS_FULL_URI`.
    #[serde(default = "default_pod_path")]
    pub path: String,
    /// The content of the file `HC_CONTAINER_AUTHORIZATION_TOKEN_FILE`, which comes as `Authorization` as it is.
    pub authorization: String,
}

fn default_pod_path() -> String {
    "/v1/credentials".to_owned()
}

// === impl PodIdentity ===

impl PodIdentity {
    /// One at the default path.
    #[must_use]
    pub fn with(authorization: &str) -> Self {
        Self { path: default_pod_path(), authorization: authorization.to_owned() }
    }
}

// === impl IdentityProvider ===

impl IdentityProvider {
    /// One that believes every token which has not expired.
    #[must_use]
    pub fn named(id: &str) -> Self {
        let (urn, issuer, audience, subjects, jwks) = (None, None, None, Vec::new(), None);
        Self { id: id.to_owned(), urn, issuer, audience, subjects, jwks }
    }

    /// What its tokens have to be.
    pub(crate) fn expected(&self) -> Expected<'_> {
        let (issuer, audience) = (self.issuer.as_deref(), self.audience.as_deref());
        Expected { issuer, audience, keys: self.jwks.as_ref() }
    }

    /// What the STS calls it.
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
    /// Says what cannot be used.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.identity_providers.iter().try_for_each(|provider| {
            let error = |source| ConfigError::KeySet { provider: provider.id.clone(), source };
            provider.jwks.as_ref().map_or(Ok(()), id_token::check_keys).map_err(error)
        })
    }

    /// Where pod identity is.
    pub(crate) fn pod_path(&self) -> Option<&str> {
        self.pod_identity.as_ref().map(|pod| pod.path.as_str())
    }

    /// Whether there is anything to find next to a virtual machine or a pod.
    pub(crate) fn is_local(&self) -> bool {
        self.metadata.is_some() || self.pod_identity.is_some()
    }

    /// The passwords and tokens that it takes.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = String> {
        let passwords = self.users.iter().map(|user| user.password.clone());
        passwords.chain(self.pod_identity.iter().map(|pod| pod.authorization.clone()))
    }

    /// Whether anybody could get a credential.
    pub(crate) fn knows_anybody(&self) -> bool {
        !self.users.is_empty() || !self.identity_providers.is_empty() || self.is_local()
    }

    /// The same with the emulator's own project in front, unless it is listed under a name of its own.
    pub(crate) fn with_project(&self, project_id: &str, region: &str) -> Self {
        let mut whole = self.clone();
        if whole.projects.iter().all(|project| project.id != project_id) {
            let own = Project { id: project_id.to_owned(), name: region.to_owned() };
            whole.projects.insert(0, own);
        }
        whole
    }
}
