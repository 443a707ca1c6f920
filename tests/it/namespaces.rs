//! An operator of some namespaces: it works there with the rights of the chart's Roles and nothing else, and a namespace
//! that it cannot serve keeps no other waiting.

use crate::chart::rendered;
use crate::resolve::{refuses, resolve, unknown};
use functiongraph_operator::api::Reason;
use functiongraph_operator::api::invocation::Outcome;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;
use testkit::{Operator, World, plane, until, within};

/// A namespace with a provider and an invocation that waits.
async fn waiting() -> World {
    let world = World::new().await;
    world.provider().await;
    world.invoke("one", json!({"function": {"name": "hello"}})).await;
    world
}

/// Gives the operator that is at home in a namespace what the chart gives it in others.
async fn grant(home: &World, namespaces: &[&str]) {
    let set = format!("watchNamespaces={{{}}}", namespaces.join(","));
    let roles = rendered(&home.namespace, &["--set", &set, "-s", "templates/rbac.yaml"]).await;
    plane().await.apply_yaml(&roles).await.unwrap();
}

/// An operator with the rights that it was granted.
fn operator(home: &World, namespaces: &[&str]) -> Operator {
    home.operator().at_home(&home.namespace).flags(&["--namespaces", &namespaces.join(",")]).start()
}

/// Waits until the operator tells that it serves a namespace, or that it does not.
async fn until_served(operator: &Operator, namespace: &str, served: f64) {
    let label = format!("served_namespace=\"{namespace}\"");
    let is_served = async || operator.metric("functiongraph_operator_namespace_served", &[&label]).await;
    within(until(async || (is_served().await - served).abs() < 0.5)).await;
}

#[tokio::test]
async fn t10_two_namespaces_of_three_are_served_with_the_charts_roles_and_the_third_is_not_touched() {
    let (home, annex, elsewhere) = (waiting().await, waiting().await, waiting().await);
    let served = [home.namespace.as_str(), &annex.namespace];
    grant(&home, &served).await;
    let operator = operator(&home, &served);
    operator.ready().await;

    let ended = home.end("one").await;
    assert_eq!(ended.outcome, Some(Outcome::Accepted));
    assert_eq!(annex.end("one").await.outcome, Some(Outcome::Accepted));
    annex.invoke("gone", json!({"function": {"name": "hello"}, "ttlSecondsAfterFinished": 0})).await;
    annex.disappears("gone").await;
    // The request ids of all namespaces are known.
    unknown(&annex, "ambiguous").await;
    resolve(&annex, "ambiguous", &ended.request_id.unwrap()).await;
    refuses(&annex, "ambiguous", Reason::RequestIdInUse).await;

    assert_eq!(elsewhere.get("one").await.status.unwrap().observed_generation, Some(-1));
    assert_eq!(elsewhere.emulator.ledger().len(), 0);
    assert!(operator.stop().await.success());
}

#[tokio::test]
async fn a_namespace_without_a_role_or_that_does_not_exist_keeps_no_other_waiting_and_is_taken_up_when_it_can()
 {
    let (home, annex) = (waiting().await, waiting().await);
    let later = format!("{}-later", home.namespace);
    let served = [home.namespace.as_str(), &annex.namespace, &later];
    grant(&home, &served[..1]).await;
    let operator = operator(&home, &served);
    operator.ready().await;

    assert_eq!(home.end("one").await.outcome, Some(Outcome::Accepted));
    for (namespace, is_served) in [(served[0], 1.0), (served[1], 0.0), (served[2], 0.0)] {
        until_served(&operator, namespace, is_served).await;
        let told = home.logs().lines().any(|line| {
            line.contains("cannot serve a namespace: permissions are missing. Create the namespace if it does not exist")
                && line.contains(&format!("\"{namespace}\""))
                && line.contains("get secrets")
        });
        assert_eq!(told, is_served < 0.5, "{namespace}");
    }
    assert_eq!(annex.get("one").await.status.unwrap().observed_generation, Some(-1));

    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": later}});
    plane().await.apply_yaml(&namespace.to_string()).await.unwrap();
    grant(&home, &served[1..]).await;
    assert_eq!(annex.end("one").await.outcome, Some(Outcome::Accepted));
    until_served(&operator, &later, 1.0).await;

    // And the other way round.
    let bindings: Api<RoleBinding> = annex.api();
    bindings.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    until_served(&operator, &annex.namespace, 0.0).await;
    assert_eq!(operator.ask("/readyz").await.0, 200);
    home.invoke("two", json!({"function": {"name": "hello"}})).await;
    assert_eq!(home.end("two").await.outcome, Some(Outcome::Accepted));
}
