//! The security token service of IAM 5 exchanges OIDC tokens for temporary keys of an agency.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::client::{BuildError, ClientOptions};
use crate::endpoint::Endpoint;
use crate::transport::Transport;

use super::{Login, LoginError, body, exchange, read};

/// The security token service of a region. [`regions::sts_endpoint`](crate::regions::sts_endpoint) returns its
/// endpoint. Clones are cheap and share their connections.
#[derive(Clone)]
pub struct Sts {
    transport: Transport,
    endpoint: Arc<Endpoint>,
}

/// A trust agency, and the identity provider that it trusts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agency<'a> {
    /// URN of the OIDC identity provider.
    pub provider_urn: &'a str,
    /// URN of the agency.
    pub agency_urn: &'a str,
    /// Name of the session, as audit logs show it.
    pub session_name: &'a str,
}

// === impl Sts ===

impl Sts {
    /// A client of the security token service at `endpoint`.
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

    /// Temporary access keys of an agency for an OIDC token.
    ///
    /// Read the OIDC token right before the call, because Kubernetes replaces a Pod's token before it expires.
    /// Surrounding space is removed. `lifetime` is counted in whole seconds; `timeout` bounds the exchange.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub async fn assume_with_oidc(
        &self,
        agency: Agency<'_>,
        id_token: &SecretString,
        lifetime: Duration,
        timeout: Duration,
    ) -> Result<Login, LoginError> {
        let Agency { provider_urn, agency_urn, session_name } = agency;
        let body = body::json(&[
            r#"{"provider_urn":"#,
            provider_urn,
            r#","agency_urn":"#,
            agency_urn,
            r#","agency_session_name":"#,
            session_name,
            r#","id_token":"#,
            id_token.expose_secret().trim(),
            &format!(r#","duration_seconds":{}}}"#, lifetime.as_secs()),
        ]);
        let url = format!("{}/v5/agencies/assume-with-oidc", self.endpoint);
        let request = exchange::post(url, self.endpoint.authority()).body(body);
        read::keys(exchange::ask(&self.transport, request, &[id_token], timeout).await?)
    }
}

/// Shows only the endpoint.
impl fmt::Debug for Sts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sts").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
