//! The APIs of the identity services, each of which returns a credential or needs one.

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
    /// `POST` to a configured path, from a pod.
    PodIdentity,
}

/// The port at which a request arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    /// The port of the cloud.
    Cloud,
    /// The port of the services on a virtual machine or in a pod.
    Local,
}

/// The service of an API. Each has its own format for errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// FunctionGraph.
    FunctionGraph,
    /// The Keystone part of IAM.
    Keystone,
    /// IAM's own part.
    Iam,
    /// The service for temporary keys in the newer IAM.
    Sts,
    /// A service on a virtual machine or in a pod.
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

    /// The service that the API belongs to.
    pub(crate) fn source(self) -> Source {
        match self {
            Self::Password | Self::Projects => Source::Keystone,
            Self::IdToken | Self::SecurityTokens => Source::Iam,
            Self::AssumeAgency => Source::Sts,
            Self::MetadataToken | Self::MetadataKey | Self::PodIdentity => Source::Local,
        }
    }

    /// The API for a method and a path.
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

    /// The API for a method and a path on the port of virtual machines and pods. `pod` is the path of pod identity.
    pub(super) fn of_local(method: &Method, path: &str, pod: Option<&str>) -> Option<Self> {
        match (method.as_str(), path) {
            ("PUT", "/meta-data/latest/api/token") => Some(Self::MetadataToken),
            ("GET", "/openstack/latest/securitykey") => Some(Self::MetadataKey),
            ("POST", path) if Some(path) == pod => Some(Self::PodIdentity),
            _ => None,
        }
    }
}
