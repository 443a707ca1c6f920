//! Reads from the API server what the watch's copy of a provider lacks, or may have too late.

use super::{Error, bounded, found, named};
use crate::api::invocation::ProviderKind;
use crate::api::names::is_object_name;
use crate::api::provider::{Edition, FunctionGraphProviderSpec};
use crate::api::{ClusterFunctionGraphProvider, FunctionGraphProvider};
use kube::{Api, Client, Resource};
use tokio::sync::Semaphore;

/// Providers that are read at the same time for their CA bundle.
const MAX_READS: usize = 8;

/// The provider object and its spec, by uid and generation; `None` if it does not exist.
pub async fn edition(
    client: &Client,
    kind: ProviderKind,
    namespace: &str,
    name: &str,
) -> Result<Option<Edition>, Error> {
    if !is_object_name(name) {
        return Ok(None);
    }
    let metadata = match kind {
        ProviderKind::FunctionGraphProvider => {
            let api: Api<FunctionGraphProvider> = Api::namespaced(client.clone(), namespace);
            found(bounded(api.get_metadata(name)).await)?.map(|provider| provider.metadata)
        }
        ProviderKind::ClusterFunctionGraphProvider => {
            let api: Api<ClusterFunctionGraphProvider> = Api::all(client.clone());
            found(bounded(api.get_metadata(name)).await)?.map(|provider| provider.metadata)
        }
        ProviderKind::Other => None,
    };
    Ok(metadata.map(|metadata| (metadata.uid.unwrap_or_default(), metadata.generation.unwrap_or_default())))
}

/// The CA bundle of a provider, with the edition that it belongs to; `None` if the provider does not exist.
pub async fn ca_bundle(
    client: &Client,
    kind: ProviderKind,
    namespace: &str,
    name: &str,
) -> Result<Option<(Edition, Option<String>)>, Error> {
    // Few at a time, because an object may be large, whatever its CA bundle is. The semaphore is never closed.
    static READING: Semaphore = Semaphore::const_new(MAX_READS);
    let _permit = READING.acquire().await;
    let found = match kind {
        ProviderKind::FunctionGraphProvider => {
            let api: Api<FunctionGraphProvider> = Api::namespaced(client.clone(), namespace);
            named(&api, name).await?.map(|provider| (edition_of(&provider), provider.spec))
        }
        ProviderKind::ClusterFunctionGraphProvider => {
            let api: Api<ClusterFunctionGraphProvider> = Api::all(client.clone());
            named(&api, name).await?.map(|provider| (edition_of(&provider), provider.spec.provider))
        }
        ProviderKind::Other => None,
    };
    Ok(found.map(|(edition, FunctionGraphProviderSpec { ca_bundle, .. })| (edition, ca_bundle)))
}

fn edition_of<K: Resource>(provider: &K) -> Edition {
    let metadata = provider.meta();
    (metadata.uid.clone().unwrap_or_default(), metadata.generation.unwrap_or_default())
}
