//! The metadata service of a cloud server hands out keys of the server's agency to every process there.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Request};
use secrecy::{ExposeSecret, SecretString};

use crate::client::{BuildError, ClientOptions};
use crate::local_url::LocalUrl;
use crate::request::secret_value;
use crate::text::Shown;
use crate::transport::Transport;

use super::{Login, LoginError, exchange, read};

/// Path that starts a session, in the second version of the service.
const SESSION: &str = "/meta-data/latest/api/token";

/// Path of the keys.
const KEYS: &str = "/openstack/latest/securitykey";

/// Header with the lifetime of a session, and the six hours that the official SDKs ask for.
const X_METADATA_TOKEN_TTL: HeaderName = HeaderName::from_static("x-metadata-token-ttl-seconds");
const SESSION_SECONDS: u32 = 21_600;

/// Header with the token of a session.
const X_METADATA_TOKEN: HeaderName = HeaderName::from_static("x-metadata-token");

/// The metadata service of the machine. Clones are cheap and share their connections.
#[derive(Clone)]
pub struct Metadata {
    transport: Transport,
    url: Arc<LocalUrl>,
}

// === impl Metadata ===

impl Metadata {
    /// The URL of the service on every machine.
    pub const URL: &str = "http://169.254.169.254";

    /// Timeout of the official SDKs.
    pub const TIMEOUT: Duration = Duration::from_secs(3);

    /// A client of the service at `url`. Only host and port count; see [`Self::URL`].
    ///
    /// # Errors
    /// As of [`Client::new`](crate::Client::new). The refused networks of the options apply here too. The usual ones
    /// include the service's own address.
    pub fn new(url: LocalUrl, options: ClientOptions) -> Result<Self, BuildError> {
        Ok(Self { transport: Transport::without_tls(&url, options)?, url: Arc::new(url) })
    }

    /// The URL of this client.
    #[must_use]
    pub fn url(&self) -> &LocalUrl {
        &self.url
    }

    /// Temporary access keys of the machine's agency, in two requests. A service without sessions gets one request
    /// without a session.
    ///
    /// `timeout` bounds each of the exchanges; see [`Self::TIMEOUT`].
    ///
    /// # Errors
    /// See [`LoginError`]. For a machine without an agency the service answers 404.
    pub async fn login(&self, timeout: Duration) -> Result<Login, LoginError> {
        let session = self.session(timeout).await?;
        let request = exchange::plain(Request::get(self.url.at(KEYS)), self.url.authority());
        let request = match &session {
            Some(token) => {
                secret_value(token.expose_secret()).map(|token| request.header(X_METADATA_TOKEN, token))
            }
            None => Ok(request),
        };
        let request = request.and_then(|request| request.body(Bytes::new()));
        let secrets: Vec<_> = session.iter().collect();
        read::keys(exchange::ask(&self.transport, request, &secrets, timeout).await?)
    }

    /// The token of a new session; none if the service has no sessions.
    async fn session(&self, timeout: Duration) -> Result<Option<SecretString>, LoginError> {
        let request = exchange::plain(Request::put(self.url.at(SESSION)), self.url.authority())
            .header(X_METADATA_TOKEN_TTL, SESSION_SECONDS)
            .body(Bytes::new());
        let seen = exchange::ask_for_any(&self.transport, request, timeout).await?;
        match seen.status {
            404 | 405 | 503 => Ok(None),
            _ => read::text(read::success(seen, &Shown::default())?).map(Some),
        }
    }
}

/// Shows only the URL.
impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata").field("url", &self.url).finish_non_exhaustive()
    }
}
