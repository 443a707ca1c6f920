//! Providers of the cluster: who may use them, whose Secrets they read, and what their operator may do.
//!
//! An operator for the whole cluster sees what every test makes there, so they have a control plane of their
//! own and come one after the other.

use crate::chart::rendered;
use functiongraph_emulator::Config;
use functiongraph_operator::api::invocation::Outcome;
use functiongraph_operator::api::{
    ClusterFunctionGraphProvider, Condition, ConditionType, FunctionGraphProvider, FunctionInvocation,
    FunctionInvocationStatus, Reason,
};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use testkit::control_plane::ControlPlane;
use testkit::{KEY, NOBODY, World, message, new_plane, provider_spec, ready, within};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
static TURN: Mutex<()> = Mutex::const_new(());

/// A world in a cluster without any provider of the cluster, until the guard is dropped.
pub async fn alone() -> (World, MutexGuard<'static, ()>) {
    alone_with(|_| {}).await
}

/// The same, with changes to the emulator's configuration.
pub async fn alone_with(change: impl FnOnce(&mut Config)) -> (World, MutexGuard<'static, ()>) {
    let turn = TURN.lock().await;
    let world = World::on(PLANE.get_or_init(|| new_plane(&[])).await, change).await;
    let all = cluster(&world);
    all.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    (world, turn)
}

pub fn cluster(world: &World) -> Api<ClusterFunctionGraphProvider> {
    Api::all(world.client.clone())
}

/// Creates a provider of the cluster for the emulator with the key in the Secret `key`.
pub async fn share(world: &World, name: &str, allowed: Value) -> Result<DynamicObject, kube::Error> {
    share_as(world, name, allowed, json!({"accessKey": {"secretRef": {"name": "key"}}})).await
}

/// The same with another credential.
pub async fn share_as(
    world: &World,
    name: &str,
    allowed: Value,
    credentials: Value,
) -> Result<DynamicObject, kube::Error> {
    let mut spec = provider_spec(&world.emulator);
    spec["iamEndpoint"] = world.emulator.url().into();
    (spec["credentials"], spec["allowedNamespaces"]) = (credentials, allowed);
    let kind = ApiResource::erase::<ClusterFunctionGraphProvider>(&());
    let object = json!({
        "apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name}, "spec": spec,
    });
    // Of any shape, also one that our own type could not hold.
    let all: Api<DynamicObject> = Api::all_with(world.client.clone(), &kind);
    all.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await
}

/// Waits until the provider of the cluster says this.
pub async fn says(world: &World, name: &str, reason: Reason) -> Condition {
    let find = |provider: &ClusterFunctionGraphProvider| {
        let conditions = &provider.status.as_ref()?.conditions;
        Condition::find(conditions, ConditionType::Ready).filter(|c| c.reason == reason).cloned()
    };
    let there = move |object: Option<&ClusterFunctionGraphProvider>| object.and_then(find).is_some();
    let object = within(await_condition(cluster(world), name, there)).await.unwrap();
    object.as_ref().and_then(find).unwrap()
}

/// A namespace with labels.
pub async fn tenant(world: &World, suffix: &str, labels: Value) -> String {
    let name = format!("{}-{suffix}", world.namespace);
    let object = json!({"metadata": {"name": name, "labels": labels}});
    let all: Api<Namespace> = Api::all(world.client.clone());
    all.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    name
}

/// Creates an object in a namespace.
pub async fn create<K>(world: &World, namespace: &str, object: Value) -> K
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    K: Clone + Debug + Serialize + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(world.client.clone(), namespace);
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
}

/// Invokes `hello` from a namespace through a provider of the cluster, and says how that ended.
pub async fn invoke(world: &World, namespace: &str, provider: &str, name: &str) -> FunctionInvocation {
    submit(world, namespace, provider, name).await;
    once(world, namespace, name, |status| status.outcome.is_some()).await
}

