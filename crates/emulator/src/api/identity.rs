//! The APIs of the identity services, each of which returns a credential or needs one.

use http::Method;

/// One API of an identity service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdentityApi {
    /// Issues a token for a password, for another token, or for an agency.
    Password,
    /// Issues a token for an id token.
    IdToken,
    /// Issues an unscoped token for an id token, in the way of `OpenStack`.
    Federation,
    /// Issues a temporary key for a token.
    SecurityTokens,
    /// Issues a temporary key of an agency for an id token.
    AssumeAgency,
    /// Shows a token.
    ShowToken,
    /// Tells only whether a token is valid.
    CheckToken,
    /// Revokes a token.
    RevokeToken,
    /// Lists the versions of the identity service.
    Versions,
    /// Shows version 3 of the identity service.
    Version,
    /// Lists the services and their addresses.
    Catalog,
    /// Lists the projects.
    Projects,
    /// Lists the projects that the caller may use.
    OwnProjects,
    /// Shows a project.
    ShowProject,
    /// Lists the accounts that the caller may use.
    OwnDomains,
    /// Issues a session token for the metadata of a virtual machine.
    MetadataToken,
    /// Issues a temporary key of a virtual machine.
    MetadataKey,
    /// Issues a temporary key of a pod.
    PodIdentity,
}

/// Method and path of every API on the port of the cloud.
pub(super) const LINES: [(IdentityApi, &str, &str); 17] = [
    (IdentityApi::Password, "POST", "/v3/auth/tokens"),
    (IdentityApi::ShowToken, "GET", "/v3/auth/tokens"),
    (IdentityApi::CheckToken, "HEAD", "/v3/auth/tokens"),
    (IdentityApi::RevokeToken, "DELETE", "/v3/auth/tokens"),
    (IdentityApi::IdToken, "POST", "/v3.0/OS-AUTH/id-token/tokens"),
    (
        IdentityApi::Federation,
        "POST",
        "/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/auth",
    ),
    (IdentityApi::SecurityTokens, "POST", "/v3.0/OS-CREDENTIAL/securitytokens"),
    (IdentityApi::AssumeAgency, "POST", "/v5/agencies/assume-with-oidc"),
    (IdentityApi::Versions, "GET", "/"),
    (IdentityApi::Version, "GET", "/v3"),
    (IdentityApi::Version, "GET", "/v3/"),
    (IdentityApi::Catalog, "GET", "/v3/auth/catalog"),
    (IdentityApi::Projects, "GET", "/v3/projects"),
    (IdentityApi::OwnProjects, "GET", "/v3/auth/projects"),
    (IdentityApi::ShowProject, "GET", "/v3/projects/{project_id}"),
    (IdentityApi::OwnDomains, "GET", "/v3/auth/domains"),
    (IdentityApi::OwnDomains, "GET", "/v3/domains"),
];

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
    /// All APIs of the identity services.
    pub(super) const ALL: [Self; 18] = [
        Self::Password,
        Self::IdToken,
        Self::Federation,
        Self::SecurityTokens,
        Self::AssumeAgency,
        Self::ShowToken,
        Self::CheckToken,
        Self::RevokeToken,
        Self::Versions,
        Self::Version,
        Self::Catalog,
        Self::Projects,
        Self::OwnProjects,
        Self::ShowProject,
        Self::OwnDomains,
        Self::MetadataToken,
        Self::MetadataKey,
        Self::PodIdentity,
    ];

    /// As in [`Api::name`](super::Api::name).
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Password => "v3/tokens",
            Self::IdToken => "v3.0/tokens",
            Self::Federation => "v3/auth",
            Self::SecurityTokens => "v3.0/securitytokens",
            Self::AssumeAgency => "v5/assume-with-oidc",
            Self::ShowToken => "GET v3/tokens",
            Self::CheckToken => "HEAD v3/tokens",
            Self::RevokeToken => "DELETE v3/tokens",
            Self::Versions => "versions",
            Self::Version => "v3",
            Self::Catalog => "v3/catalog",
            Self::Projects => "v3/projects",
            Self::OwnProjects => "v3/auth/projects",
            Self::ShowProject => "v3/projects/{project_id}",
            Self::OwnDomains => "v3/auth/domains",
            Self::MetadataToken => "metadata/token",
            Self::MetadataKey => "metadata/securitykey",
            Self::PodIdentity => "pod-identity",
        }
    }

    /// The service that the API belongs to.
    pub(crate) fn source(self) -> Source {
        match self {
            Self::Password
            | Self::Federation
            | Self::ShowToken
            | Self::CheckToken
            | Self::RevokeToken
            | Self::Versions
            | Self::Version
            | Self::Catalog
            | Self::Projects
            | Self::OwnProjects
            | Self::ShowProject
            | Self::OwnDomains => Source::Keystone,
            Self::IdToken | Self::SecurityTokens => Source::Iam,
            Self::AssumeAgency => Source::Sts,
            Self::MetadataToken | Self::MetadataKey | Self::PodIdentity => Source::Local,
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
