//! The one place where this crate touches the network: a request is written at most once, and what comes back is
//! bounded.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request};
use rustls::ClientConfig;

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
/// * Memory between calls is bounded: connections and trust of the transports used last are kept ([`KEPT`]).
/// * TLS 1.2 or newer, verified, but for local services; HTTP/1.1.
#[derive(Clone)]
pub(crate) struct Transport(Arc<Shared>);

struct Shared {
    /// What it sends with, as long as it is kept or in use. Whoever makes it again keeps the others waiting.
    sender: tokio::sync::Mutex<Weak<Sender>>,
    make: Box<MakeSender>,
    ca_bundle: CaBundle,
}

/// Makes what a transport sends with, for a CA bundle.
type MakeSender = dyn Fn(Option<&str>) -> Result<Sender, BuildError> + Send + Sync;

/// Connections, and the trust for more of them.
struct Sender {
    http: reqwest::Client,
    /// For exchanges so short that connecting must end earlier, by their seconds. Made when they are needed.
    hasty: [OnceLock<reqwest::Client>; HASTY],
    make: Box<MakeClient>,
}

/// Makes an HTTP client with a connect timeout.
type MakeClient = dyn Fn(Duration) -> Result<reqwest::Client, reqwest::Error> + Send + Sync;

/// Where the CA bundle is while a transport keeps nothing else.
enum CaBundle {
    /// In memory, if there is one.
    Here(Option<String>),
    /// Somewhere else.
    Elsewhere(LoadCaBundle),
}

/// Reads the CA bundle again that a client was made with, or says why that cannot be.
#[derive(Clone)]
pub struct LoadCaBundle(Arc<Load>);

type Load = dyn Fn() -> Pin<Box<dyn Future<Output = Result<String, String>> + Send>> + Send + Sync;

/// Senders that are kept although no request uses them, the latest at the end.
static KEPT: Mutex<VecDeque<Arc<Sender>>> = Mutex::new(VecDeque::new());

/// The number of senders kept. One with a large CA bundle, and an idle connection, takes some 100 KB.
const MOST_KEPT: usize = 128;

/// Exchanges of at least this many seconds leave the whole connect timeout.
const HASTY: usize = 10;

/// How a client connects, of whatever service.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Certificate authorities to trust beside the system's, as PEM.
    pub ca_bundle_pem: Option<String>,
    /// Where the same bundle can be read when it is needed again. Without, the client has its text in memory for good.
    pub load_ca_bundle: Option<LoadCaBundle>,
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
            load_ca_bundle: None,
            connect_timeout: Duration::from_secs(5),
            user_agent: concat!(env!("CARGO_PKG_NAME"), "-rust/", env!("CARGO_PKG_VERSION")).to_owned(),
            refused_networks: Vec::new(),
        }
    }
}

// === impl LoadCaBundle ===

impl LoadCaBundle {
    /// Loads with a function.
    pub fn new<F>(load: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<String, String>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(load())))
    }
}

impl fmt::Debug for LoadCaBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoadCaBundle")
    }
}

// === impl Sender ===

impl Sender {
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

