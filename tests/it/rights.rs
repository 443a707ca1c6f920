//! T10 and T11: the operator's ServiceAccount may do exactly what the chart says, and nobody else writes a status.
//!
//! Asked of a real API server, for every resource that it has and every verb.

use crate::chart::{CHART, IMAGE, helm, rendered};
use functiongraph_operator::api::{FunctionGraphProvider, FunctionInvocation, GROUP};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use testkit::control_plane::{ControlPlane, Options, User};
use testkit::{established, within};
use tokio::sync::OnceCell;

/// A control plane on which the chart is installed as `fg` in `system`, with users that hold the cluster's own roles
/// in the namespace `team`.
static INSTALLED: OnceCell<ControlPlane> = OnceCell::const_new();

const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// What the operator may do in a namespace that it serves: group, resource, verbs.
const SERVED: [(&str, &str, &str); 7] = [
    (GROUP, "functioninvocations", "get list watch delete"),
    (GROUP, "functioninvocations/status", "patch"),
    (GROUP, "functiongraphproviders", "get list watch"),
    (GROUP, "functiongraphproviders/status", "patch"),
    ("", "secrets", "get"),
    ("", "configmaps", "get"),
    ("events.k8s.io", "events", "create patch"),
];

/// What it may do besides where it serves the whole cluster.
const OF_THE_CLUSTER: [(&str, &str, &str); 3] = [
    (GROUP, "clusterfunctiongraphproviders", "get list watch"),
    (GROUP, "clusterfunctiongraphproviders/status", "patch"),
    ("", "namespaces", "get"),
];

/// What it may do besides in its own namespace.
const AT_HOME: [(&str, &str, &str); 1] =
    [("coordination.k8s.io", "leases", "get list watch create update delete")];

type Right = (String, String, String);

fn rights<'a>(of: impl IntoIterator<Item = &'a (&'a str, &'a str, &'a str)>) -> BTreeSet<Right> {
    let each = |(group, resource, verbs): &'a (&str, &str, &'a str)| {
        let (group, resource) = ((*group).to_owned(), (*resource).to_owned());
        verbs.split(' ').map(move |verb| (group.clone(), resource.clone(), verb.to_owned()))
    };
    of.into_iter().flat_map(each).collect()
}

/// The values with which the chart makes nothing that belongs to the cluster.
const NOTHING_OF_THE_CLUSTER: &str =
    "watchNamespaces={team,annex},crds.install=false,statusPolicy.enabled=false";

/// The role of a user who may do everything in `team` and `annex`.
pub const EVERYTHING: &str = "cluster-admin";

/// A user with the same rights whom the chart's values name as one who writes statuses.
pub const RESTORES: &str = "restores";

pub fn user_with(role: &str) -> String {
    format!("user-with-{role}")
}

pub async fn installed() -> &'static ControlPlane {
    INSTALLED
        .get_or_init(|| async {
            let users = ["view", "edit", "admin", EVERYTHING, RESTORES];
            let users = users.map(|role| User::new(&user_with(role), &[])).to_vec();
            let options = Options { controller_manager: true, users, ..Options::default() };
            let plane = ControlPlane::start(options).await.unwrap();
            for name in ["team", "elsewhere", "annex"] {
                let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
                plane.apply_yaml(&namespace.to_string()).await.unwrap();
            }
            for (user, role, namespace) in [
                ("view", "view", "team"),
                ("edit", "edit", "team"),
                ("admin", "admin", "team"),
                (EVERYTHING, EVERYTHING, "team"),
                (EVERYTHING, EVERYTHING, "annex"),
                (RESTORES, EVERYTHING, "team"),
                (RESTORES, EVERYTHING, "annex"),
            ] {
                let api_group = "rbac.authorization.k8s.io";
                let binding = json!({
                    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                    "metadata": {"name": user, "namespace": namespace},
                    "subjects": [
                        {"kind": "User", "name": user_with(user), "apiGroup": api_group},
                        {"kind": "ServiceAccount", "name": if role == EVERYTHING { "robot" } else { user }, "namespace": namespace},
                    ],
                    "roleRef": {"kind": "ClusterRole", "name": role, "apiGroup": api_group},
                });
                plane.apply_yaml(&binding.to_string()).await.unwrap();
            }
            let named = format!("{IMAGE},statusPolicy.users={{{}}}", user_with(RESTORES));
            let arguments =
                ["install", "fg", CHART, "--namespace", "system", "--create-namespace", "--set", &named];
            helm(&plane, &arguments).await.unwrap();
            established(&plane).await;
            plane
        })
        .await
}

