//! How a client connects to its service.

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;

use crate::addresses::IpNet;
use crate::error::SendError;
use crate::proxy::Proxy;
use crate::tls::TlsError;

/// How a client connects to its service.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Certificate authorities to trust in addition to the system's, as PEM.
    pub ca_bundle_pem: Option<String>,
    /// Reads the same bundle when the client needs it again. Without it, the client keeps the text in memory.
    pub load_ca_bundle: Option<LoadCaBundle>,
    /// Timeout for name, TCP and TLS together; 5 seconds by default. For an exchange of less than ten seconds it is
    /// at most half of the exchange. So an unreachable server can be told from one that does not answer.
    pub connect_timeout: Duration,
    /// Value of the `User-Agent` header; name and version of this crate by default.
    pub user_agent: String,
    /// Networks that the client must not connect to, whatever the host resolves to; none by default. For endpoints
    /// that other people may choose, include [`LOCAL_NETWORKS`](crate::addresses::LOCAL_NETWORKS).
    pub refused_networks: Vec<IpNet>,
    /// The forward proxy for all connections; none by default, whatever the environment says. The proxy resolves the
    /// host of the endpoint, so [`refused_networks`](Self::refused_networks) counts for the host of the proxy instead.
    pub proxy: Option<Proxy>,
    /// Carries the requests instead of the network; none by default.
    pub carrier: Option<Carrier>,
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

/// Carries requests another way than over the network, for example to a service in the same process.
#[derive(Clone)]
pub struct Carrier(pub(crate) Arc<Carry>);

pub(crate) type Carry = dyn Fn(Request<Bytes>) -> Carried + Send + Sync;

/// An answer that is on its way.
pub type Carried = Pin<Box<dyn Future<Output = Result<http::Response<reqwest::Body>, SendError>> + Send>>;

/// Reads the CA bundle of a client again, or returns the reason why it cannot.
#[derive(Clone)]
pub struct LoadCaBundle(pub(crate) Arc<Load>);

pub(crate) type Load = dyn Fn() -> Pin<Box<dyn Future<Output = Result<String, String>> + Send>> + Send + Sync;

// === impl ClientOptions ===

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            ca_bundle_pem: None,
            load_ca_bundle: None,
            connect_timeout: Duration::from_secs(5),
            user_agent: concat!(env!("CARGO_PKG_NAME"), "-rust/", env!("CARGO_PKG_VERSION")).to_owned(),
            refused_networks: Vec::new(),
            proxy: None,
            carrier: None,
        }
    }
}

// === impl Carrier ===

impl Carrier {
    /// Carries with a function.
    pub fn new(carry: impl Fn(Request<Bytes>) -> Carried + Send + Sync + 'static) -> Self {
        Self(Arc::new(carry))
    }
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Carrier")
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
