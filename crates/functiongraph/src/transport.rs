//! The network access of this crate: writes a request at most once, and reads a bounded answer.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request};
use rustls::ClientConfig;

use crate::addresses::{self, GuardedResolver, IpNet};
use crate::endpoint::Endpoint;
use crate::error::SendError;
use crate::local_url::LocalUrl;
use crate::options::{BuildError, Carrier, ClientOptions, LoadCaBundle};
use crate::proxy::Proxy;
use crate::tls;

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
/// * A request is written at most once: no retries, no redirects, and no proxy but a given one, which only passes the
///   bytes of TLS on (whatever the environment says).
/// * If a status arrives, you get it, even if the rest of the answer is cut, endless or late.
/// * Memory per call is bounded: 100 headers in less than 1 MiB (the HTTP library's limits), a body up to the
///   caller's cap, no decompression.
/// * Memory between calls is bounded: only the most recently used transports keep connections and TLS
///   configuration ([`KEPT`]).
/// * TLS 1.2 or newer, verified, except for local services; HTTP/1.1.
#[derive(Clone)]
pub(crate) struct Transport(Arc<Shared>);

struct Shared {
    /// Carries the requests instead of a sender.
    carrier: Option<Carrier>,
    /// Whether connections go through a proxy.
    through_proxy: bool,
    /// The sender, while it is kept or in use. A request that creates it again blocks the other requests meanwhile.
    sender: tokio::sync::Mutex<Weak<Sender>>,
    make: Box<MakeSender>,
    ca_bundle: CaBundle,
}

/// Creates a sender for a CA bundle.
type MakeSender = dyn Fn(Arc<ClientConfig>) -> Result<Sender, BuildError> + Send + Sync;

/// Connections, and the TLS configuration for new ones.
struct Sender {
    http: reqwest::Client,
    /// Clients for exchanges so short that connecting must time out earlier, by seconds. Created on demand.
    hasty: [OnceLock<reqwest::Client>; SHORT_EXCHANGE_SECONDS],
    make: Box<MakeClient>,
}

/// Creates an HTTP client with a connect timeout.
type MakeClient = dyn Fn(Duration) -> Result<reqwest::Client, reqwest::Error> + Send + Sync;

/// Where the CA bundle is while a transport keeps nothing else.
enum CaBundle {
    /// In memory, if there is one.
    Here(Option<String>),
    /// Somewhere else. Its digest tells whether others still have the same in memory.
    Elsewhere(LoadCaBundle, Option<tls::BundleDigest>),
}

/// What a client sends with, in memory as long as this value is.
pub struct KeptClient(#[expect(dead_code, reason = "it is kept, and not used")] Option<Arc<Sender>>);

/// Senders that are kept although no request uses them. The most recently used is at the end.
static KEPT: Mutex<VecDeque<Arc<Sender>>> = Mutex::new(VecDeque::new());

/// The number of senders kept. One with a large CA bundle and an idle connection takes about 100 KB.
const MAX_KEPT: usize = 128;

/// Exchanges of at least this many seconds use the full connect timeout.
const SHORT_EXCHANGE_SECONDS: usize = 10;

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

// === impl Sender ===

impl Sender {
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

    /// Keeps this sender, and drops the least recently used one if there are too many.
    fn keep(self: &Arc<Self>) {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|other| !Arc::ptr_eq(self, other));
        kept.push_back(Arc::clone(self));
        let oldest = if kept.len() > MAX_KEPT { kept.pop_front() } else { None };
        drop(kept);
        drop(oldest);
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
        let ClientOptions {
            ca_bundle_pem,
            load_ca_bundle,
            connect_timeout,
            user_agent,
            refused_networks,
            proxy,
            carrier,
        } = options;
        // An address is never resolved, so the resolver cannot refuse it.
        let ip = proxy.as_ref().map_or(ip, Proxy::ip);
        if let Some(ip) = ip.filter(|ip| addresses::may_lead_into(&refused_networks, *ip)) {
            return Err(BuildError::RefusedAddress(ip));
        }
        let through_proxy = proxy.is_some();
        let build = Arc::new(move |tls: &ClientConfig, max: Duration| {
            let mut builder = builder(tls, &refused_networks).user_agent(user_agent.clone());
            if let Some(proxy) = &proxy {
                builder = builder.proxy(reqwest::Proxy::all(proxy.to_string())?);
            }
            finish(builder.connect_timeout(connect_timeout.min(max))).build()
        });
        let make = move |tls: Arc<ClientConfig>| {
            let build = Arc::clone(&build);
            let http = build(&tls, connect_timeout).map_err(BuildError::Options)?;
            let make = move |max| build(&tls, max);
            Ok(Sender { http, hasty: Default::default(), make: Box::new(make) })
        };
        let digest = tls::digest(ca_bundle_pem.as_deref());
        let mut last = Weak::new();
        if carrier.is_none() {
            let sender = Arc::new(make(tls::config(ca_bundle_pem.as_deref())?)?);
            sender.keep();
            last = Arc::downgrade(&sender);
        }
        Ok(Self(Arc::new(Shared {
            carrier,
            through_proxy,
            sender: tokio::sync::Mutex::new(last),
            make: Box::new(make),
            ca_bundle: load_ca_bundle
                .map_or(CaBundle::Here(ca_bundle_pem), |load| CaBundle::Elsewhere(load, digest)),
        })))
    }

    /// The sender of the last request if it is still kept, or a new one.
    async fn sender(&self) -> Result<Arc<Sender>, SendError> {
        let Shared { sender: last, make, ca_bundle, .. } = &*self.0;
        let mut last = last.lock().await;
        let sender = if let Some(sender) = last.upgrade() {
            sender
        } else {
            let not_sent = |error: &dyn std::error::Error| SendError::NotSent(error.to_string());
            let tls = match ca_bundle {
                CaBundle::Here(text) => tls::config(text.as_deref()),
                CaBundle::Elsewhere(LoadCaBundle(load), digest) => {
                    if let Some(tls) = tls::in_memory(*digest) {
                        Ok(tls)
                    } else {
                        let why =
                            |why| SendError::NotSent(format!("the CA bundle cannot be read again: {why}"));
                        tls::config(Some(&load().await.map_err(why)?))
                    }
                }
            };
            let tls = tls.map_err(|error| not_sent(&error))?;
            Arc::new(make(tls).map_err(|error| not_sent(&error))?)
        };
        sender.keep();
        *last = Arc::downgrade(&sender);
        Ok(sender)
    }

    /// Gets ready what a request needs, and keeps it.
    pub(crate) async fn keep(&self) -> Result<KeptClient, SendError> {
        let sender = if self.0.carrier.is_some() { None } else { Some(self.sender().await?) };
        Ok(KeptClient(sender))
    }

    /// Sends a request once. `timeout` bounds the whole exchange, and at most `cap` bytes of the body are read.
    pub(crate) async fn send(
        &self,
        request: Request<Bytes>,
        timeout: Duration,
        cap: usize,
    ) -> Result<Seen, SendError> {
        let from_http = |error: reqwest::Error| SendError::from_http(&error, self.0.through_proxy);
        // Kept outside the exchange, so that a timeout does not drop it.
        let (mut seen, mut begun) = (None, false);
        // Reading the CA bundle again counts in the timeout, because the caller relies on it.
        let ended = tokio::time::timeout(timeout, async {
            let response = if let Some(Carrier(carry)) = &self.0.carrier {
                begun = true;
                carry(request).await?.into()
            } else {
                let request = reqwest::Request::try_from(request).map_err(from_http)?;
                let sender = self.sender().await?;
                begun = true;
                sender.http(timeout).execute(request).await.map_err(from_http)?
            };
            receive(response, cap, &mut seen).await.map_err(from_http)
        })
        .await;
        match (seen, ended) {
            (Some(seen), _) => Ok(seen),
            (None, Ok(Err(error))) => Err(error),
            (None, Err(_)) if !begun => {
                let why = format!("the CA bundle was not read again within {} s", timeout.as_secs());
                Err(SendError::NotSent(why))
            }
            (None, Ok(Ok(())) | Err(_)) => Err(SendError::timeout(timeout)),
        }
    }
}