/// Every resource of the API server, subresources included, and what only a wildcard covers.
async fn resources(client: &Client) -> Vec<(String, String)> {
    let mut all = vec![("*".into(), "*".into()), (String::new(), "*".into()), (GROUP.into(), "*".into())];
    let core = client.list_core_api_resources("v1").await.unwrap();
    all.extend(core.resources.into_iter().map(|resource| (String::new(), resource.name)));
    for group in client.list_api_groups().await.unwrap().groups {
        for version in group.versions {
            let list = client.list_api_group_resources(&version.group_version).await.unwrap();
            all.extend(list.resources.into_iter().map(|resource| (group.name.clone(), resource.name)));
        }
    }
    // Ours may be too young to be listed.
    let ours = SERVED.iter().chain(&OF_THE_CLUSTER);
    all.extend(ours.map(|(group, resource, _)| ((*group).to_owned(), (*resource).to_owned())));
    all.sort();
    all.dedup();
    all
}

/// All that a ServiceAccount may do in a namespace, or where that is empty in the whole cluster.
async fn may(client: &Client, account: &str, namespace: &str) -> BTreeSet<Right> {
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let home = account.split(':').next().unwrap();
    let user = format!("system:serviceaccount:{account}");
    let groups =
        ["system:serviceaccounts", &format!("system:serviceaccounts:{home}"), "system:authenticated"];
    let questions = resources(client).await.into_iter().flat_map(|(group, whole)| {
        let verbs: &[&str] = if whole == "*" { &["*", "get", "patch"] } else { &VERBS };
        verbs.iter().map(move |verb| (group.clone(), whole.clone(), (*verb).to_owned())).collect::<Vec<_>>()
    });
    let ask = async |(group, whole, verb): Right| {
        let (resource, subresource) = whole.split_once('/').unwrap_or((&whole, ""));
        let attributes = json!({
            "group": group, "resource": resource, "subresource": subresource, "verb": verb, "namespace": namespace,
        });
        let review = json!({"spec": {"user": user, "groups": groups, "resourceAttributes": attributes}});
        let review = serde_json::from_value(review).unwrap();
        let answer = reviews.create(&PostParams::default(), &review).await?;
        Ok::<_, kube::Error>(answer.status.unwrap().allowed.then_some((group, whole, verb)))
    };
    let answers = stream::iter(questions).map(ask).buffer_unordered(32).try_collect::<Vec<_>>();
    answers.await.unwrap().into_iter().flatten().collect()
}

/// What a ServiceAccount may do that no role was given to, which depends on the version of Kubernetes.
async fn everybody(client: &Client) -> BTreeSet<Right> {
    let rights = may(client, "elsewhere:unbound", "").await;
    assert!(rights.iter().all(|(group, ..)| group != GROUP && !group.is_empty()), "{rights:?}");
    rights
}

#[tokio::test]
async fn t10_the_operator_of_a_cluster_may_do_what_it_needs_and_nothing_else() {
    let plane = installed().await;
    let client = plane.client().unwrap();
    let expected = &rights(SERVED.iter().chain(&OF_THE_CLUSTER)) | &everybody(&client).await;
    let account = "system:fg-functiongraph-operator";
    assert_eq!(may(&client, account, "").await, expected);
    assert_eq!(&may(&client, account, "system").await - &expected, rights(&AT_HOME));
}

#[tokio::test]
async fn t10_the_operator_of_some_namespaces_may_do_nothing_in_any_other_or_in_the_cluster() {
    let plane = installed().await;
    let client = plane.client().unwrap();
    let objects = rendered("elsewhere", &["--set", NOTHING_OF_THE_CLUSTER]).await;
    for kind in ["ClusterRole", "CustomResourceDefinition", "ValidatingAdmissionPolicy"] {
        assert!(!objects.contains(&format!("kind: {kind}")), "{objects}");
    }
    let roles = ["-s", "templates/rbac.yaml", "-s", "templates/rbac-members.yaml"];
    let roles = [["--set", "watchNamespaces={team,annex}"].as_slice(), &roles].concat();
    plane.apply_yaml(&rendered("elsewhere", &roles).await).await.unwrap();
    let everybody = everybody(&client).await;
    let account = "elsewhere:functiongraph-operator";
    for served in ["team", "annex"] {
        assert_eq!(may(&client, account, served).await, &rights(&SERVED) | &everybody, "{served}");
    }
    assert_eq!(may(&client, account, "elsewhere").await, &rights(&AT_HOME) | &everybody);
    for nowhere in ["system", ""] {
        assert_eq!(may(&client, account, nowhere).await, everybody, "{nowhere}");
    }
}

