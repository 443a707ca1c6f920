//! Pod identity of CCE, Huawei Cloud's Kubernetes: the node exchanges the token of a Pod for keys.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};

use crate::client::{BuildError, ClientOptions};
use crate::local_url::LocalUrl;
use crate::request::secret_value;
use crate::transport::Transport;

use super::{Login, LoginError, exchange, read};

/// The identity service on a Pod's node. Clones are cheap and share their connections.
#[derive(Clone)]
pub struct PodIdentity {
    transport: Transport,
    url: Arc<LocalUrl>,
}

// === impl PodIdentity ===

impl PodIdentity {
    /// Timeout of the official SDKs.
    pub const TIMEOUT: Duration = Duration::from_secs(5);

    /// A client of the service at `url`, which CCE puts into the Pod's variable `HC_CONTAINER_CREDENTIALS_FULL_URI`.
    ///
    /// # Errors
    /// As of [`Client::new`](crate::Client::new). The refused networks of the options apply here too.
    pub fn new(url: LocalUrl, options: ClientOptions) -> Result<Self, BuildError> {
        Ok(Self { transport: Transport::without_tls(&url, options)?, url: Arc::new(url) })
    }

    /// The URL of this client.
    #[must_use]
    pub fn url(&self) -> &LocalUrl {
        &self.url
    }

    /// Temporary access keys of the Pod.
    ///
    /// `authorization` is the content of the file that `HC_CONTAINER_AUTHORIZATION_TOKEN_FILE` names. Read the file
    /// right before the call. Surrounding space is removed. `timeout` bounds the exchange; see [`Self::TIMEOUT`].
    ///
    /// # Errors
    /// See [`LoginError`].
    pub async fn login(&self, authorization: &SecretString, timeout: Duration) -> Result<Login, LoginError> {
        let request = secret_value(authorization.expose_secret().trim()).and_then(|authorization| {
            exchange::post(self.url.to_string(), self.url.authority())
                .header(AUTHORIZATION, authorization)
                .body(Bytes::from_static(b"{}"))
        });
        read::keys(exchange::ask(&self.transport, request, &[authorization], timeout).await?)
    }
}

/// Shows only the URL.
impl fmt::Debug for PodIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PodIdentity").field("url", &self.url).finish_non_exhaustive()
    }
}
