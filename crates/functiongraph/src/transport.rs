//! The network access of this crate: writes a request at most once, and reads a bounded answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request};

use crate::addresses::{self, GuardedResolver, IpNet};
use crate::endpoint::Endpoint;
use crate::error::SendError;
use crate::local_url::LocalUrl;
use crate::tls;

pub use crate::tls::TlsError;

/// How long an idle connection is kept. Servers and load balancers usually drop one after a minute or more. A request
/// written into a connection that is just closing is lost without an error.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the system repeats unacknowledged bytes, even after the client has stopped waiting for the answer. A list
/// call half a minute later can rely on no request still being under way.
#[cfg(target_os = "linux")]
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(15);

/// Sends requests to one endpoint or local service. Clones are cheap and share their connections.
///
/// # Guarantees
/// * A request is written at most once: no retries, no redirects, no proxy (whatever the environment says).
/// * If a status arrives, you get it, even if the rest of the answer is cut, endless or late.
/// * Memory per call is bounded: 100 headers in less than 1 MiB (the HTTP library's limits), a body up to the
///   caller's cap, no decompression.
/// * TLS 1.2 or newer, verified, except for local services; HTTP/1.1.
#[derive(Clone)]
pub(crate) struct Transport {
    http: reqwest::Client,
    /// Clients for exchanges so short that connecting must time out earlier, by seconds. Created on demand.
    hasty: Arc<[OnceLock<reqwest::Client>; SHORT_EXCHANGE_SECONDS]>,
    make: Arc<Make>,
}

/// Creates an HTTP client with a connect timeout.
type Make = dyn Fn(Duration) -> Result<reqwest::Client, reqwest::Error> + Send + Sync;

/// Exchanges of at least this many seconds use the full connect timeout.
const SHORT_EXCHANGE_SECONDS: usize = 10;

/// How a client connects to its service.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Certificate authorities to trust in addition to the system's, as PEM.
    pub ca_bundle_pem: Option<String>,
    /// Timeout for name, TCP and TLS together; 5 seconds by default. For an exchange of less than ten seconds it is
    /// at most half of the exchange. So an unreachable server can be told from one that does not answer.
    pub connect_timeout: Duration,
    /// Value of the `User-Agent` header; name and version of this crate by default.
    pub user_agent: String,
    /// Networks that the client must not connect to, whatever the host resolves to; none by default. For endpoints
    /// that other people may choose, include [`LOCAL_NETWORKS`](crate::addresses::LOCAL_NETWORKS).
    pub refused_networks: Vec<IpNet>,
}

/// Why a client could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The CA bundle, or TLS itself.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The host of the endpoint is an address in a refused network.
    #[error("the address {0} is in a refused network")]
    RefusedAddress(IpAddr),
    /// The HTTP library refused the options. Only the user agent can cause this.
    #[error("the HTTP client cannot be built; the user agent must be printable")]
    Options(#[source] reqwest::Error),
}

/// The received part of an answer: at least its status.
pub(crate) struct Seen {
    /// HTTP status.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The body, as far as it arrived and up to the cap.
    pub body: BytesMut,
    /// Whether the body is complete.
    pub complete: bool,
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

// === impl Transport ===

impl Transport {
    /// A transport to `endpoint`. The first transport of a process reads the system's certificate authorities from
    /// disk.
    pub(crate) fn new(endpoint: &Endpoint, options: ClientOptions) -> Result<Self, BuildError> {
        Self::made(endpoint.ip(), options, |builder| builder.https_only(true))
    }

    /// A transport to a local service, the only one without TLS.
    pub(crate) fn without_tls(url: &LocalUrl, options: ClientOptions) -> Result<Self, BuildError> {
        // Never ask a resolver: any name here means this machine.
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let host = url.host().to_owned();
        Self::made(url.ip().or(Some(loopback[0])), options, move |builder| {
            builder.resolve_to_addrs(&host, &loopback.map(|ip| (ip, 0).into()))
        })
    }

    /// A transport to a host, which may be an address.
    fn made(
        ip: Option<IpAddr>,
        options: ClientOptions,
        finish: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder + Send + Sync + 'static,
    ) -> Result<Self, BuildError> {
        let connect_timeout = options.connect_timeout;
        let builder = builder(ip, options)?;
        let make = move |most: Duration| finish(builder().connect_timeout(connect_timeout.min(most))).build();
        let http = make(connect_timeout).map_err(BuildError::Options)?;
        Ok(Self { http, hasty: Arc::default(), make: Arc::new(make) })
    }

