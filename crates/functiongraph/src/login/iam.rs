//! The identity service (IAM) exchanges passwords and OIDC tokens for IAM tokens or temporary keys.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::request::Builder;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use crate::client::{BuildError, ClientOptions};
use crate::credentials::Credential;
use crate::endpoint::Endpoint;
use crate::text::Shown;
use crate::transport::{Seen, Transport};

use super::{Login, LoginError, body, exchange, projects, read};

/// Header with the id of an identity provider.
const X_IDP_ID: HeaderName = HeaderName::from_static("x-idp-id");

/// The identity service of a region. [`regions::iam_endpoint`](crate::regions::iam_endpoint) returns its endpoint.
/// Clones are cheap and share their connections.
#[derive(Clone)]
pub struct Iam {
    transport: Transport,
    endpoint: Arc<Endpoint>,
}

/// An IAM user. Main accounts of the newer type (HUAWEI ID) cannot log in with a password.
#[derive(Debug, Clone, Copy)]
pub struct User<'a> {
    /// Name of the account, which the API calls a domain.
    pub domain: &'a str,
    /// Name of the user.
    pub name: &'a str,
    /// Password of the user.
    pub password: &'a SecretString,
}

/// The project of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Project<'a> {
    /// By its id.
    Id(&'a str),
    /// By its name. Every region has a project with the name of the region, such as `eu-de`.
    Name(&'a str),
}

// === impl Project ===

impl<'a> Project<'a> {
    /// Name and value of the field in a scope.
    fn field(self) -> (&'static str, &'a str) {
        match self {
            Self::Id(id) => (r#""scope":{"project":{"id":"#, id),
            Self::Name(name) => (r#""scope":{"project":{"name":"#, name),
        }
    }
}

// === impl Iam ===

impl Iam {
    /// A client of the identity service at `endpoint`.
    ///
    /// # Errors
    /// As of [`Client::new`](crate::Client::new).
    pub fn new(endpoint: Endpoint, options: ClientOptions) -> Result<Self, BuildError> {
        Ok(Self { transport: Transport::new(&endpoint, options)?, endpoint: Arc::new(endpoint) })
    }

    /// The endpoint of this client.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A token of `project` for a user. Such tokens live for a day. A new token does not end earlier ones.
    ///
    /// `timeout` bounds the exchange.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub async fn password(
        &self,
        user: User<'_>,
        project: Project<'_>,
        timeout: Duration,
    ) -> Result<Login, LoginError> {
        let (scope, project) = project.field();
        let User { domain, name, password } = user;
        let body = body::json(&[
            r#"{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"#,
            name,
            r#","password":"#,
            password.expose_secret(),
            r#","domain":{"name":"#,
            domain,
            &format!("}}}}}}}},{scope}"),
            project,
            "}}}}",
        ]);
        // Leave out the catalogue of services, which this crate does not read.
        let request = self.post("/v3/auth/tokens?nocatalog=true").body(body);
        read::token(exchange::ask(&self.transport, request, &[password], timeout).await?)
    }

    /// A token of `project` for an OIDC token of an identity provider that IAM knows as `idp_id`.
    ///
    /// Read the OIDC token right before the call, because Kubernetes replaces a Pod's token before it expires.
    /// Surrounding space is removed. `timeout` bounds the exchange.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub async fn token_for_id_token(
        &self,
        idp_id: &str,
        id_token: &SecretString,
        project: Project<'_>,
        timeout: Duration,
    ) -> Result<Login, LoginError> {
        read::token(self.federate(idp_id, id_token, Some(project), timeout).await?)
    }

    /// Temporary access keys for an OIDC token of an identity provider that IAM knows as `idp_id`, in two requests.
    /// The token between the two belongs to no project and is dropped.
    ///
    /// The service accepts a `lifetime` of 900 to 86,400 seconds. `timeout` bounds each of the two exchanges.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub async fn keys_for_id_token(
        &self,
        idp_id: &str,
        id_token: &SecretString,
        lifetime: Duration,
        timeout: Duration,
    ) -> Result<Login, LoginError> {
        let token = read::subject_token(&self.federate(idp_id, id_token, None, timeout).await?)?;
        let body = body::json(&[
            r#"{"auth":{"identity":{"methods":["token"],"token":{"id":"#,
            token.expose_secret(),
            &format!(r#","duration_seconds":{}}}}}}}}}"#, lifetime.as_secs()),
        ]);
        let request = self.post("/v3.0/OS-CREDENTIAL/securitytokens").body(body);
        read::keys(exchange::ask(&self.transport, request, &[&token], timeout).await?)
    }

    /// The id of the project with the name of a region.
    ///
    /// `signed_at` is the current time, for access keys. `timeout` bounds the exchange.
    ///
    /// # Errors
    /// [`LoginError::NoProject`] or [`LoginError::SeveralProjects`] if not exactly one project has the name;
    /// otherwise see [`LoginError`].
    pub async fn project_id(
        &self,
        region: &str,
        credential: &Credential,
        signed_at: Timestamp,
        timeout: Duration,
    ) -> Result<String, LoginError> {
        let request = projects::request(&self.endpoint, region, credential, signed_at);
        let mut seen = exchange::ask(&self.transport, request, &credential.secrets(), timeout).await?;
        projects::only_one(read::object(&mut seen), region, &Shown::credential(credential))
    }

    /// Exchanges an OIDC token for an IAM token, of a project or without one.
    async fn federate(
        &self,
        idp_id: &str,
        id_token: &SecretString,
        project: Option<Project<'_>>,
        timeout: Duration,
    ) -> Result<Seen, LoginError> {
        const HEAD: &str = r#"{"auth":{"id_token":{"id":"#;
        let token = id_token.expose_secret().trim();
        let body = match project.map(Project::field) {
            Some((scope, project)) => body::json(&[HEAD, token, &format!("}},{scope}"), project, "}}}}"]),
            None => body::json(&[HEAD, token, "}}}"]),
        };
        let request = self.post("/v3.0/OS-AUTH/id-token/tokens").header(X_IDP_ID, idp_id).body(body);
        exchange::ask(&self.transport, request, &[id_token], timeout).await
    }

    fn post(&self, path: &str) -> Builder {
        exchange::post(format!("{}{path}", self.endpoint), self.endpoint.authority())
    }
}

/// Shows only the endpoint.
impl fmt::Debug for Iam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iam").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