/// Waits until the controllers have added the chart's roles to the cluster's own.
async fn aggregated(client: &Client) {
    let all: Api<ClusterRole> = Api::all(client.clone());
    for role in ["view", "edit", "admin"] {
        let has_ours = |role: Option<&ClusterRole>| {
            let rules = role.and_then(|role| role.rules.as_ref());
            rules
                .into_iter()
                .flatten()
                .any(|rule| rule.api_groups.iter().flatten().any(|group| group == GROUP))
        };
        within(await_condition(all.clone(), role, has_ours)).await.unwrap();
    }
}

pub fn forbidden<T: std::fmt::Debug>(result: Result<T, kube::Error>, what: &str) {
    match result {
        Err(kube::Error::Api(status)) if status.code == 403 => {}
        other => panic!("{what}: {other:?}"),
    }
}

#[tokio::test]
async fn t11_users_with_the_roles_view_edit_and_admin_write_no_status() {
    let plane = installed().await;
    let admin = plane.client().unwrap();
    aggregated(&admin).await;
    let post = PostParams::default();
    let invocation = |name: &str| {
        let object = json!({
            "metadata": {"name": name}, "spec": {"function": {"name": "hello"}},
            // What somebody would write who wants it to look done.
            "status": {"outcome": "Accepted", "requestID": "forged"},
        });
        serde_json::from_value::<FunctionInvocation>(object).unwrap()
    };
    let provider: FunctionGraphProvider = serde_json::from_value(json!({
        "metadata": {"name": "mine"},
        "spec": {"region": "eu-de", "credentials": {"accessKey": {"secretRef": {"name": "key"}}}},
    }))
    .unwrap();
    let forged = Patch::Merge(json!({"status": {"outcome": "Accepted", "requestID": "forged"}}));
    let patch = PatchParams::default();
    let all: Api<FunctionInvocation> = Api::namespaced(admin.clone(), "team");
    all.create(&post, &invocation("target")).await.unwrap();

    for (user, invokes, provides) in [("view", false, false), ("edit", true, false), ("admin", true, true)] {
        let client = plane.client_as(&user_with(user)).unwrap();
        let invocations: Api<FunctionInvocation> = Api::namespaced(client.clone(), "team");
        let providers: Api<FunctionGraphProvider> = Api::namespaced(client.clone(), "team");
        // What they may.
        invocations.get("target").await.unwrap();
        providers.list(&ListParams::default()).await.unwrap();
        let made = invocations.create(&post, &invocation(user)).await;
        if invokes {
            assert_eq!(
                made.unwrap().status.unwrap().outcome,
                None,
                "{user}: a status came in with the object"
            );
            let changed = invocations.patch(user, &patch, &forged).await.unwrap();
            assert_eq!(changed.status.unwrap().outcome, None, "{user}: a status came in with the object");
        } else {
            forbidden(made, user);
            forbidden(invocations.patch("target", &patch, &forged).await, user);
        }
        let made = providers.create(&post, &provider).await;
        if provides {
            made.unwrap();
        } else {
            forbidden(made, user);
        }
        // What nobody may.
        forbidden(invocations.patch_status("target", &patch, &forged).await, user);
        let whole =
            serde_json::from_value(serde_json::to_value(all.get("target").await.unwrap()).unwrap()).unwrap();
        forbidden(invocations.replace_status("target", &post, &whole).await, user);
        forbidden(providers.patch_status("mine", &patch, &forged).await, user);
        let kind = ApiResource::from_gvk(&kube::api::GroupVersionKind::gvk(
            GROUP,
            "v1alpha1",
            "ClusterFunctionGraphProvider",
        ));
        let shared: Api<DynamicObject> = Api::all_with(client, &kind);
        forbidden(shared.patch_status("any", &patch, &forged).await, user);
        forbidden(shared.delete("any", &DeleteParams::default()).await, user);
    }
    let status = serde_json::to_value(all.get("target").await.unwrap().status).unwrap();
    assert_eq!(status["outcome"], Value::Null, "{status}");
}
