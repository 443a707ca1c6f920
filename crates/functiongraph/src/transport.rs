//! The one place where this crate touches the network: a request is written at most once, and what comes back is
//! bounded.

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

/// How long an unused connection is kept. Shorter than the minute or more after which servers and load balancers
/// usually drop one: a request that is written into a connection just being closed is lost without a trace.
const KEEP_IDLE: Duration = Duration::from_secs(20);

/// How long the system goes on repeating what was written into a connection and is not acknowledged, also after we gave
/// up on the answer: whoever asks for a list half a minute later can count on nothing being under way any more.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);

/// Sends requests to one endpoint or local service. Clones are cheap and share their connections.
///
/// # Guarantees
/// * A request is written at most once: no retries, no redirects, no proxy (whatever the environment says).
/// * Once a status has been seen it is reported, even if the rest of the answer is cut, endless or late.
/// * Memory per call is bounded: 100 headers in less than 1 MiB (the HTTP library's limits), a body up to the cap that
///   the caller names, no decompression.
/// * TLS 1.2 or newer, verified, but for local services; HTTP/1.1.
#[derive(Clone)]
pub(crate) struct Transport {
    http: reqwest::Client,
    /// For exchanges so short that connecting must end earlier, by their seconds. Made when they are needed.
    hasty: Arc<[OnceLock<reqwest::Client>; HASTY]>,
    make: Arc<Make>,
}

/// Makes an HTTP client with a connect timeout.
type Make = dyn Fn(Duration) -> Result<reqwest::Client, reqwest::Error> + Send + Sync;

/// Exchanges of at least this many seconds leave the whole connect timeout.
const HASTY: usize = 10;

/// How a client connects, of whatever service.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Certificate authorities to trust beside the system's, as PEM.
    pub ca_bundle_pem: Option<String>,
    /// Time for name, TCP and TLS together; 5 seconds by default. Of an exchange of less than ten seconds it is half at
    /// most, so that a server that cannot be connected to is told from one that does not answer.
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
    RefusedAddress(IpAddr),
    /// The HTTP library does not take the options; only the user agent can be the reason.
    #[error("the HTTP client cannot be built; the user agent must be printable")]
    Options(#[source] reqwest::Error),
}

/// What has been seen of an answer: at least its status.
pub(crate) struct Seen {
    /// HTTP status.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The body, as far as it came and up to the cap.
    pub body: BytesMut,
    /// Whether that is all of it.
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
    /// A transport to `endpoint`. The first of a process reads the system's
    /// certificate authorities, and so a file or a folder.
    pub(crate) fn new(endpoint: &Endpoint, options: ClientOptions) -> Result<Self, BuildError> {
        Self::made(endpoint.ip(), options, |builder| builder.https_only(true))
    }

    /// A transport to a service on the machine itself, the only kind that goes without TLS.
    pub(crate) fn without_tls(url: &LocalUrl, options: ClientOptions) -> Result<Self, BuildError> {
        // Whatever a resolver would say, a name is this machine.
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

    /// The client for an exchange of this length: connecting has to end before the whole of it does.
    fn http(&self, timeout: Duration) -> reqwest::Client {
        let seconds = usize::try_from(timeout.as_secs()).unwrap_or(HASTY);
        let Some(hasty) = self.hasty.get(seconds) else { return self.http.clone() };
        if let Some(made) = hasty.get() {
            return made.clone();
        }
        // What could be built once can be built again.
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
        // Outside of the exchange, so that what was seen outlives it.
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

/// Sends and receives, and notes in `seen` what has come. An error after the status is no reason to forget it.
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
        body: BytesMut::with_capacity(room(response.content_length(), cap)),
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

/// Room for a body from the start: one that grows moves, and leaves a copy of a secret behind that nobody wipes. What has no
/// length, or says that it is long, grows all the same, up to the cap.
fn room(said: Option<u64>, cap: usize) -> usize {
    const MOST: usize = 16 * 1024;
    said.and_then(|said| usize::try_from(said).ok()).unwrap_or(MOST).min(MOST).min(cap)
}

/// What holds for every client to a host, which may be an address.
fn builder(
    ip: Option<IpAddr>,
    options: ClientOptions,
) -> Result<impl Fn() -> reqwest::ClientBuilder + Send + Sync, BuildError> {
    let ClientOptions { ca_bundle_pem, connect_timeout: _, user_agent, refused_networks } = options;
    // An address is never resolved, so the resolver would not see it.
    if let Some(ip) = ip.filter(|ip| addresses::may_lead_into(&refused_networks, *ip)) {
        return Err(BuildError::RefusedAddress(ip));
    }
    let tls = tls::config(ca_bundle_pem.as_deref())?;
    Ok(move || {
        let builder = reqwest::Client::builder();
        #[cfg(target_os = "linux")]
        let builder = builder.tcp_user_timeout(UNACKNOWLEDGED);
        builder
            .tls_backend_preconfigured(tls.clone())
            .dns_resolver(GuardedResolver::new(&refused_networks))
            .http1_only()
            // Followed across hosts, a redirect would take X-Auth-Token along.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .user_agent(user_agent.clone())
            .pool_idle_timeout(KEEP_IDLE)
    })
}