/// Stores in `seen` what arrives of an answer. An error after the status keeps the status.
async fn receive(
    mut response: reqwest::Response,
    cap: usize,
    seen: &mut Option<Seen>,
) -> Result<(), reqwest::Error> {
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

impl Drop for Shared {
    /// Drops the kept sender too, because no other transport uses it.
    fn drop(&mut self) {
        let own = self.sender.get_mut().as_ptr();
        KEPT.lock().unwrap_or_else(PoisonError::into_inner).retain(|kept| Arc::as_ptr(kept) != own);
    }
}

/// Settings of every client.
fn builder(tls: &ClientConfig, refused_networks: &[IpNet]) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder();
    #[cfg(target_os = "linux")]
    let builder = builder.tcp_user_timeout(TCP_USER_TIMEOUT);
    builder
        .tls_backend_preconfigured(tls.clone())
        .dns_resolver(GuardedResolver::new(refused_networks))
        .http1_only()
        // A redirect to another host would forward X-Auth-Token.
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .pool_idle_timeout(IDLE_TIMEOUT)
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
        let new_bundle = || rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap().cert.pem();
        let (bundle, common) = (new_bundle(), new_bundle());
        let (loads, good) = (Arc::new(AtomicUsize::new(0)), bundle.clone());
        let counted = Arc::clone(&loads);
        let load = LoadCaBundle::new(move || {
            let first = counted.fetch_add(1, Ordering::Relaxed) == 0;
            std::future::ready(if first { Ok(good.clone()) } else { Err("it has changed".to_owned()) })
        });
        let loading = transport(Some(load), &bundle);
        let is_made = async || loading.0.sender.lock().await.upgrade().is_some();
        let crowd = || (0..MAX_KEPT).map(|_| transport(None, &common)).collect::<Vec<_>>();
        assert!(loading.sender().await.is_ok() && is_made().await);
        assert_eq!(loads.load(Ordering::Relaxed), 0);

        let others = crowd();
        assert!(!is_made().await);
        assert_eq!(KEPT.lock().unwrap().len(), MAX_KEPT);
        let in_use = loading.sender().await.unwrap();
        assert_eq!(loads.load(Ordering::Relaxed), 1);

        // A sender in use is not dropped.
        let more = crowd();
        assert!(is_made().await);
        drop(in_use);
        let Err(SendError::NotSent(why)) = loading.sender().await else { panic!("it has no bundle") };
        assert_eq!(why, "the CA bundle cannot be read again: it has changed");
        assert!(others[0].sender().await.is_ok());

        let silent = LoadCaBundle::new(std::future::pending);
        let late = transport(Some(silent), &bundle);
        drop((others, more));
        let crowd = crowd();
        let request = Request::builder().uri("https://localhost:1").body(Bytes::new()).unwrap();
        let Err(SendError::NotSent(why)) = late.send(request, Duration::from_millis(1), 1).await else {
            panic!("nothing was sent")
        };
        assert_eq!(why, "the CA bundle was not read again within 0 s");

        // The same bundle is in memory, and so is not loaded.
        let twin = transport(None, &bundle);
        assert!(late.keep().await.is_ok());

        drop((loading, late, twin, crowd));
        assert!(KEPT.lock().unwrap().len() < MAX_KEPT);
    }
}