/// Creates an invocation of `hello` in a namespace.
async fn submit(world: &World, namespace: &str, provider: &str, name: &str) {
    let reference = json!({"kind": "ClusterFunctionGraphProvider", "name": provider});
    let payload = json!({"tag": format!("{namespace}/{name}"), "canary": world.evidence.marker()});
    let spec = json!({"function": {"name": "hello"}, "providerRef": reference, "payload": payload});
    let object = json!({"metadata": {"name": name}, "spec": spec});
    create::<FunctionInvocation>(world, namespace, object).await;
}

/// The invocation once its status `fits`.
async fn once(
    world: &World,
    namespace: &str,
    name: &str,
    fits: impl Fn(&FunctionInvocationStatus) -> bool,
) -> FunctionInvocation {
    let holds =
        |object: Option<&FunctionInvocation>| object.and_then(|o| o.status.as_ref()).is_some_and(&fits);
    let api: Api<FunctionInvocation> = Api::namespaced(world.client.clone(), namespace);
    within(await_condition(api, name, holds)).await.unwrap().unwrap()
}

/// Asserts that it was accepted, or refused before anything was sent.
pub fn assert_admitted(what: &str, object: FunctionInvocation, admitted: bool) {
    let status = object.status.unwrap();
    if admitted {
        assert_eq!(status.outcome, Some(Outcome::Accepted), "{what}: {}", message(&status));
    } else {
        assert_eq!(status.outcome, Some(Outcome::Failed), "{what}");
        assert_eq!((ready(&status).1, status.attempts), (Some(Reason::AccessDenied), None), "{what}");
        assert!(message(&status).contains("does not admit the namespace"), "{what}: {}", message(&status));
    }
}

