//! Reads which edition of a provider the API server has now, where the copy of the watch is not enough.

use super::{Error, bounded, found};
use crate::api::invocation::ProviderKind;
use crate::api::names::is_object_name;
use crate::api::provider::Edition;
use crate::api::{ClusterFunctionGraphProvider, FunctionGraphProvider};
use kube::{Api, Client};

/// The provider object and its spec, by uid and generation; `None` if there is no such provider.
///
/// # Errors
/// When the API server did not answer, had trouble of its own, or does not allow it.
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
