//! Events that stand in another object: waited for while missing, refused when they can never be sent, and taken from
//! a Secret only where its owner says so.

use crate::policy;
use functiongraph_operator::api::FunctionInvocation;
use functiongraph_operator::api::invocation::Outcome;
use functiongraph_operator::api::{ConditionStatus, ConditionType, Reason};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use testkit::{World, condition, message, ready, text};

/// A spec for `hello` with the event from a ConfigMap.
fn from(name: &str, key: &str) -> Value {
    json!({
        "function": {"name": "hello"},
        "payloadFrom": {"configMapKeyRef": {"name": name, "key": key}},
    })
}

#[tokio::test]
async fn an_event_that_is_not_there_yet_is_waited_for() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    world.config_map("half", "other", "{}").await;
    world.invoke("no-map", from("later", "event")).await;
    world.invoke("no-key", from("half", "event")).await;

    let expected = format!("ConfigMap later does not exist in namespace {}: create it.", world.namespace);
    for (name, words) in
        [("no-map", expected.as_str()), ("no-key", "ConfigMap half has no key event: add it.")]
    {
        let status = world.says(name, Reason::WaitingForPayload).await;
        assert_eq!(message(&status), words);
        assert_eq!(ready(&status).0, Some(ConditionStatus::Unknown));
        let reconciling = condition(&status, ConditionType::Reconciling);
        assert_eq!(reconciling, (Some(ConditionStatus::True), Some(Reason::WaitingForPayload)));
        assert_eq!((status.attempts, status.outcome), (None, None));
        world.event(name, "WaitingForPayload").await;
    }
    assert_eq!(world.seen(), 0);

    world.config_map("later", "event", r#"{"tag": "no-map"}"#).await;
    world.change::<ConfigMap>("half", json!({"data": {"event": r#"{"tag": "no-key"}"#}})).await;
    for name in ["no-map", "no-key"] {
        let status = world.end(name).await;
        assert_eq!((status.outcome, status.attempts), (Some(Outcome::Accepted), Some(1)), "{name}");
        assert_eq!(world.accepted(name).len(), 1, "{name}");
    }
    assert_eq!(world.seen(), 2);
}

#[tokio::test]
async fn t14_an_event_that_can_never_be_sent_fails_without_a_request_and_is_not_quoted() {
    let world = World::new().await;
    world.provider().await;
    let operator = world.operator().await;
    let canary = "canary-3c9f51";
    let just_right = format!(r#"{{"a":"{}"}}"#, "x".repeat(262_144 - 8));
    let too_large = format!(r#"{{"a":"{canary}{}"}}"#, "x".repeat(262_144));
    let unfit = [
        ("too-large", too_large, "262144"),
        ("not-json", format!("{{\"{canary}\": {canary}}}"), "is not valid JSON (line 1, column"),
        ("a-list", format!("[\"{canary}\"]"), "is not a JSON object"),
        ("a-string", format!("\"{canary}\""), "is not a JSON object"),
        ("empty", String::new(), "is not valid JSON"),
        ("two", format!("{{}} {{\"{canary}\": 1}}"), "is not valid JSON"),
    ];
    for (name, text, _) in &unfit {
        world.config_map(name, "event", text).await;
        world.invoke(name, from(name, "event")).await;
    }
    world.config_map("just-right", "event", &just_right).await;
    world.invoke("just-right", from("just-right", "event")).await;

    for (name, _, words) in &unfit {
        let status = world.end(name).await;
        assert_eq!(ready(&status), (Some(ConditionStatus::False), Some(Reason::InvalidPayload)), "{name}");
        assert_eq!((status.outcome, status.attempts), (Some(Outcome::Failed), None), "{name}");
        let told = message(&status);
        assert!(told.contains(words) && told.contains(&format!("ConfigMap {name}")), "{name}: {told}");
        let event = world.event(name, "InvalidPayload").await;
        assert!(!serde_json::to_string(&event).unwrap().contains(canary), "{name}");
        assert!(!serde_json::to_string(&status).unwrap().contains(canary), "{name}");
    }
    assert_eq!(world.end("just-right").await.outcome, Some(Outcome::Accepted));
    assert_eq!(world.emulator.ledger()[0].body_bytes, 262_144);
    assert_eq!(world.seen(), 1);
    operator.stop().await;
    assert!(!world.logs().contains(canary));
}

/// A spec for `hello` with the event from a Secret.
fn from_secret(name: &str, key: &str) -> Value {
    json!({
        "function": {"name": "hello"},
        "payloadFrom": {"secretKeyRef": {"name": name, "key": key}},
    })
}

#[tokio::test]
async fn t04_a_secret_is_sent_only_where_its_owner_says_so_and_looks_like_none_otherwise() {
    let world = World::new().await;
    world.provider().await;
    let operator = world.operator().await;
    let label = |value: &str| json!({"functiongraph.io/allow-payload": value});
    let canary = "canary-77d0e2";
    let data = json!({"event": format!("{{\"tag\": \"{canary}\"}}"), "username": canary, "password": canary});
    let secret = async |name: &str, labels: Value, type_: &str| {
        let secret = json!({"metadata": {"labels": labels}, "type": type_, "stringData": data});
        world.create::<Secret>(name, secret).await.unwrap();
    };
    secret("plain", json!({}), "Opaque").await;
    secret("closed", label("false"), "Opaque").await;
    secret("shouted", label("True"), "Opaque").await;
    secret("misspelt", json!({"functiongraph.io/allow-payloads": "true"}), "Opaque").await;
    secret("typed", label("true"), "kubernetes.io/basic-auth").await;
    secret("odd-type", label("true"), "example.com/odd").await;
    let closed = ["plain", "closed", "shouted", "misspelt", "typed", "odd-type", "absent"];
    for name in closed {
        world.invoke(name, from_secret(name, "event")).await;
    }
    // One that may be sent, but stands in another namespace.
    let elsewhere = format!("{}-elsewhere", world.namespace);
    let namespace = serde_json::from_value(json!({"metadata": {"name": elsewhere}})).unwrap();
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(world.client.clone());
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    let foreign = json!({"metadata": {"name": "foreign", "labels": label("true")}, "stringData": data});
    let foreign: Secret = serde_json::from_value(foreign).unwrap();
    Api::namespaced(world.client.clone(), &elsewhere).create(&PostParams::default(), &foreign).await.unwrap();
    world.invoke("foreign", from_secret("foreign", "event")).await;

    for name in closed.into_iter().chain(["foreign"]) {
        let status = world.says(name, Reason::WaitingForPayload).await;
        let words = format!(
            "Namespace {} has no Secret {name} that may be sent as an event: create it with type Opaque, and have its owner label it functiongraph.io/allow-payload: \"true\".",
            world.namespace
        );
        assert_eq!(message(&status), words);
        assert_eq!((status.attempts, status.outcome), (None, None), "{name}");
    }
    assert_eq!(world.seen(), 0);

    // Once its owner says so, it is sent, byte for byte.
    for name in ["plain", "closed", "misspelt"] {
        world.change::<Secret>(name, json!({"metadata": {"labels": label("true")}})).await;
        assert_eq!(world.end(name).await.outcome, Some(Outcome::Accepted), "{name}");
    }
    assert_eq!(world.accepted(canary).len(), 3);
    assert_eq!(world.seen(), 3);
    assert_nothing_of(&world, canary).await;
    operator.stop().await;
    assert!(!world.logs().contains(canary));
}

#[tokio::test]
async fn t04_nothing_is_told_of_what_a_secret_event_holds_even_if_the_service_repeats_it() {
    let world = World::new().await;
    world.provider().await;
    let operator = world.operator().await;
    let canary = "canary-19ab43";
    let events = [
        ("too-large", format!("{{\"a\":\"{canary}{}\"}}", "x".repeat(262_144))),
        ("not-json", format!("{{\"{canary}\": {canary}}}")),
        ("a-list", format!("[\"{canary}\"]")),
        ("repeated", format!("{{\"a\": \"{canary}\"}}")),
    ];
    for (name, event) in &events {
        let labels = json!({"functiongraph.io/allow-payload": "true"});
        let secret = json!({"metadata": {"labels": labels}, "stringData": {"event": event}});
        world.create::<Secret>(name, secret).await.unwrap();
    }
    let action =
        json!({"status": {"status": 400, "errorCode": "FSS.0400", "errorMsg": format!("bad {canary}")}});
    world.fault(json!({"when": "forever", "action": action}));
    world.invoke("no-key", from_secret("repeated", "other")).await;
    for (name, _) in &events {
        world.invoke(name, from_secret(name, "event")).await;
    }

    assert_eq!(
        message(&world.says("no-key", Reason::WaitingForPayload).await),
        "Secret repeated has no key other: add it."
    );
    for name in ["too-large", "not-json", "a-list"] {
        let status = world.end(name).await;
        assert_eq!(ready(&status), (Some(ConditionStatus::False), Some(Reason::InvalidPayload)), "{name}");
        let words = format!(
            "The payload cannot be sent: key event of Secret {name} is not a JSON object of at most 262144 bytes. Fix it and create a new FunctionInvocation."
        );
        assert_eq!(message(&status), words);
    }
    let status = world.end("repeated").await;
    assert_eq!(ready(&status), (Some(ConditionStatus::False), Some(Reason::Rejected)));
    let error = status.error.unwrap();
    assert_eq!((error.http_status, error.code.as_deref()), (Some(400), Some("FSS.0400")));
    assert_eq!(
        error.message.as_deref(),
        Some("what the service said is left out, because the event is from a Secret")
    );
    assert_eq!(world.seen(), 1);
    world.event("repeated", "Rejected").await;
    assert_nothing_of(&world, canary).await;
    operator.stop().await;
    assert!(!world.logs().contains(canary));
}

/// What docs/payloads.md says of it.
#[tokio::test]
async fn an_inline_event_is_stored_as_the_api_server_reads_it_and_apply_drops_nulls() {
    let world = World::new().await;
    let rewritten = [
        (r#"{"b": 1, "a": 2}"#, r#"{"a":2,"b":1}"#),
        (r#"{"a": 1, "a": 2}"#, r#"{"a":2}"#),
        (r#"{"a": 0.1234567890123456789}"#, r#"{"a":0.12345678901234568}"#),
        (r#"{"a": 9223372036854775807}"#, r#"{"a":9223372036854775807}"#),
        (r#"{"a": 9223372036854775808}"#, r#"{"a":9223372036854776000}"#),
        (r#"{"a": 1e-400}"#, r#"{"a":0}"#),
        (r#"{"a": [1.0, 1e3, -0, -0.0]}"#, r#"{"a":[1,1000,0,0]}"#),
        (r#"{"a": "x\ud800y"}"#, "{\"a\":\"x\u{fffd}y\"}"),
        (r#"{"a": [null, {"b": null}]}"#, r#"{"a":[null,{"b":null}]}"#),
        ("{\"a\": \"<\u{e4}>\"}", r#"{"a":"\u003cä\u003e"}"#),
    ];
    for (number, (event, expected)) in rewritten.into_iter().enumerate() {
        let name = format!("case-{number}");
        let said =
            policy::send(&world, "POST", "", "application/json", policy::manifest(&name, event, "")).await;
        assert_eq!(said, None, "{event}");
        assert_eq!(stored(&world, &name).await, expected, "{event}");
    }
    let event = r#"{"a": null, "b": [null, {"c": null}]}"#;
    for (name, verb, expected) in [
        ("created", ["create", "-f", "-"].as_slice(), r#"{"a":null,"b":[null,{"c":null}]}"#),
        ("server-side", &["apply", "--server-side", "-f", "-"], r#"{"a":null,"b":[null,{"c":null}]}"#),
        ("applied", &["apply", "-f", "-"], r#"{"b":[null,{}]}"#),
    ] {
        let said = world.kubectl_with(verb, &policy::manifest(name, event, "")).await;
        assert!(said.status.success(), "{name}: {}", text(&said.stderr));
        assert_eq!(stored(&world, name).await, expected, "{name}");
    }
}

/// The event as the API server writes it.
async fn stored(world: &World, name: &str) -> String {
    let namespace = &world.namespace;
    let url = format!("/apis/functiongraph.io/v1alpha1/namespaces/{namespace}/functioninvocations/{name}");
    let object = world.client.request_text(http::Request::get(url).body(Vec::new()).unwrap()).await.unwrap();
    let object: Stored<'_> = serde_json::from_str(&object).unwrap();
    object.spec.payload.get().to_owned()
}

#[derive(Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    spec: StoredSpec<'a>,
}

#[derive(Deserialize)]
struct StoredSpec<'a> {
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// Asserts that no invocation and no Event of the test's namespace holds this.
async fn assert_nothing_of(world: &World, canary: &str) {
    let objects = world.api::<FunctionInvocation>().list(&ListParams::default()).await.unwrap();
    assert!(!serde_json::to_string(&objects.items).unwrap().contains(canary));
    let events = world.api::<Event>().list(&ListParams::default()).await.unwrap();
    assert!(!serde_json::to_string(&events.items).unwrap().contains(canary));
}

/// Between the first attempt and the next the event becomes another, in each way that nobody refuses.
#[tokio::test]
async fn no_other_event_is_sent_than_that_of_the_first_attempt() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    world.config_map("source", "event", r#"{"tag": "map"}"#).await;
    let labels = json!({"functiongraph.io/allow-payload": "true"});
    let secret = json!({"metadata": {"labels": labels}, "stringData": {"event": r#"{"tag": "secret"}"#}});
    world.create::<Secret>("source", secret).await.unwrap();
    let inline =
        json!({"function": {"name": "hello"}, "payload": {"tag": "inline", "n": 9_007_199_254_740_993_i64}});
    // No request is accepted, so that no attempt comes before the edits, however long they take.
    let throttled = json!({"status": {"status": 429, "retryAfter": "1"}});
    world.fault(json!({"when": "forever", "action": throttled}));
    for (name, spec) in
        [("map", from("source", "event")), ("secret", from_secret("source", "event")), ("inline", inline)]
    {
        world.create::<FunctionInvocation>(name, json!({"spec": spec})).await.unwrap();
        let status = world.scheduled(name).await;
        let version = status.event_version.expect("the claim says which event it is for");
        assert_eq!(version.starts_with("secret:"), name == "secret", "{version}");
    }
    world.change::<ConfigMap>("source", json!({"data": {"event": r#"{"tag": "map", "a": 1}"#}})).await;
    let changed = json!({"stringData": {"event": r#"{"tag": "secret", "a": 1}"#}});
    world.change::<Secret>("source", changed).await;
    // The one edit that the policy cannot see: both are the same number to the API server's rules.
    let edit = r#"{"spec": {"payload": {"tag": "inline", "n": 9007199254740992.0}}}"#;
    let edited = world.kubectl(&["patch", "fninv", "inline", "--type=merge", "-p", edit]).await;
    assert!(edited.status.success(), "{}", text(&edited.stderr));

    let mut attempts = 0;
    for name in ["map", "secret", "inline"] {
        let status = world.end(name).await;
        assert_eq!(status.outcome, Some(Outcome::Failed), "{name}");
        assert_eq!(ready(&status).1, Some(Reason::InvalidPayload), "{name}");
        assert!(message(&status).contains("differs from the event of the first attempt"), "{name}");
        assert_eq!(world.accepted(name).len(), 0, "{name}");
        attempts += status.attempts.unwrap_or_default();
    }
    assert_eq!(i64::try_from(world.seen()).unwrap(), attempts);
}

/// The API server stores `<` as six bytes, and so would have to be sent what nobody wrote.
#[tokio::test]
async fn an_inline_event_is_sent_without_the_escapes_that_the_api_server_adds() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    let event = json!({"tag": "html", "page": "<p class=\"a\">a & b \\u003c</p>\u{2028}\u{2029}"});
    let spec = json!({"function": {"name": "hello"}, "payload": event});
    world.create::<FunctionInvocation>("html", json!({"spec": spec})).await.unwrap();
    world.end("html").await;
    assert_eq!(world.accepted("html")[0].body_bytes, event.to_string().len());
}
