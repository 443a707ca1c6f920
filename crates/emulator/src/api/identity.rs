//! The APIs of the identity services, each a way to a credential or to what is asked with one.

use http::Method;

/// One API of an identity service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdentityApi {
    /// `POST /v3/auth/tokens`
    Password,
    /// `POST /v3.0/OS-AUTH/id-token/tokens`
    IdToken,
    /// `POST /v3.0/OS-CREDENTIAL/securitytokens`
    SecurityTokens,
    /// `POST /v5/agencies/assume-with-oidc`
    AssumeAgency,
    /// `GET /v3/projects`
    Projects,
    /// `PUT /meta-data/latest/api/token`, of a virtual machine
    MetadataToken,
    /// `GET /openstack/latest/securitykey`, of a virtual machine
    MetadataKey,
    /// `POST` to a path of one's own, in a pod
    PodIdentity,
}

/// Which port a request came in at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// That of the cloud.
    Cloud,
    /// That of what is next to a virtual machine or a pod.
    Local,
}

/// Which service an API belongs to: each has errors of its own shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// FunctionGraph.
    FunctionGraph,
    /// The part of IAM that is like Keystone.
    Keystone,
    /// The part of IAM that is its own.
    Iam,
    /// The service for temporary keys of the newer IAM.
    Sts,
    /// What is next to a virtual machine or a pod.
    Local,
}

impl IdentityApi {
    /// As in [`Api::name`](super::Api::name).
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Password => "v3/tokens",
            Self::IdToken => "v3.0/tokens",
            Self::SecurityTokens => "v3.0/securitytokens",
            Self::AssumeAgency => "v5/assume-with-oidc",
            Self::Projects => "v3/projects",
            Self::MetadataToken => "metadata/token",
            Self::MetadataKey => "metadata/securitykey",
            Self::PodIdentity => "pod-identity",
        }
    }

    /// The service it belongs to.
    pub(crate) fn source(self) -> Source {
        match self {
            Self::Password | Self::Projects => Source::Keystone,
            Self::IdToken | Self::SecurityTokens => Source::Iam,
            Self::AssumeAgency => Source::Sts,
            Self::MetadataToken | Self::MetadataKey | Self::PodIdentity => Source::Local,
        }
    }

    /// The API that a method and a path lead to.
    pub(super) fn of(method: &Method, path: &str) -> Option<Self> {
        match (method.as_str(), path) {
            ("POST", "/v3/auth/tokens") => Some(Self::Password),
            ("POST", "/v3.0/OS-AUTH/id-token/tokens") => Some(Self::IdToken),
            ("POST", "/v5/agencies/assume-with-oidc") => Some(Self::AssumeAgency),
            ("POST", "/v3.0/OS-CREDENTIAL/securitytokens") => Some(Self::SecurityTokens),
            ("GET", "/v3/projects") => Some(Self::Projects),
            _ => None,
        }
    }

    /// The same for what is next to a virtual machine or a pod; `pod` is the path of the latter.
    pub(super) fn of_local(method: &Method, path: &str, pod: Option<&str>) -> Option<Self> {
        match (method.as_str(), path) {
            ("PUT", "/meta-data/latest/api/token") => Some(Self::MetadataToken),
            ("GET", "/openstack/latest/securitykey") => Some(Self::MetadataKey),
            ("POST", path) if Some(path) == pod => Some(Self::PodIdentity),
            _ => None,
        }
    }
}
