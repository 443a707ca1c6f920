//! The base URL of a service: `https`, a host, perhaps a port, and nothing else.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use url::{Host, Url};

/// Port of `https`.
const HTTPS_PORT: u16 = 443;

/// Longest host name and longest label that DNS knows.
const MAX_HOST: usize = 253;
const MAX_LABEL: usize = 63;

/// A parsed and validated base URL.
///
/// # Guarantees
/// [`host`](Self::host) is the host that the HTTP library connects to, in one canonical spelling: lower case, and
/// addresses in their usual form even if the input disguises them (`0x7f.1`, `2130706433`). A rule that compares
/// hosts can rely on it. You decide whether to allow an address instead of a name; see
/// [`host_is_ip`](Self::host_is_ip).
///
/// ```
/// use functiongraph::Endpoint;
///
/// let endpoint: Endpoint = "https://functiongraph.eu-de.otc.t-systems.com".parse()?;
/// assert_eq!(endpoint.host(), "functiongraph.eu-de.otc.t-systems.com");
/// assert!("https://functiongraph.eu-de.otc.t-systems.com@evil.example".parse::<Endpoint>().is_err());
/// # Ok::<(), functiongraph::endpoint::EndpointError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: String,
    ip: Option<IpAddr>,
    port: u16,
}

/// Why a text is not an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It does not begin with `https://`.
    #[error("an endpoint begins with https://")]
    Scheme,
    /// It holds a character that URL parsers drop, decode or read in different ways.
    #[error("an endpoint holds no spaces, no '\\', '%' or '@', and ASCII only (write other names as xn--…)")]
    Character,
    /// Something follows the host and the port.
    #[error("an endpoint ends after the host and the port: no path, query or fragment")]
    Rest,
    /// The host is neither a host name nor an address.
    #[error(
        "the host of the endpoint is not valid: expected a name without a dot at its end, or an IP address"
    )]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the port of the endpoint is not a number from 1 to 65535")]
    Port,
}

// === impl Endpoint ===

impl Endpoint {
    /// The host: a name in lower case, or an address (IPv6 in brackets).
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The address, if the host is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// Whether the host is an address. Real clouds use names, so an address means a test set-up or an attack.
    #[must_use]
    pub fn host_is_ip(&self) -> bool {
        self.ip.is_some()
    }

    /// The port; 443 unless the URL says another.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as the `Host` header has them: the port only if it is not 443.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.port {
            HTTPS_PORT => self.host.clone(),
            port => format!("{}:{port}", self.host),
        }
    }
}

/// The URL without a slash at its end.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.authority())
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        // URL parsers accept and repair many malformed URLs (missing slashes, backslashes, tabs, dots in paths).
        // Refuse them before the parser sees them.
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'%' | b'@');
        if !text.bytes().all(is_plain) {
            return Err(EndpointError::Character);
        }
        let after_scheme = match text.split_at_checked("https://".len()) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https://") => rest,
            _ => return Err(EndpointError::Scheme),
        };
        let end = after_scheme.find(['/', '?', '#']).unwrap_or(after_scheme.len());
        let (authority, rest) = after_scheme.split_at(end);
        if authority.is_empty() {
            return Err(EndpointError::Host);
        }
        if !matches!(rest, "" | "/") {
            return Err(EndpointError::Rest);
        }
        if authority.ends_with(':') {
            return Err(EndpointError::Port);
        }
        let url = Url::parse(&format!("https://{authority}")).map_err(|error| match error {
            url::ParseError::InvalidPort => EndpointError::Port,
            _ => EndpointError::Host,
        })?;
        let host = url.host().ok_or(EndpointError::Host)?;
        let ip = match host {
            Host::Domain(name) if is_host_name(name) => None,
            Host::Domain(_) => return Err(EndpointError::Host),
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
        };
        match url.port().unwrap_or(HTTPS_PORT) {
            0 => Err(EndpointError::Port),
            port => Ok(Self { host: host.to_string(), ip, port }),
        }
    }
}

fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= MAX_HOST && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests;
