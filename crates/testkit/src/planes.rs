//! Control planes for tests: one that all tests of a binary share, and others of their own.

use crate::control_plane::{ControlPlane, Options, User};
use crate::{until, within};
use functiongraph_operator::api::{ClusterFunctionGraphProvider, FunctionGraphProvider, FunctionInvocation};
use functiongraph_operator::crds;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, CustomResourceExt, Resource};
use serde_json::json;
use tokio::sync::OnceCell;

/// A user of each of them, at first without any rights.
pub const NOBODY: &str = "nobody";

/// The control plane of this binary, with everything in `crds/` installed.
pub async fn plane() -> &'static ControlPlane {
    static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    PLANE.get_or_init(|| new_plane(&[])).await
}

/// A new control plane with everything in `crds/` installed, and with more flags for its API server.
pub async fn new_plane(apiserver_flags: &[&str]) -> ControlPlane {
    let plane = start(apiserver_flags).await;
    plane.apply_yaml(&crds::manifest().expect("a manifest")).await.expect("it is accepted");
    enforced(&plane).await;
    plane
}

/// A new control plane without the operator's CRDs.
pub async fn bare_plane() -> ControlPlane {
    start(&[]).await
}

async fn start(apiserver_flags: &[&str]) -> ControlPlane {
    let users = vec![User::new(NOBODY, &[])];
    let apiserver_flags = apiserver_flags.iter().map(ToString::to_string).collect();
    let options = Options { users, audit: true, apiserver_flags, ..Options::default() };
    ControlPlane::start(options).await.expect("the control plane starts")
}

/// Waits until the API server refuses what the admission policy refuses, which it does some time after it has taken the
/// policy.
pub async fn enforced(plane: &ControlPlane) {
    let name = "is-the-policy-enforced";
    let (api_version, kind) = (FunctionInvocation::api_version(&()), FunctionInvocation::kind(&()));
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let object = json!({
        "apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": name},
        "spec": {"function": {"name": "hello"}, "suspend": true},
    });
    for object in [namespace, object] {
        plane.apply_yaml(&object.to_string()).await.expect("it is accepted");
    }
    let api: Api<FunctionInvocation> = Api::namespaced(plane.client().expect("its client"), name);
    let (dry_run, event) = (PatchParams::default().dry_run(), Patch::Merge(json!({"spec": {"payload": {}}})));
    within(until(async || api.patch(name, &dry_run, &event).await.is_err())).await;
    api.delete(name, &DeleteParams::default()).await.expect("it goes");
}

/// Waits until the CRDs are served.
pub async fn established(plane: &ControlPlane) {
    let crds: Api<_> = Api::all(plane.client().expect("its client"));
    for name in [
        FunctionInvocation::crd_name(),
        FunctionGraphProvider::crd_name(),
        ClusterFunctionGraphProvider::crd_name(),
    ] {
        let established = await_condition(crds.clone(), name, conditions::is_crd_established());
        within(established).await.expect("a CRD is established");
    }
}