#[tokio::test]
async fn t02_a_provider_of_the_cluster_serves_the_namespaces_that_it_admits_and_no_other() {
    let (world, _turn) = alone().await;
    world.secret(KEY.1).await;
    let images = tenant(&world, "images", json!({"team": "images"})).await;
    let orders = tenant(&world, "orders", json!({"team": "orders"})).await;
    let plain = tenant(&world, "plain", json!({})).await;
    // A Secret of the same name in a tenant's namespace must never be read.
    let bait =
        json!({"metadata": {"name": "key"}, "stringData": {"accessKeyID": KEY.0, "secretAccessKey": "bait"}});
    for namespace in [&images, &orders, &plain] {
        create::<Secret>(&world, namespace, bait.clone()).await;
    }
    share(&world, "by-name", json!({"names": [images, "nobody"]})).await.unwrap();
    share(&world, "by-label", json!({"selector": {"matchLabels": {"team": "orders"}}})).await.unwrap();
    let any = json!([{"key": "team", "operator": "In", "values": ["images", "orders"]}]);
    share(&world, "by-labels", json!({"selector": {"matchExpressions": any}})).await.unwrap();
    share(
        &world,
        "by-none",
        json!({"selector": {"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}}),
    )
    .await
    .unwrap();
    share(&world, "everybody", json!({"selector": {}})).await.unwrap();
    let _operator = world.operator().cluster_wide(&world.namespace).await;

    for (provider, admitted) in [
        ("by-name", [true, false, false]),
        ("by-label", [false, true, false]),
        ("by-labels", [true, true, false]),
        ("by-none", [false, false, true]),
        ("everybody", [true, true, true]),
    ] {
        for (namespace, admitted) in [&images, &orders, &plain].into_iter().zip(admitted) {
            let ended = invoke(&world, namespace, provider, provider).await;
            assert_admitted(&format!("{provider} from {namespace}"), ended, admitted);
        }
    }
    assert_eq!(world.seen(), 8);
    assert_eq!(world.emulator.requests().failed_authentications, 0);
}

#[tokio::test]
async fn t02_a_grant_that_is_taken_back_ends_within_seconds_and_without_a_restart() {
    let (world, _turn) = alone().await;
    world.secret(KEY.1).await;
    let tenant = tenant(&world, "tenant", json!({"team": "images"})).await;
    share(&world, "labels", json!({"selector": {"matchLabels": {"team": "images"}}})).await.unwrap();
    share(&world, "names", json!({"names": [tenant]})).await.unwrap();
    let _operator = world.operator().cluster_wide(&world.namespace).await;
    for provider in ["labels", "names"] {
        assert_admitted(provider, invoke(&world, &tenant, provider, provider).await, true);
    }

    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let unlabelled = Patch::Merge(json!({"metadata": {"labels": {"team": null}}}));
    namespaces.patch(&tenant, &PatchParams::default(), &unlabelled).await.unwrap();
    let others = Patch::Merge(json!({"spec": {"allowedNamespaces": {"names": ["others"]}}}));
    let changed = cluster(&world).patch("names", &PatchParams::default(), &others).await.unwrap();
    let seen = move |object: Option<&ClusterFunctionGraphProvider>| {
        let status = object.and_then(|o| o.status.as_ref());
        status.is_some_and(|status| status.observed_generation == changed.metadata.generation)
    };
    within(await_condition(cluster(&world), "names", seen)).await.unwrap();
    assert_admitted("names", invoke(&world, &tenant, "names", "names-2").await, false);
    let shut_out = async {
        for number in 0.. {
            let ended = invoke(&world, &tenant, "labels", &format!("labels-{number}")).await;
            if ended.status.as_ref().unwrap().outcome == Some(Outcome::Failed) {
                return ended;
            }
        }
        unreachable!()
    };
    assert_admitted("labels", Box::pin(within(shut_out)).await, false);
}

#[tokio::test]
async fn a_grant_that_is_given_counts_for_the_next_invocation_at_once() {
    let (world, _turn) = alone().await;
    world.secret(KEY.1).await;
    let tenant = tenant(&world, "late", json!({})).await;
    share(&world, "labels", json!({"selector": {"matchLabels": {"team": "images"}}})).await.unwrap();
    let _operator = world.operator().cluster_wide(&world.namespace).await;
    assert_admitted("before", invoke(&world, &tenant, "labels", "before").await, false);

    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let labelled = Patch::Merge(json!({"metadata": {"labels": {"team": "images"}}}));
    namespaces.patch(&tenant, &PatchParams::default(), &labelled).await.unwrap();
    assert_admitted("after", invoke(&world, &tenant, "labels", "after").await, true);
}

#[tokio::test]
async fn t02_providers_of_both_kinds_and_the_same_name_are_never_taken_for_each_other() {
    let (world, _turn) = alone().await;
    world.provider().await; // `default` of the namespace
    share(&world, "default", json!({"names": [world.namespace]})).await.unwrap();
    let operator = world.operator().cluster_wide(&world.namespace).await;
    let own = json!({"function": {"name": "hello"}, "payload": {"tag": "own"}});
    world.invoke("own", own.clone()).await;
    assert_eq!(world.end("own").await.outcome, Some(Outcome::Accepted));
    assert_admitted("cluster", invoke(&world, &world.namespace, "default", "cluster").await, true);
    let ended = "functiongraph_operator_invocations_total";
    let label = format!("provider=\"{}/default\"", world.namespace);
    for label in [label.as_str(), "provider=\"default\""] {
        assert!((operator.metric(ended, &[label]).await - 1.0).abs() < 0.1, "{label}");
    }

    // What happens to the one leaves the other as it was.
    cluster(&world).delete("default", &DeleteParams::default()).await.unwrap();
    let reference = json!({"kind": "ClusterFunctionGraphProvider"});
    world.invoke("orphan", json!({"function": {"name": "hello"}, "providerRef": reference})).await;
    share(&world, "others", json!({"names": ["another"]})).await.unwrap();
    let told =
        world.tells("orphan", "ClusterFunctionGraphProvider default does not exist. Ask your platform").await;
    let listed = "The namespace may use: FunctionGraphProvider default. ";
    assert!(message(&told).contains(listed), "{}", message(&told));
    world.invoke("own-again", own).await;
    assert_eq!(world.end("own-again").await.outcome, Some(Outcome::Accepted));
    share(&world, "default", json!({"names": [world.namespace]})).await.unwrap();
    assert_eq!(world.end("orphan").await.outcome, Some(Outcome::Accepted));
    world.api::<FunctionGraphProvider>().delete("default", &DeleteParams::default()).await.unwrap();
    assert_admitted("still", invoke(&world, &world.namespace, "default", "still").await, true);
}

/// Gives [`NOBODY`] the rights in the chart.
pub async fn grant_rights() {
    apply(&rendered("functiongraph", &["-s", "templates/rbac.yaml"]).await).await;
    let subject = json!({"kind": "User", "name": NOBODY, "apiGroup": "rbac.authorization.k8s.io"});
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "operator-under-test"}, "subjects": [subject],
        "roleRef": {
            "kind": "ClusterRole", "name": "functiongraph-functiongraph-operator",
            "apiGroup": "rbac.authorization.k8s.io",
        },
    });
    apply(&binding.to_string()).await;
}

