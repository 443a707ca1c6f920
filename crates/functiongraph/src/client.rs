//! Sends a request once and reads what comes back. The one place where this crate touches the network.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use jiff::Timestamp;

use crate::addresses::{self, GuardedResolver, IpNet};
use crate::answer::{Answer, MAX_BODY};
use crate::credentials::Credential;
use crate::endpoint::Endpoint;
use crate::error::SendError;
use crate::request;
use crate::tls;
use crate::urn::FunctionUrn;

pub use crate::tls::TlsError;

/// How long an unused connection is kept. Shorter than the minute or more after which servers and load balancers
/// usually drop one: a request that is written into a connection just being closed is lost without a trace.
const KEEP_IDLE: Duration = Duration::from_secs(20);

/// A client for one endpoint. Clones are cheap and share their connections.
///
/// # Guarantees
/// * A call writes its request at most once: no retries, no redirects, no proxy (whatever the environment says).
/// * Once a status has been seen it is reported, even if the rest of the answer is cut, endless or late.
/// * Memory per call is bounded: 100 headers in less than 1 MiB (the HTTP library's limits), [`MAX_BODY`] bytes of
///   body, no decompression.
/// * TLS 1.2 or newer, verified; HTTP/1.1.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    endpoint: Arc<Endpoint>,
}

/// How a [`Client`] connects.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Certificate authorities to trust beside the system's, as PEM.
    pub ca_bundle_pem: Option<String>,
    /// Time for name, TCP and TLS together; 5 seconds by default.
    pub connect_timeout: Duration,
    /// Value of the `User-Agent` header; name and version of this crate by default.
    pub user_agent: String,
    /// Networks that are not connected to, whatever the host resolves to; none by default. For endpoints that others
    /// may choose, give [`LOCAL_NETWORKS`](crate::addresses::LOCAL_NETWORKS) and more.
    pub refused_networks: Vec<IpNet>,
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The CA bundle, or TLS itself.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The host of the endpoint is an address in a refused network.
    #[error("the address {0} is in a refused network")]
    RefusedAddress(std::net::IpAddr),
    /// The HTTP library does not take the options; only the user agent can be the reason.
    #[error("the HTTP client cannot be built; the user agent must be printable")]
    Options(#[source] reqwest::Error),
}

/// What has been seen of an answer so far.
struct Seen {
    status: u16,
    headers: HeaderMap,
    body: BytesMut,
}

// === impl ClientOptions ===

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            ca_bundle_pem: None,
            connect_timeout: Duration::from_secs(5),
            user_agent: concat!(env!("CARGO_PKG_NAME"), "-rust/", env!("CARGO_PKG_VERSION")).to_owned(),
            refused_networks: Vec::new(),
        }
    }
}

// === impl Client ===

impl Client {
    /// A client for `endpoint`. Reads the system's certificate authorities, and so a file or a folder.
    ///
    /// # Errors
    /// The CA bundle holds no readable certificate, the endpoint is an address in a refused network, or the user agent
    /// cannot stand in a header.
    pub fn new(endpoint: Endpoint, options: ClientOptions) -> Result<Self, BuildError> {
        let ClientOptions { ca_bundle_pem, connect_timeout, user_agent, refused_networks } = options;
        // An address is never resolved, so the resolver would not see it.
        if let Some(ip) = endpoint.ip().filter(|ip| addresses::is_in(&refused_networks, *ip)) {
            return Err(BuildError::RefusedAddress(ip));
        }
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(ca_bundle_pem.as_deref())?)
            .dns_resolver(GuardedResolver::new(&refused_networks))
            .https_only(true)
            .http1_only()
            // Followed across hosts, a redirect would take X-Auth-Token along.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .user_agent(user_agent)
            .connect_timeout(connect_timeout)
            .pool_idle_timeout(KEEP_IDLE)
            .build()
            .map_err(BuildError::Options)?;
        Ok(Self { http, endpoint: Arc::new(endpoint) })
    }

    /// Where this client sends to.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Submits one event for asynchronous execution. An empty event is sent as `{}`.
    ///
    /// `signed_at` is the current time; the service refuses a signature more than 15 minutes old. `timeout` bounds the
    /// whole exchange; give more than the connect timeout, or a server that cannot be reached counts as interrupted.
    /// Secrets of the credential that the answer repeats are left out of it. Needs a Tokio runtime with time and
    /// network.
    ///
    /// # Errors
    /// There is no status: [`SendError::NotSent`] if it is certain that no byte of the request was written,
    /// [`SendError::Interrupted`] otherwise. A refusal by the service is an [`Answer`].
    pub async fn invoke_async(
        &self,
        urn: &FunctionUrn,
        event: Bytes,
        credential: &Credential,
        signed_at: Timestamp,
        timeout: Duration,
    ) -> Result<Answer, SendError> {
        let request = request::invoke_async(&self.endpoint, urn, event, credential, signed_at)
            .map_err(|error| SendError::not_built(&error))?;
        let request = reqwest::Request::try_from(request).map_err(|error| SendError::from_http(&error))?;
        // Outside of the exchange, so that what was seen outlives it.
        let mut seen = None;
        let ended = tokio::time::timeout(timeout, self.exchange(request, &mut seen)).await;
        match (seen, ended) {
            (Some(Seen { status, headers, body }), _) => {
                Ok(Answer::read(status, &headers, &body, |text| credential.scrub(text)))
            }
            (None, Ok(Err(error))) => Err(SendError::from_http(&error)),
            (None, Ok(Ok(())) | Err(_)) => Err(SendError::timeout(timeout)),
        }
    }

    /// Sends and receives, and notes in `seen` what has come. An error after the status is no reason to forget it.
    async fn exchange(
        &self,
        request: reqwest::Request,
        seen: &mut Option<Seen>,
    ) -> Result<(), reqwest::Error> {
        let mut response = self.http.execute(request).await?;
        let seen = seen.insert(Seen {
            status: response.status().as_u16(),
            headers: std::mem::take(response.headers_mut()),
            body: BytesMut::new(),
        });
        while let Some(chunk) = response.chunk().await? {
            let room = MAX_BODY - seen.body.len();
            seen.body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
            if seen.body.len() == MAX_BODY {
                break;
            }
        }
        Ok(())
    }
}

/// Says where it sends to, and nothing of what passed through it.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
