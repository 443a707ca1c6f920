//! Which hosts a provider's endpoints may name, and which addresses these must not lead to.

use super::ProviderCheck;
use crate::api::Reason;
use crate::api::provider::ForwardProxy;
use crate::context::Reach;
use crate::reconcile::halt::Halt;
use functiongraph::addresses::{IpNet, LOCAL_NETWORKS};
use functiongraph::{Carrier, ClientOptions, Endpoint, Proxy, regions};

/// Where to send, and which addresses a name must not lead to.
pub struct Destination {
    pub endpoint: Endpoint,
    pub proxy: Option<Proxy>,
    /// Networks that are not connected to.
    pub refused_networks: Vec<IpNet>,
    carrier: Option<Carrier>,
}

/// The endpoint to use, if the platform team allows it. A host that is not listed as it is must be a name, and one that
/// leads outside: an entry in somebody's DNS must not bring our credential to the metadata service or to a Service of
/// the cluster.
///
/// `field` is what the provider's spec calls it; `given` is what stands there.
fn destination(
    field: &str,
    given: Option<&str>,
    derived: impl FnOnce() -> String,
    reach: &Reach,
) -> Result<Destination, Halt> {
    let text = given.map_or_else(derived, ToOwned::to_owned);
    let endpoint: Endpoint =
        text.parse().map_err(|error| refused(format!("The {field} cannot be used: {error}.")))?;
    let refused_networks = refused_networks(field, &endpoint, reach)?;
    Ok(Destination { endpoint, proxy: None, refused_networks, carrier: reach.carrier.clone() })
}

/// The networks that a host must not lead into, if the platform team allows the host.
fn refused_networks(field: &str, endpoint: &Endpoint, reach: &Reach) -> Result<Vec<IpNet>, Halt> {
    let (host, allowed) = (endpoint.host(), &reach.allowed_hosts);
    if allowed.iter().any(|listed| listed.is_exactly(host)) {
        return Ok(Vec::new());
    }
    if allowed.iter().any(|listed| listed.admits(host)) && !endpoint.host_is_ip() {
        return Ok([&LOCAL_NETWORKS, reach.refused_networks.as_slice()].concat());
    }
    Err(refused(format!(
        "The host {host} of the {field} is not on the operator's list of allowed endpoint hosts. Check spec.region and spec.{field}. If the host is right, add it to settings.allowedEndpointHosts of the Helm chart (--allowed-endpoint-hosts)."
    )))
}

fn refused(why: String) -> Halt {
    Halt::Wait(Reason::EndpointRefused, why)
}

impl ProviderCheck<'_> {
    /// Where a field of the spec leads, through the provider's proxy. Without the field, that is derived from the region.
    pub(super) fn destination(
        &self,
        field: &str,
        given: Option<&str>,
        derived: fn(&str) -> String,
    ) -> Result<Destination, Halt> {
        let (spec, reach) = (self.spec, &self.context.options.reach);
        destination(field, given, || derived(&spec.region), reach)?.through(spec.proxy.as_ref(), reach)
    }

    /// Where the provider's identity service is.
    pub(super) fn iam_destination(&self) -> Result<Destination, Halt> {
        self.destination("iamEndpoint", self.spec.iam_endpoint.as_deref(), regions::iam_endpoint)
    }
}

impl Destination {
    /// The same through a proxy, which is held to the same rules. Only the proxy is connected to, and it resolves the name
    /// of the endpoint.
    pub fn through(self, proxy: Option<&ForwardProxy>, reach: &Reach) -> Result<Self, Halt> {
        let Some(proxy) = proxy else { return Ok(self) };
        let proxy: Proxy =
            proxy.url.parse().map_err(|error| refused(format!("The proxy cannot be used: {error}.")))?;
        let refused_networks = refused_networks("proxy", proxy.endpoint(), reach)?;
        Ok(Self { proxy: Some(proxy), refused_networks, ..self })
    }

