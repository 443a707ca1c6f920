//! Reads one Secret: `get` only, never cached, never listed or watched.

use super::{Error, bounded, found};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use secrecy::SecretString;
use std::collections::BTreeMap;

/// A Secret's values and the version they were read at.
pub struct Values {
    /// The values by key; what is empty or not valid UTF-8 counts as absent.
    pub by_key: BTreeMap<String, SecretString>,
    /// Changes whenever the Secret changes.
    pub version: String,
}

/// The Secret `name` of `namespace`; `None` if there is none.
///
/// # Errors
/// When the API server did not answer, had trouble of its own, or does not allow it.
pub async fn read(client: &Client, namespace: &str, name: &str) -> Result<Option<Values>, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let Some(secret) = found(bounded(api.get(name)).await)? else { return Ok(None) };
    let version = format!(
        "{}/{}",
        secret.metadata.uid.unwrap_or_default(),
        secret.metadata.resource_version.unwrap_or_default()
    );
    let by_key = secret
        .data
        .unwrap_or_default()
        .into_iter()
        // A trailing newline is what `echo` and most editors leave; no credential ends in white space.
        .filter_map(|(key, value)| Some((key, String::from_utf8(value.0).ok()?.trim().to_owned())))
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (key, value.into()))
        .collect();
    Ok(Some(Values { by_key, version }))
}
