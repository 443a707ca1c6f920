//! Finds out whether a request id already belongs to another object.

use super::scope::{Scope, objects};
use super::{Error, bounded};
use crate::api::FunctionInvocation;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

/// Whether an object other than the one with `uid` has this request id, in the namespaces that the operator serves. A
/// namespace that it may not read at the moment is left out, so that it does not block objects of other namespaces.
pub async fn is_of_another(
    client: &Client,
    scope: &Scope,
    request_id: &str,
    uid: &str,
) -> Result<bool, Error> {
    // Metadata only: the objects may be large.
    let holders = ListParams::default().fields(&format!("status.requestID={request_id}")).limit(2);
    for namespace in scope.parts() {
        let api: Api<FunctionInvocation> = objects(client.clone(), namespace.as_deref());
        match bounded(api.list_metadata(&holders)).await {
            Ok(found) if found.iter().any(|holder| holder.uid().as_deref() != Some(uid)) => return Ok(true),
            Ok(_) => {}
            Err(error) if namespace.is_some() && error.is_forbidden() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