/// Applies objects to the cluster of these tests.
pub async fn apply(yaml: &str) {
    PLANE.get().unwrap().apply_yaml(yaml).await.unwrap();
}

#[tokio::test]
async fn t10_the_rights_in_the_chart_are_enough_and_a_missing_secret_is_missed_at_home() {
    let (world, _turn) = alone().await;
    grant_rights().await;
    let tenant = tenant(&world, "tenant", json!({"team": "images"})).await;
    share(&world, "shared", json!({"selector": {"matchLabels": {"team": "images"}}})).await.unwrap();
    let _operator = world.operator().cluster_wide(&world.namespace).user(NOBODY).await;

    let said = says(&world, "shared", Reason::SecretNotFound).await;
    let missing = format!("Secret key does not exist in namespace {}: create it.", world.namespace);
    assert_eq!(said.message, missing);
    // What a tenant may know, who must not read the provider.
    submit(&world, &tenant, "shared", "early").await;
    let early = once(&world, &tenant, "early", |status| message(status).contains("is not ready")).await;
    let told = message(early.status.as_ref().unwrap()).to_owned();
    let expected = "ClusterFunctionGraphProvider shared is not ready (SecretNotFound): its credential cannot be used. Ask your platform team if this lasts.";
    assert!(told.starts_with(expected) && !told.contains(&world.namespace), "{told}");
    submit(&world, &tenant, "sharde", "misspelt").await;
    let listed = "The namespace may use: ClusterFunctionGraphProvider shared. ";
    once(&world, &tenant, "misspelt", |status| message(status).contains(listed)).await;
    world.secret(KEY.1).await;
    assert_admitted("shared", invoke(&world, &tenant, "shared", "shared").await, true);
    says(&world, "shared", Reason::ProviderReady).await;
}

#[tokio::test]
async fn t02_an_operator_of_a_single_namespace_says_that_it_uses_none() {
    let world = World::new().await;
    let _operator = world.operator().await;
    let reference = json!({"kind": "ClusterFunctionGraphProvider", "name": "shared"});
    world.invoke("lost", json!({"function": {"name": "hello"}, "providerRef": reference})).await;
    world.tells("lost", "serves only some namespaces and uses no ClusterFunctionGraphProvider").await;
}

#[tokio::test]
async fn t02_whom_it_serves_must_be_said_in_one_way() {
    let (world, _turn) = alone().await;
    for (allowed, expected) in [
        (Value::Null, "allowedNamespaces"),
        (json!({}), "exactly one of allowedNamespaces.names and allowedNamespaces.selector"),
        (json!({"names": ["a"], "selector": {}}), "exactly one of allowedNamespaces.names"),
        (json!({"names": []}), "allowedNamespaces.names"),
    ] {
        let Err(kube::Error::Api(said)) = share(&world, "refused", allowed.clone()).await else {
            panic!("{allowed} is taken");
        };
        assert!(said.message.contains(expected), "{allowed}: {}", said.message);
    }
    // The one rule that only the operator can judge.
    world.secret(KEY.1).await;
    let odd =
        json!({"selector": {"matchExpressions": [{"key": "team", "operator": "Like", "values": ["i*"]}]}});
    share(&world, "odd", odd).await.unwrap();
    let _operator = world.operator().cluster_wide(&world.namespace).await;
    let said = says(&world, "odd", Reason::Unsupported).await;
    assert!(said.message.contains("spec.allowedNamespaces.selector cannot be used"), "{}", said.message);
}
