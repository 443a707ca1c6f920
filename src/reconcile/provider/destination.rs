//! Which hosts a provider's endpoints may name, and which addresses these must not lead to.

use super::Obstacle;
use crate::api::Reason;
use functiongraph::addresses::{IpNet, LOCAL_NETWORKS};
use functiongraph::{ClientOptions, Endpoint};

/// Where to send, and which addresses a name must not lead to.
pub struct Destination {
    /// Where.
    pub endpoint: Endpoint,
    /// Networks that are not connected to.
    pub refused_networks: Vec<IpNet>,
}

/// The endpoint to use, if the platform team allows it. A host that fits a suffix only must be a name, and
/// one that leads outside: an entry in somebody's DNS must not bring our credential to the metadata service.
///
/// `field` is what the provider's spec calls it; `given` is what stands there.
pub fn destination(
    field: &str,
    given: Option<&str>,
    derived: impl FnOnce() -> String,
    allowed: &[String],
) -> Result<Destination, Obstacle> {
    let text = given.map_or_else(derived, ToOwned::to_owned);
    let refused = |why: String| Obstacle(Reason::EndpointRefused, why);
    let endpoint: Endpoint =
        text.parse().map_err(|error| refused(format!("The {field} cannot be used: {error}.")))?;
    let host = endpoint.host();
    if allowed.iter().any(|listed| listed == host) {
        return Ok(Destination { endpoint, refused_networks: Vec::new() });
    }
    let fits = |pattern: &String| pattern.starts_with('.') && host.ends_with(pattern.as_str());
    if allowed.iter().any(fits) && !endpoint.host_is_ip() {
        return Ok(Destination { endpoint, refused_networks: LOCAL_NETWORKS.to_vec() });
    }
    Err(refused(format!(
        "The host {host} of the {field} is not on the operator's list of allowed endpoint hosts. If it should be, add it with --allowed-endpoint-hosts."
    )))
}

impl Destination {
    /// How to connect to it.
    #[must_use]
    pub fn options(&self, ca_bundle: Option<&str>) -> ClientOptions {
        ClientOptions {
            ca_bundle_pem: ca_bundle.map(ToOwned::to_owned),
            refused_networks: self.refused_networks.clone(),
            ..ClientOptions::default()
        }
    }
}