    /// How to connect to it.
    pub fn options(&self, ca_bundle: Option<&str>) -> ClientOptions {
        ClientOptions {
            ca_bundle_pem: ca_bundle.map(ToOwned::to_owned),
            refused_networks: self.refused_networks.clone(),
            proxy: self.proxy.clone(),
            carrier: self.carrier.clone(),
            ..ClientOptions::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    /// What the operator may reach with these flags.
    fn reach(flags: &[&str]) -> Reach {
        let arguments = ["functiongraph-operator", "run"].iter().chain(flags);
        let Command::Run(run) = Cli::parse_from(arguments).command else {
            unreachable!("that is what was asked for")
        };
        Reach { allowed_hosts: run.allowed_hosts(), refused_networks: run.refused_networks, carrier: None }
    }

    #[test]
    fn t01_a_host_that_is_allowed_too_takes_none_away_unless_told_so() {
        let admits = |flags: &[&str], url: &str| {
            destination("endpoint", Some(url), String::new, &reach(flags)).is_ok()
        };
        let (private, region) = ("https://fg.example.com", "https://functiongraph.eu-de.otc.t-systems.com");
        let more = "--allowed-endpoint-hosts=fg.example.com";
        assert!(admits(&[more], private) && admits(&[more], region));
        let alone = [more, "--default-endpoint-hosts=false"];
        assert!(admits(&alone, private) && !admits(&alone, region));
    }

    #[test]
    fn t01_every_endpoint_that_is_derived_from_a_region_is_on_the_list() {
        let reach = reach(&[]);
        for region in ["cn-north-4", "la-north-2", "my-kualalumpur-1", "eu-west-101", "eu-de", "eu-nl"] {
            for url in
                [regions::endpoint(region), regions::iam_endpoint(region), regions::sts_endpoint(region)]
            {
                let found = destination("endpoint", None, || url.clone(), &reach).ok();
                let guarded = found.is_some_and(|found| found.refused_networks.len() >= LOCAL_NETWORKS.len());
                assert!(guarded, "{url}");
            }
        }
        // A region is the tenant's word as well, and part of the host.
        for region in ["obs", "obs-website", "eu-de.evil", "x"] {
            assert!(destination("endpoint", None, || regions::endpoint(region), &reach).is_err(), "{region}");
        }
    }

    #[test]
    fn t01_a_proxy_is_held_to_the_same_rules_and_its_own_networks_are_refused() {
        let patterns = ["localhost", "127.0.0.1", ".example.com"].map(|pattern| pattern.parse().unwrap());
        let reach = Reach { allowed_hosts: patterns.into(), refused_networks: Vec::new(), carrier: None };
        let through = |endpoint: &str, url: &str| {
            let proxy = ForwardProxy { url: url.into() };
            destination("endpoint", Some(endpoint), String::new, &reach)?.through(Some(&proxy), &reach)
        };
        let named = through("https://fg.example.com", "http://localhost:3128").ok().unwrap();
        assert_eq!(
            (named.proxy.unwrap().to_string(), named.refused_networks.len()),
            ("http://localhost:3128".into(), 0)
        );
        let guarded = through("https://127.0.0.1", "https://proxy.example.com:3128").ok().unwrap();
        assert_eq!(guarded.refused_networks, LOCAL_NETWORKS);
        for url in [
            "http://elsewhere:3128",
            "http://10.0.0.1:3128",
            "http://localhost",
            "http://a@localhost:1",
            "ftp://localhost:1",
        ] {
            assert!(
                matches!(through("https://fg.example.com", url), Err(Halt::Wait(Reason::EndpointRefused, _))),
                "{url}"
            );
        }
        assert!(
            through("https://elsewhere", "http://localhost:3128").is_err(),
            "a proxy allows no other endpoint"
        );
    }

    #[test]
    fn t01_networks_of_the_cluster_are_refused_unless_the_host_is_listed_as_it_is() {
        let cluster: IpNet = "10.247.0.0/16".parse().unwrap();
        let patterns = ["localhost", ".example.com"].map(|pattern| pattern.parse().unwrap());
        let reach = Reach { allowed_hosts: patterns.into(), refused_networks: vec![cluster], carrier: None };
        let of = |url: &str| {
            destination("endpoint", Some(url), String::new, &reach).map(|found| found.refused_networks)
        };
        assert_eq!(of("https://localhost").ok(), Some(Vec::new()));
        let refused = of("https://fg.example.com").ok().unwrap();
        assert!(refused.contains(&cluster) && LOCAL_NETWORKS.iter().all(|local| refused.contains(local)));
        assert!(of("https://127.0.0.1").is_err());
    }
}