    /// The client for an exchange of this length. Connecting must time out before the exchange does.
    fn http(&self, timeout: Duration) -> reqwest::Client {
        let seconds = usize::try_from(timeout.as_secs()).unwrap_or(SHORT_EXCHANGE_SECONDS);
        let Some(hasty) = self.hasty.get(seconds) else { return self.http.clone() };
        if let Some(made) = hasty.get() {
            return made.clone();
        }
        // The same options were built successfully before.
        let made = (self.make)(timeout / 2).unwrap_or_else(|_| self.http.clone());
        hasty.get_or_init(|| made).clone()
    }

    /// Sends a request once. `timeout` bounds the whole exchange, and at most `cap` bytes of the body are read.
    pub(crate) async fn send(
        &self,
        request: Request<Bytes>,
        timeout: Duration,
        cap: usize,
    ) -> Result<Seen, SendError> {
        let request = reqwest::Request::try_from(request).map_err(|error| SendError::from_http(&error))?;
        // Kept outside the exchange, so that a timeout does not drop it.
        let mut seen = None;
        let ended =
            tokio::time::timeout(timeout, exchange(&self.http(timeout), request, cap, &mut seen)).await;
        match (seen, ended) {
            (Some(seen), _) => Ok(seen),
            (None, Ok(Err(error))) => Err(SendError::from_http(&error)),
            (None, Ok(Ok(())) | Err(_)) => Err(SendError::timeout(timeout)),
        }
    }
}

/// Sends and receives, and stores what arrives in `seen`. An error after the status keeps the status.
async fn exchange(
    http: &reqwest::Client,
    request: reqwest::Request,
    cap: usize,
    seen: &mut Option<Seen>,
) -> Result<(), reqwest::Error> {
    let mut response = http.execute(request).await?;
    let seen = seen.insert(Seen {
        status: response.status().as_u16(),
        headers: std::mem::take(response.headers_mut()),
        body: BytesMut::with_capacity(initial_capacity(response.content_length(), cap)),
        complete: false,
    });
    while let Some(chunk) = response.chunk().await? {
        let room = cap - seen.body.len();
        let Some(cut) = chunk.get(..room).filter(|cut| cut.len() < chunk.len()) else {
            seen.body.extend_from_slice(&chunk);
            continue;
        };
        seen.body.extend_from_slice(cut);
        return Ok(());
    }
    seen.complete = true;
    Ok(())
}

/// Initial capacity for a body. A buffer that grows leaves a copy of a secret behind that nobody wipes. A body with a
/// large or unknown length grows nevertheless, up to the cap.
fn initial_capacity(length: Option<u64>, cap: usize) -> usize {
    const MAX_INITIAL: usize = 16 * 1024;
    length.and_then(|length| usize::try_from(length).ok()).unwrap_or(MAX_INITIAL).min(MAX_INITIAL).min(cap)
}

/// Settings of every client to a host, which may be an address.
fn builder(
    ip: Option<IpAddr>,
    options: ClientOptions,
) -> Result<impl Fn() -> reqwest::ClientBuilder + Send + Sync, BuildError> {
    let ClientOptions { ca_bundle_pem, connect_timeout: _, user_agent, refused_networks } = options;
    // An address is never resolved, so the resolver cannot refuse it.
    if let Some(ip) = ip.filter(|ip| addresses::may_lead_into(&refused_networks, *ip)) {
        return Err(BuildError::RefusedAddress(ip));
    }
    let tls = tls::config(ca_bundle_pem.as_deref())?;
    Ok(move || {
        let builder = reqwest::Client::builder();
        #[cfg(target_os = "linux")]
        let builder = builder.tcp_user_timeout(TCP_USER_TIMEOUT);
        builder
            .tls_backend_preconfigured(tls.clone())
            .dns_resolver(GuardedResolver::new(&refused_networks))
            .http1_only()
            // A redirect to another host would forward X-Auth-Token.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .user_agent(user_agent.clone())
            .pool_idle_timeout(IDLE_TIMEOUT)
    })
}
