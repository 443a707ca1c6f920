//! Reads from the API server what the watch's copy of a provider lacks, or may have too late.

use super::{Error, bounded, found, named};
use crate::api::names::is_object_name;
use crate::api::provider::{Edition, edition_of};
use crate::api::{ClusterFunctionGraphProvider, FunctionGraphProvider, ProviderKey};
use kube::{Api, Client};
use tokio::sync::Semaphore;

/// Providers that are read at the same time for their CA bundle.
const MAX_READS: usize = 8;

/// The provider object and its spec, by uid and generation; `None` if it does not exist.
pub async fn edition(client: &Client, key: &ProviderKey) -> Result<Option<Edition>, Error> {
    let (namespace, name) = key.parts();
    if !is_object_name(name) {
        return Ok(None);
    }
    let metadata = if let Some(namespace) = namespace {
        let api: Api<FunctionGraphProvider> = Api::namespaced(client.clone(), namespace);
        found(bounded(api.get_metadata(name)).await)?.map(|provider| provider.metadata)
    } else {
        let api: Api<ClusterFunctionGraphProvider> = Api::all(client.clone());
        found(bounded(api.get_metadata(name)).await)?.map(|provider| provider.metadata)
    };
    Ok(metadata.as_ref().map(edition_of))
}

/// The CA bundle of a provider, with the edition that it belongs to; `None` if the provider does not exist.
pub async fn ca_bundle(
    client: &Client,
    key: &ProviderKey,
) -> Result<Option<(Edition, Option<String>)>, Error> {
    // Few at a time, because an object may be large, whatever its CA bundle is. The semaphore is never closed.
    static READING: Semaphore = Semaphore::const_new(MAX_READS);
    let _permit = READING.acquire().await;
    Ok(match key.parts() {
        (Some(namespace), name) => {
            let api: Api<FunctionGraphProvider> = Api::namespaced(client.clone(), namespace);
            let provider = named(&api, name).await?;
            provider.map(|provider| (edition_of(&provider.metadata), provider.spec.ca_bundle))
        }
        (None, name) => {
            let api: Api<ClusterFunctionGraphProvider> = Api::all(client.clone());
            let provider = named(&api, name).await?;
            provider.map(|provider| (edition_of(&provider.metadata), provider.spec.provider.ca_bundle))
        }
    })
}
