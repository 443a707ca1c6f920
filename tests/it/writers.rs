//! T11: under the chart's policy nobody but the operator writes a status, whatever RBAC allows them.

use crate::chart::rendered;
use crate::rights::{EVERYTHING, RESTORES, forbidden, installed, user_with};
use functiongraph_operator::api::{ClusterFunctionGraphProvider, FunctionGraphProvider, FunctionInvocation};
use k8s_openapi::NamespaceResourceScope;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt::Debug;
use testkit::control_plane::{ADMIN, ControlPlane};
use testkit::{until, within};

/// What the policy of the chart's first release says.
const REFUSAL: &str =
    "only the operator (system:serviceaccount:system:fg-functiongraph-operator) writes a status";

/// A client with the rights of a ServiceAccount.
async fn service_account(plane: &ControlPlane, namespace: &str, name: &str) -> Client {
    let file = Kubeconfig::read_from(plane.kubeconfig(ADMIN).unwrap()).unwrap();
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    config.auth_info.impersonate = Some(format!("system:serviceaccount:{namespace}:{name}"));
    let groups =
        ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}"), "system:authenticated"];
    config.auth_info.impersonate_groups = Some(groups.map(ToOwned::to_owned).to_vec());
    Client::try_from(config).unwrap()
}

/// Tries to write a status; says what the API server has against it.
async fn write<K>(api: &Api<K>, name: &str) -> Result<(), String>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let conditions = Patch::Merge(json!({"status": {"conditions": []}}));
    match api.patch_status(name, &PatchParams::default().dry_run(), &conditions).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 403 => Err(status.message),
        Err(other) => panic!("the API server did not judge it: {other}"),
    }
}

async fn until_refused<K>(api: &Api<K>, name: &str)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    within(until(async || write(api, name).await.is_err())).await;
}

/// An invocation and a provider of this name in a namespace.
async fn objects(client: &Client, namespace: &str, name: &str) {
    let object =
        json!({"metadata": {"name": name}, "spec": {"function": {"name": "hello"}, "suspend": true}});
    let object: FunctionInvocation = serde_json::from_value(object).unwrap();
    in_namespace(client, namespace).create(&PostParams::default(), &object).await.unwrap();
    let credentials = json!({"accessKey": {"secretRef": {"name": "key"}}});
    let object = json!({"metadata": {"name": name}, "spec": {"region": "eu-de", "credentials": credentials}});
    let object: FunctionGraphProvider = serde_json::from_value(object).unwrap();
    in_namespace(client, namespace).create(&PostParams::default(), &object).await.unwrap();
}

fn in_namespace<K>(client: &Client, namespace: &str) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    Api::namespaced(client.clone(), namespace)
}

/// Both, as this client may write them.
async fn writes(client: &Client, namespace: &str, name: &str) -> [Result<(), String>; 2] {
    let invocations: Api<FunctionInvocation> = in_namespace(client, namespace);
    let providers: Api<FunctionGraphProvider> = in_namespace(client, namespace);
    [write(&invocations, name).await, write(&providers, name).await]
}

#[tokio::test]
async fn t11_no_rights_in_a_namespace_let_anybody_but_the_operator_write_a_status() {
    let plane = installed().await;
    let admin = plane.client().unwrap();
    objects(&admin, "team", "written").await;
    let operator = service_account(plane, "system", "fg-functiongraph-operator").await;
    let everything = plane.client_as(&user_with(EVERYTHING)).unwrap();
    until_refused(&in_namespace::<FunctionInvocation>(&everything, "team"), "written").await;

    for role in ["view", "edit", "admin"] {
        for said in writes(&plane.client_as(&user_with(role)).unwrap(), "team", "written").await {
            assert!(
                said.as_ref().is_err_and(|said| said.contains("cannot patch resource")),
                "{role}: {said:?}"
            );
        }
    }
    // Who holds `*` in the namespace, a ServiceAccount of it among them; and a user with all rights in the cluster.
    let robot = service_account(plane, "team", "robot").await;
    for (who, client) in [("everything", &everything), ("robot", &robot), ("an admin of the cluster", &admin)]
    {
        for said in writes(client, "team", "written").await {
            assert!(said.as_ref().is_err_and(|said| said.contains(REFUSAL)), "{who}: {said:?}");
        }
        let kind = ApiResource::erase::<FunctionInvocation>(&());
        let invocations: Api<DynamicObject> = Api::namespaced_with(client.clone(), "team", &kind);
        let whole = invocations.get("written").await.unwrap();
        forbidden(invocations.replace_status("written", &PostParams::default(), &whole).await, who);
    }
    let spec = json!({
        "metadata": {"name": "written"},
        "spec": {
            "region": "eu-de", "credentials": {"accessKey": {"secretRef": {"name": "key"}}},
            "allowedNamespaces": {"names": ["team"]},
        },
    });
    let shared: ClusterFunctionGraphProvider = serde_json::from_value(spec).unwrap();
    let all: Api<ClusterFunctionGraphProvider> = Api::all(admin.clone());
    all.create(&PostParams::default(), &shared).await.unwrap();
    let said = write(&all, "written").await;
    assert!(said.as_ref().is_err_and(|said| said.contains(REFUSAL)), "{said:?}");

    // The operator, and whom the values name.
    assert_eq!(write(&Api::<ClusterFunctionGraphProvider>::all(operator.clone()), "written").await, Ok(()));
    for client in [operator, plane.client_as(&user_with(RESTORES)).unwrap()] {
        assert_eq!(writes(&client, "team", "written").await, [Ok(()), Ok(())]);
    }
}

#[tokio::test]
async fn t11_operators_of_several_releases_do_not_keep_each_other_from_writing() {
    let plane = installed().await;
    let admin = plane.client().unwrap();
    objects(&admin, "annex", "written").await;
    objects(&admin, "team", "written-too").await;
    let restores = plane.client_as(&user_with(RESTORES)).unwrap();
    let everything = plane.client_as(&user_with(EVERYTHING)).unwrap();
    until_refused(&in_namespace::<FunctionInvocation>(&everything, "annex"), "written").await;
    assert_eq!(writes(&restores, "annex", "written").await, [Ok(()), Ok(())]);

    // A second release, for one namespace. Its policy names nobody, so it refuses whom the first one admits.
    let set = [
        "--set",
        "watchNamespaces={annex}",
        "-s",
        "templates/statuspolicy.yaml",
        "-s",
        "templates/rbac.yaml",
    ];
    plane.apply_yaml(&rendered("annex", &set).await).await.unwrap();
    until_refused(&in_namespace::<FunctionInvocation>(&restores, "annex"), "written").await;
    let first = service_account(plane, "system", "fg-functiongraph-operator").await;
    let second = service_account(plane, "annex", "functiongraph-operator").await;
    for client in [&first, &second] {
        assert_eq!(writes(client, "annex", "written").await, [Ok(()), Ok(())]);
    }
    // Its policy ends with its namespace, and so do its rights.
    assert_eq!(writes(&restores, "team", "written-too").await, [Ok(()), Ok(())]);
    assert_eq!(writes(&first, "team", "written-too").await, [Ok(()), Ok(())]);
    for said in writes(&second, "team", "written-too").await {
        assert!(said.as_ref().is_err_and(|said| said.contains("cannot patch resource")), "{said:?}");
    }
}
