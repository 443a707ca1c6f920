//! Which hosts a provider's endpoints may name, and which addresses these must not lead to.

use crate::api::Reason;
use crate::api::provider::FunctionGraphProviderSpec;
use crate::context::Reach;
use crate::reconcile::halt::Halt;
use functiongraph::addresses::{IpNet, LOCAL_NETWORKS};
use functiongraph::{Carrier, ClientOptions, Endpoint, regions};

/// Where to send, and which addresses a name must not lead to.
pub struct Destination {
    /// Where.
    pub endpoint: Endpoint,
    /// Networks that are not connected to.
    pub refused_networks: Vec<IpNet>,
    carrier: Option<Carrier>,
}

/// The endpoint to use, if the platform team allows it. A host that is not listed as it is must be a name, and one that
/// leads outside: an entry in somebody's DNS must not bring our credential to the metadata service or to a Service of
/// the cluster.
///
/// `field` is what the provider's spec calls it; `given` is what stands there.
pub fn destination(
    field: &str,
    given: Option<&str>,
    derived: impl FnOnce() -> String,
    reach: &Reach,
) -> Result<Destination, Halt> {
    let text = given.map_or_else(derived, ToOwned::to_owned);
    let refused = |why: String| Halt::Wait(Reason::EndpointRefused, why);
    let endpoint: Endpoint =
        text.parse().map_err(|error| refused(format!("The {field} cannot be used: {error}.")))?;
    let (host, allowed, carrier) = (endpoint.host(), &reach.allowed_hosts, reach.carrier.clone());
    if allowed.iter().any(|listed| listed.is_exactly(host)) {
        return Ok(Destination { endpoint, refused_networks: Vec::new(), carrier });
    }
    if allowed.iter().any(|listed| listed.admits(host)) && !endpoint.host_is_ip() {
        let refused_networks = [&LOCAL_NETWORKS, reach.refused_networks.as_slice()].concat();
        return Ok(Destination { endpoint, refused_networks, carrier });
    }
    Err(refused(format!(
        "The host {host} of the {field} is not on the operator's list of allowed endpoint hosts. If it should be, add it to settings.allowedEndpointHosts of the Helm chart (--allowed-endpoint-hosts)."
    )))
}

/// Where the identity service of a provider is.
pub fn iam_destination(spec: &FunctionGraphProviderSpec, reach: &Reach) -> Result<Destination, Halt> {
    let derived = || regions::iam_endpoint(&spec.region);
    destination("iamEndpoint", spec.iam_endpoint.as_deref(), derived, reach)
}

impl Destination {
    /// How to connect to it.
    #[must_use]
    pub fn options(&self, ca_bundle: Option<&str>) -> ClientOptions {
        ClientOptions {
            ca_bundle_pem: ca_bundle.map(ToOwned::to_owned),
            refused_networks: self.refused_networks.clone(),
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
                let place = destination("endpoint", None, || url.clone(), &reach).ok();
                let guarded = place.is_some_and(|place| place.refused_networks.len() >= LOCAL_NETWORKS.len());
                assert!(guarded, "{url}");
            }
        }
        // A region is the tenant's word as well, and part of the host.
        for region in ["obs", "obs-website", "eu-de.evil", "x"] {
            assert!(destination("endpoint", None, || regions::endpoint(region), &reach).is_err(), "{region}");
        }
    }

    #[test]
    fn t01_networks_of_the_cluster_are_refused_unless_the_host_is_listed_as_it_is() {
        let cluster: IpNet = "10.247.0.0/16".parse().unwrap();
        let patterns = ["localhost", ".example.com"].map(|pattern| pattern.parse().unwrap());
        let reach = Reach { allowed_hosts: patterns.into(), refused_networks: vec![cluster], carrier: None };
        let of = |url: &str| {
            destination("endpoint", Some(url), String::new, &reach).map(|place| place.refused_networks)
        };
        assert_eq!(of("https://localhost").ok(), Some(Vec::new()));
        let refused = of("https://fg.example.com").ok().unwrap();
        assert!(refused.contains(&cluster) && LOCAL_NETWORKS.iter().all(|local| refused.contains(local)));
        assert!(of("https://127.0.0.1").is_err());
    }
}
