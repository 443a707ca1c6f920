//! Status writes that the API server cannot take: an admission webhook is down.

use functiongraph_operator::api::GROUP;
use functiongraph_operator::api::invocation::{FunctionInvocation, Outcome};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;
use std::collections::BTreeMap;
use testkit::{World, until, within};

const MANY: usize = 20;

/// How many writes of each object the test watches.
const WRITES: usize = 6;

fn names() -> impl Iterator<Item = String> {
    (0..MANY).map(|number| format!("o-{number}"))
}

/// A webhook for every status of the test's namespace, at an address where nobody listens.
async fn webhook_that_is_down(world: &World) -> Api<ValidatingWebhookConfiguration> {
    let webhook = json!({
        "name": "statuses.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "failurePolicy": "Fail", "clientConfig": {"url": "https://127.0.0.1:1/"},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}},
        "rules": [{
            "apiGroups": [GROUP], "apiVersions": ["*"], "operations": ["UPDATE"],
            "resources": ["functioninvocations/status"],
        }],
    });
    let configuration = json!({"metadata": {"name": world.namespace}, "webhooks": [webhook]});
    let all: Api<ValidatingWebhookConfiguration> = Api::all(world.client.clone());
    let configuration = serde_json::from_value(configuration).unwrap();
    all.create(&PostParams::default(), &configuration).await.expect("a webhook");
    within(until(async || refusal(world).await.contains("failed calling webhook"))).await;
    all
}

/// What the API server says against a status write now.
async fn refusal(world: &World) -> String {
    match world.force_status("probe", json!({"function": "probe"})).await {
        Err(kube::Error::Api(said)) => said.message.clone(),
        _ => String::new(),
    }
}

/// When the operator has tried to write the status of each object.
fn tries(world: &World) -> BTreeMap<String, Vec<Timestamp>> {
    let mut tries: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for write in world.evidence.writes() {
        let (object, agent) = (&write["objectRef"], write["userAgent"].as_str().unwrap_or_default());
        let name = object["name"].as_str().unwrap_or_default();
        if object["subresource"] == "status" && write["verb"] == "patch" && name.starts_with("o-") {
            assert_eq!(write["responseStatus"]["code"], 500, "{name} by {agent}");
            let time = write["requestReceivedTimestamp"].as_str().unwrap().parse().unwrap();
            tries.entry(name.to_owned()).or_default().push(time);
        }
    }
    tries
}

/// Whether the log names an object and says what keeps it from being worked on.
fn is_explained(world: &World, name: &str) -> bool {
    world.log_lines().iter().any(|line| {
        let level = line["level"].as_str().unwrap_or_default();
        ["WARN", "ERROR"].contains(&level)
            && line["name"] == name
            && line["namespace"] == world.namespace
            && line.to_string().contains("failed calling webhook")
    })
}

#[tokio::test]
async fn while_a_webhook_is_down_each_object_is_tried_ever_more_rarely_and_the_log_says_why() {
    let world = World::new().await;
    world.provider().await;
    world.invoke("probe", json!({"function": {"name": "hello"}, "suspend": true})).await;
    let webhooks = webhook_that_is_down(&world).await;
    let operator = world.operator().await;
    for name in names() {
        world.invoke(&name, json!({"function": {"name": "hello"}, "payload": {"tag": name}})).await;
    }
    let often_tried = || tries(&world).values().filter(|times| times.len() >= WRITES).count();
    within(until(async || often_tried() >= MANY)).await;

    let tries = tries(&world);
    let busy: BTreeMap<_, _> = tries
        .iter()
        .map(|(name, times)| (name, times[WRITES - 1].duration_since(times[WRITES - 2])))
        .filter(|(_, pause)| *pause < SignedDuration::from_secs(4))
        .collect();
    assert!(busy.is_empty(), "{} of {MANY} pause before try {WRITES} for {busy:#?}", busy.len());
    let silent: Vec<_> = names().filter(|name| !is_explained(&world, name)).collect();
    assert!(silent.is_empty(), "no line of the log names these and the reason: {silent:?}");
    let count = async |metric| operator.metric(&format!("functiongraph_operator_{metric}"), &[]).await;
    assert!(count("status_write_conflicts_total").await < 0.5, "nobody else wrote");
    assert!(count("reconcile_errors_total").await > 19.5, "an error is counted for each object at least");

    webhooks.delete(&world.namespace, &DeleteParams::default()).await.expect("it is there");
    for name in names() {
        let accepted = |object: Option<&FunctionInvocation>| {
            let outcome = object.and_then(|object| object.status.as_ref()?.outcome);
            outcome == Some(Outcome::Accepted)
        };
        world.until(&name, accepted).await;
        assert_eq!(world.accepted(&name).len(), 1, "{name}");
    }
}
