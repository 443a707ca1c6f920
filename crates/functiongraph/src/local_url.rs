//! The URL of a local service: plain `http`, and only a local or private address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::addresses::{self, LOCAL_NETWORKS};
use crate::endpoint::{Endpoint, EndpointError};

/// Port of `http`.
const HTTP_PORT: u16 = 80;

/// Private networks in addition to [`LOCAL_NETWORKS`]: those of RFC 1918 and RFC 4193, and the shared address space
/// that carriers and clouds use internally (RFC 6598).
const PRIVATE_NETWORKS: [IpNet; 5] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7)),
];

/// A plain `http` URL with a local or private address, or with `localhost`.
///
/// Two services hand out credentials without TLS, because they run on the machine: instance metadata and pod
/// identity. Only the owner of the process may choose this URL, never a tenant.
///
/// # Guarantees
/// The host is an address that the internet does not route, however the URL spells it, or `localhost` (or a name that
/// ends with `.localhost`), which always means the loopback addresses. No other name is resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LocalUrl {
    host: String,
    ip: Option<IpAddr>,
    port: u16,
    /// Path and query, with a slash at the beginning.
    path: String,
}

/// Why a text is not a local URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LocalUrlError {
    /// It does not begin with `http://`.
    #[error("the URL of a local service begins with http://")]
    Scheme,
    /// It holds a character that URL parsers drop, decode or read in different ways.
    #[error("the URL of a local service holds no spaces, no '\\' or '#', and ASCII only")]
    Character,
    /// The host or the port is not valid.
    #[error(transparent)]
    Host(EndpointError),
    /// The host is a name, or an address at which a stranger could answer.
    #[error("a service without TLS has to be at a local or private IP address, or at localhost")]
    NotLocal,
}

// === impl LocalUrl ===

impl LocalUrl {
    /// The host: an address (IPv6 in brackets), or a name that means loopback.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The address; none for `localhost`.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// Host and port as the `Host` header has them: the port only if it is not 80.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.port {
            HTTP_PORT => self.host.clone(),
            port => format!("{}:{port}", self.host),
        }
    }

    /// The same host and port with another path. The path begins with a slash.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority())
    }
}

/// The whole URL.
impl fmt::Display for LocalUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.at(&self.path))
    }
}

impl FromStr for LocalUrl {
    type Err = LocalUrlError;

    fn from_str(text: &str) -> Result<Self, LocalUrlError> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#')) {
            return Err(LocalUrlError::Character);
        }
        let rest = match text.split_at_checked("http://".len()) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http://") => rest,
            _ => return Err(LocalUrlError::Scheme),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        // Endpoint has the strictest rules for hosts. Only the default port differs.
        let has_port = authority.rsplit(']').next().is_some_and(|end| end.contains(':'));
        let port = if has_port { String::new() } else { format!(":{HTTP_PORT}") };
        let endpoint: Endpoint = format!("https://{authority}{port}").parse().map_err(LocalUrlError::Host)?;
        let is_local = match endpoint.ip() {
            Some(ip) => !ip.is_unspecified() && is_near(ip),
            None => endpoint.host() == "localhost" || endpoint.host().ends_with(".localhost"),
        };
        if !is_local {
            return Err(LocalUrlError::NotLocal);
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            host: endpoint.host().to_owned(),
            ip: endpoint.ip(),
            port: endpoint.port(),
            path: format!("{slash}{path}"),
        })
    }
}

fn is_near(ip: IpAddr) -> bool {
    addresses::is_in(&LOCAL_NETWORKS, ip) || addresses::is_in(&PRIVATE_NETWORKS, ip)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_of_the_machine_and_its_private_networks_are_local() {
        for (text, url) in [
            ("http://169.254.169.254", "http://169.254.169.254/"),
            ("HTTP://169.254.169.254:80/a/b?c=%20d", "http://169.254.169.254/a/b?c=%20d"),
            ("http://127.0.0.1:8080?x", "http://127.0.0.1:8080/?x"),
            ("http://127.1:443/", "http://127.0.0.1:443/"),
            ("http://[::1]", "http://[::1]/"),
            ("http://[fd00:ec2::254]:81/a", "http://[fd00:ec2::254]:81/a"),
            ("http://10.0.0.1/", "http://10.0.0.1/"),
            ("http://100.125.0.1/", "http://100.125.0.1/"),
            ("http://LocalHost:9", "http://localhost:9/"),
            ("http://iam.localhost", "http://iam.localhost/"),
        ] {
            assert_eq!(text.parse::<LocalUrl>().map(|url| url.to_string()), Ok(url.to_owned()), "{text}");
        }
    }

    #[test]
    fn t01_addresses_at_which_strangers_could_answer_are_not() {
        use LocalUrlError::{Character, Host, NotLocal, Scheme};
        for (text, error) in [
            ("", Scheme),
            ("https://127.0.0.1", Scheme),
            ("127.0.0.1", Scheme),
            ("http://8.8.8.8", NotLocal),
            ("http://134744072", NotLocal),
            ("http://0.0.0.0", NotLocal),
            ("http://[::]", NotLocal),
            ("http://[2001:db8::1]", NotLocal),
            ("http://[::ffff:8.8.8.8]", NotLocal),
            ("http://[64:ff9b::127.0.0.1]", NotLocal),
            ("http://metadata.example", NotLocal),
            ("http://localhost.example", NotLocal),
            ("http://notlocalhost", NotLocal),
            ("http://127.0.0.1@evil.example", Host(EndpointError::Character)),
            ("http://127.0.0.1:x", Host(EndpointError::Port)),
            ("http://127.0.0.1:", Host(EndpointError::Port)),
            ("http:///path", Host(EndpointError::Host)),
            ("http://127.0.0.1\\@evil.example", Character),
            ("http://127.0.0.1/#a", Character),
            ("http://127.0.0.1/a b", Character),
        ] {
            assert_eq!(text.parse::<LocalUrl>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_url_is_read_alike_by_a_url_parser(text in "http://[a-z0-9.:@\\[\\]/?%~-]{1,24}|\\PC*") {
            if let Ok(local) = text.parse::<LocalUrl>() {
                let url = url::Url::parse(&text).unwrap();
                prop_assert_eq!(url.host_str(), Some(local.host()));
                prop_assert_eq!(url.port_or_known_default(), Some(local.port));
                prop_assert_eq!(local.to_string().parse(), Ok(local));
            }
        }
    }
}
