//! Reads the current version of a provider from the API server, for decisions that need more than the copy of the
//! watch.

use super::{Error, bounded, found};
use crate::api::invocation::ProviderKind;
use crate::api::names::is_object_name;
use crate::api::provider::Edition;
use crate::api::{ClusterFunctionGraphProvider, FunctionGraphProvider};
use kube::{Api, Client};

/// The provider object and its spec, by uid and generation; `None` if it does not exist.
///
/// # Errors
/// The API server did not answer, had an error, or refused the request.
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
