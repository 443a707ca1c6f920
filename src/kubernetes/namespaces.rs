//! Reads the labels of one namespace by name. Namespaces are never listed or watched.

use super::{Error, bounded, found};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use std::collections::BTreeMap;

/// The labels of a namespace; `None` if there is no such namespace.
pub async fn labels(client: &Client, name: &str) -> Result<Option<BTreeMap<String, String>>, Error> {
    let api: Api<Namespace> = Api::all(client.clone());
    let namespace = found(bounded(api.get_metadata(name)).await)?;
    Ok(namespace.map(|namespace| namespace.metadata.labels.unwrap_or_default()))
}
