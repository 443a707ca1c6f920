//! Networks that a host name must not resolve into.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

pub use ipnet::IpNet;

mod embedded;

/// Networks where a host keeps its secrets and no cloud has an endpoint: "this host" (`0.0.0.0/8`, `::`), loopback
/// (`127.0.0.0/8`, `::1`), and link-local with the metadata service (`169.254.0.0/16`, `fe80::/10`).
pub const LOCAL_NETWORKS: [IpNet; 6] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 8)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10)),
];

/// Whether an address is in one of the networks. An IPv4-mapped IPv6 address counts as IPv4.
pub(crate) fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// Whether a connection to an address may end in one of the networks. That is so if the address is in it, or if it
/// embeds an IPv4 address that is, as NAT64 and 6to4 addresses do.
pub(crate) fn may_lead_into(networks: &[IpNet], address: IpAddr) -> bool {
    let embedded = match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(embedded::ipv4_in(address)),
    };
    is_in(networks, address)
        || embedded.into_iter().flatten().any(|address| is_in(networks, IpAddr::V4(address)))
}

/// Resolves names with the system's resolver and leaves out refused addresses.
///
/// The HTTP library connects to exactly the addresses returned here. It does not resolve the name a second time.
pub(crate) struct GuardedResolver {
    refused: Arc<[IpNet]>,
}

/// All addresses of a name are refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{host} resolves to {address}, which is in a refused network")]
struct RefusedAddress {
    host: String,
    address: IpAddr,
}

// === impl GuardedResolver ===

impl GuardedResolver {
    pub(crate) fn new(refused: &[IpNet]) -> Self {
        Self { refused: refused.into() }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let refused = Arc::clone(&self.refused);
        Box::pin(async move {
            // The port of the URL replaces the zero.
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            allowed(name.as_str(), found, &refused)
        })
    }
}

fn allowed(
    host: &str,
    found: Vec<SocketAddr>,
    refused: &[IpNet],
) -> Result<Addrs, Box<dyn Error + Send + Sync>> {
    let first = found.first().map(SocketAddr::ip);
    let allowed: Vec<_> = found.into_iter().filter(|found| !may_lead_into(refused, found.ip())).collect();
    match first {
        Some(address) if allowed.is_empty() => Err(RefusedAddress { host: host.to_owned(), address }.into()),
        // The connector reports a name without any address.
        _ => Ok(Box::new(allowed.into_iter())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t01_the_local_networks_hold_every_way_home() {
        for home in [
            "0.0.0.0",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "fe80::1",
            "::127.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::127.0.0.1",
            "2002:7f00:1::",
        ] {
            assert!(may_lead_into(&LOCAL_NETWORKS, home.parse().unwrap()), "{home}");
        }
        for away in ["80.158.0.1", "10.0.0.1", "2001:db8::1", "::ffff:80.158.0.1", "64:ff9b::80.158.0.1"] {
            assert!(!may_lead_into(&LOCAL_NETWORKS, away.parse().unwrap()), "{away}");
        }
    }

    #[test]
    fn t01_of_mixed_addresses_only_the_allowed_ones_are_used() {
        let address = |text: &str| SocketAddr::new(text.parse().unwrap(), 0);
        let mixed = vec![address("127.0.0.1"), address("80.158.0.1")];
        let used: Vec<_> = allowed("h", mixed, &LOCAL_NETWORKS).ok().unwrap().collect();
        assert_eq!(used, [address("80.158.0.1")]);
        let error = allowed("h", vec![address("::1")], &LOCAL_NETWORKS).err().unwrap();
        assert_eq!(error.to_string(), "h resolves to ::1, which is in a refused network");
    }
}
