//! Finds out whether a request id already belongs to another object.

use super::{Error, bounded};
use crate::api::FunctionInvocation;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

/// Whether an object other than the one with `uid` has this request id. `served` is the only namespace that the
/// operator serves and may read.
///
/// # Errors
/// The API server did not answer or had an error.
pub async fn is_of_another(
    client: &Client,
    served: Option<&str>,
    request_id: &str,
    uid: &str,
) -> Result<bool, Error> {
    let api: Api<FunctionInvocation> = match served {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    // Metadata only: the objects may be large.
    let holders = ListParams::default().fields(&format!("status.requestID={request_id}")).limit(2);
    let holders = bounded(api.list_metadata(&holders)).await?;
    Ok(holders.iter().any(|holder| holder.uid().as_deref() != Some(uid)))
}
