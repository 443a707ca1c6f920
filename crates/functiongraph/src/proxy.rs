//! The URL of a forward proxy: `http` or `https`, a host, a port, and nothing else.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::endpoint::{Endpoint, EndpointError};

/// A forward proxy. The client opens a tunnel through it with `CONNECT` and talks TLS with the endpoint inside, so the
/// proxy sees the endpoint's host and port and no part of a request. It cannot repeat a request either.
///
/// ```
/// use functiongraph::Proxy;
///
/// let proxy: Proxy = "http://proxy.example.com:3128".parse()?;
/// assert_eq!(proxy.endpoint().host(), "proxy.example.com");
/// assert!("http://user:word@proxy.example.com:3128".parse::<Proxy>().is_err());
/// # Ok::<(), functiongraph::proxy::ProxyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    scheme: &'static str,
    endpoint: Endpoint,
}

/// Why a text is not the URL of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// It begins with neither `http://` nor `https://`.
    #[error("the URL of a proxy begins with http:// or https://")]
    Scheme,
    /// It has no port. Proxies have no common one.
    #[error("the URL of a proxy has a port, as in http://proxy.example.com:3128")]
    Port,
    /// The rest is not valid.
    #[error(transparent)]
    Rest(#[from] EndpointError),
}

// === impl Proxy ===

impl Proxy {
    /// Host and port of the proxy.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The address, if the host is one.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.endpoint.ip()
    }
}

/// The URL without a slash at its end.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme, self.endpoint.host(), self.endpoint.port())
    }
}

impl FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => ("http", rest),
            Some(("https", rest)) => ("https", rest),
            _ => return Err(ProxyError::Scheme),
        };
        let endpoint = format!("https://{rest}").parse()?;
        // The last colon of an IPv6 address is in brackets.
        let port = rest.trim_end_matches('/').rsplit_once(':').map(|(_, port)| port);
        if port.is_none_or(|port| port.ends_with(']')) {
            return Err(ProxyError::Port);
        }
        Ok(Self { scheme, endpoint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t01_a_proxy_is_a_host_with_a_port_and_nothing_else() {
        for (text, expected) in [
            ("http://proxy.example.com:3128", "http://proxy.example.com:3128"),
            ("https://Proxy.Example.com:443/", "https://proxy.example.com:443"),
            ("http://[::1]:80", "http://[::1]:80"),
            ("http://0x7f.1:8080", "http://127.0.0.1:8080"),
        ] {
            assert_eq!(text.parse::<Proxy>().unwrap().to_string(), expected);
        }
        for (text, expected) in [
            ("proxy.example.com:3128", ProxyError::Scheme),
            ("socks5://proxy.example.com:3128", ProxyError::Scheme),
            ("http://proxy.example.com", ProxyError::Port),
            ("http://[::1]", ProxyError::Port),
            ("http://user:word@proxy.example.com:3128", EndpointError::Character.into()),
            ("http://proxy.example.com:3128/path", EndpointError::Rest.into()),
            ("http://proxy_example:3128", EndpointError::Host.into()),
            ("http://proxy.example.com:0", EndpointError::Port.into()),
        ] {
            assert_eq!(text.parse::<Proxy>(), Err(expected), "{text}");
        }
    }
}