    /// Keeps it, and gives up the one that was used longest ago if there are too many.
    fn keep(self: &Arc<Self>) {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|other| !Arc::ptr_eq(self, other));
        kept.push_back(Arc::clone(self));
        let oldest = if kept.len() > MOST_KEPT { kept.pop_front() } else { None };
        drop(kept);
        drop(oldest);
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
        let ClientOptions { ca_bundle_pem, load_ca_bundle, connect_timeout, user_agent, refused_networks } =
            options;
        // An address is never resolved, so the resolver would not see it.
        if let Some(ip) = ip.filter(|ip| addresses::may_lead_into(&refused_networks, *ip)) {
            return Err(BuildError::RefusedAddress(ip));
        }
        let build = Arc::new(move |tls: &ClientConfig, most: Duration| {
            let builder = builder(tls, &refused_networks).user_agent(user_agent.clone());
            finish(builder.connect_timeout(connect_timeout.min(most))).build()
        });
        let make = move |ca_bundle: Option<&str>| {
            let (tls, build) = (tls::config(ca_bundle)?, Arc::clone(&build));
            let http = build(&tls, connect_timeout).map_err(BuildError::Options)?;
            let make = move |most| build(&tls, most);
            Ok(Sender { http, hasty: Default::default(), make: Box::new(make) })
        };
        let sender = Arc::new(make(ca_bundle_pem.as_deref())?);
        sender.keep();
        Ok(Self(Arc::new(Shared {
            sender: tokio::sync::Mutex::new(Arc::downgrade(&sender)),
            make: Box::new(make),
            ca_bundle: load_ca_bundle.map_or(CaBundle::Here(ca_bundle_pem), CaBundle::Elsewhere),
        })))
    }

    /// What to send with: kept since the last time, or made again.
    async fn sender(&self) -> Result<Arc<Sender>, SendError> {
        let mut last = self.0.sender.lock().await;
        let sender = match last.upgrade() {
            Some(kept) => kept,
            None => Arc::new(self.made_again().await?),
        };
        sender.keep();
        *last = Arc::downgrade(&sender);
        Ok(sender)
    }

    async fn made_again(&self) -> Result<Sender, SendError> {
        let made = match &self.0.ca_bundle {
            CaBundle::Here(text) => (self.0.make)(text.as_deref()),
            CaBundle::Elsewhere(LoadCaBundle(load)) => {
                let why = |why| SendError::NotSent(format!("the CA bundle cannot be read again: {why}"));
                (self.0.make)(Some(&load().await.map_err(why)?))
            }
        };
        made.map_err(|error| SendError::NotSent(error.to_string()))
    }

    /// Sends a request once. `timeout` bounds the whole exchange, and at most `cap` bytes of the body are read.
    pub(crate) async fn send(
        &self,
        request: Request<Bytes>,
        timeout: Duration,
        cap: usize,
    ) -> Result<Seen, SendError> {
        let request = reqwest::Request::try_from(request).map_err(|error| SendError::from_http(&error))?;
        let sender = self.sender().await?;
        // Outside of the exchange, so that what was seen outlives it.
        let mut seen = None;
        let ended =
            tokio::time::timeout(timeout, exchange(&sender.http(timeout), request, cap, &mut seen)).await;
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

impl Drop for Shared {
    /// Nobody will use what is kept for it.
    fn drop(&mut self) {
        let own = self.sender.get_mut().as_ptr();
        KEPT.lock().unwrap_or_else(PoisonError::into_inner).retain(|kept| Arc::as_ptr(kept) != own);
    }
}

/// What holds for every client.
fn builder(tls: &ClientConfig, refused_networks: &[IpNet]) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder();
    #[cfg(target_os = "linux")]
    let builder = builder.tcp_user_timeout(UNACKNOWLEDGED);
    builder
        .tls_backend_preconfigured(tls.clone())
        .dns_resolver(GuardedResolver::new(refused_networks))
        .http1_only()
        // Followed across hosts, a redirect would take X-Auth-Token along.
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .pool_idle_timeout(KEEP_IDLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn transport(load_ca_bundle: Option<LoadCaBundle>, ca_bundle_pem: &str) -> Transport {
        let ca_bundle_pem = Some(ca_bundle_pem.to_owned());
        let options = ClientOptions { ca_bundle_pem, load_ca_bundle, ..ClientOptions::default() };
        Transport::new(&"https://localhost:1".parse().unwrap(), options).unwrap()
    }

    #[tokio::test]
    async fn t17_few_clients_are_kept_and_the_others_are_made_again_when_they_are_used() {
        let bundle = rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap().cert.pem();
        let (loads, good) = (Arc::new(AtomicUsize::new(0)), bundle.clone());
        let counted = Arc::clone(&loads);
        let load = LoadCaBundle::new(move || {
            let first = counted.fetch_add(1, Ordering::Relaxed) == 0;
            std::future::ready(if first { Ok(good.clone()) } else { Err("it has changed".to_owned()) })
        });
        let loading = transport(Some(load), &bundle);
        let is_made = async || loading.0.sender.lock().await.upgrade().is_some();
        let crowd = || (0..MOST_KEPT).map(|_| transport(None, &bundle)).collect::<Vec<_>>();
        assert!(loading.sender().await.is_ok() && is_made().await);
        assert_eq!(loads.load(Ordering::Relaxed), 0);

        let others = crowd();
        assert!(!is_made().await);
        assert_eq!(KEPT.lock().unwrap().len(), MOST_KEPT);
        let in_use = loading.sender().await.unwrap();
        assert_eq!(loads.load(Ordering::Relaxed), 1);

        // What is in use stays.
        let more = crowd();
        assert!(is_made().await);
        drop(in_use);
        let Err(SendError::NotSent(why)) = loading.sender().await else { panic!("it has no bundle") };
        assert_eq!(why, "the CA bundle cannot be read again: it has changed");
        assert!(others[0].sender().await.is_ok());

        drop((loading, others, more));
        assert!(KEPT.lock().unwrap().len() < MOST_KEPT);
    }
}
