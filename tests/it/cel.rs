//! The rules that the API server itself enforces on changes: what never changes, and what is never forged.

use functiongraph_operator::api::FunctionInvocation;
use kube::Resource;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use testkit::{PROJECT, World};

/// Objects of any shape, also those that our own types could not hold.
pub fn any<K: Resource<DynamicType = ()>>(world: &World) -> Api<DynamicObject> {
    Api::namespaced_with(world.client.clone(), &world.namespace, &ApiResource::erase::<K>(&()))
}

/// What the API server would say to a merge patch.
async fn on_change(world: &World, name: &str, patch: &Value) -> Option<String> {
    let parameters = PatchParams::default().dry_run();
    words(any::<FunctionInvocation>(world).patch(name, &parameters, &Patch::Merge(patch)).await)
}

/// What the API server would say to a merge patch of the status.
pub async fn on_status(world: &World, name: &str, status: &Value) -> Option<String> {
    let (parameters, patch) = (PatchParams::default().dry_run(), json!({"status": status}));
    words(any::<FunctionInvocation>(world).patch_status(name, &parameters, &Patch::Merge(patch)).await)
}

pub fn words(result: Result<DynamicObject, kube::Error>) -> Option<String> {
    match result {
        Ok(_) => None,
        Err(kube::Error::Api(status)) => Some(status.message),
        Err(other) => panic!("the API server did not answer: {other}"),
    }
}

/// Asserts that it was refused for this reason, or allowed if there is none.
pub fn assert_said(what: &impl std::fmt::Display, said: Option<String>, expected: Option<&str>) {
    match (said, expected) {
        (None, None) => {}
        (Some(said), Some(words)) => assert!(said.contains(words), "{what}: {said}"),
        (None, Some(words)) => panic!("{what} is allowed, and should be refused: {words}"),
        (Some(said), None) => panic!("{what} should be allowed: {said}"),
    }
}

#[tokio::test]
async fn what_an_invocation_is_about_never_changes_and_how_it_is_tried_may() {
    let world = World::new().await;
    let urn = |name: &str| format!("urn:fss:eu-de:{PROJECT}:function:default:{name}");
    let function = json!({"name": "hello", "package": "tools", "qualifier": "v1"});
    let inline = json!({"a": {"deep": [1, 2]}});
    let spec = json!({"function": function, "payload": inline, "providerRef": {"name": "mine"}});
    world.invoke("named", spec).await;
    let map = json!({"configMapKeyRef": {"name": "map", "key": "event"}});
    let spec = json!({"function": {"urn": urn("hello")}, "payloadFrom": map, "cancel": true});
    world.invoke("by-urn", spec).await;
    world.invoke("bare", json!({"function": {"name": "hello"}})).await;
    let (function, payload, source) =
        ("function is immutable", "payload is immutable", "payloadFrom is immutable");
    let refused = [
        ("named", json!({"function": {"name": "other"}}), function),
        ("named", json!({"function": {"package": "other"}}), function),
        ("named", json!({"function": {"package": null}}), function),
        ("named", json!({"function": {"qualifier": "v2"}}), function),
        ("named", json!({"function": {"qualifier": null}}), function),
        (
            "named",
            json!({"function": {"name": null, "package": null, "qualifier": null, "urn": urn("hello")}}),
            function,
        ),
        ("bare", json!({"function": {"package": "default"}}), function),
        ("bare", json!({"function": {"qualifier": "latest"}}), function),
        ("by-urn", json!({"function": {"urn": urn("other")}}), function),
        ("by-urn", json!({"function": {"urn": null, "name": "hello"}}), function),
        ("named", json!({"payload": {"a": {"deep": [1, 3]}}}), payload),
        ("named", json!({"payload": {"b": 1}}), payload),
        ("named", json!({"payload": null}), payload),
        ("named", json!({"payload": null, "payloadFrom": map}), source),
        ("bare", json!({"payload": {}}), payload),
        ("bare", json!({"payloadFrom": map}), source),
        ("by-urn", json!({"payloadFrom": null}), source),
        ("by-urn", json!({"payloadFrom": {"configMapKeyRef": {"name": "other"}}}), source),
        ("by-urn", json!({"payloadFrom": {"configMapKeyRef": {"key": "other"}}}), source),
        (
            "by-urn",
            json!({"payloadFrom": {"configMapKeyRef": null, "secretKeyRef": {"name": "map", "key": "event"}}}),
            source,
        ),
        (
            "named",
            json!({"providerRef": {"name": "other"}}),
            "providerRef is immutable: create a new FunctionInvocation",
        ),
        ("named", json!({"providerRef": null}), "providerRef is immutable: create a new FunctionInvocation"),
        (
            "bare",
            json!({"deliveryPolicy": "AtLeastOnce"}),
            "deliveryPolicy is immutable: create a new FunctionInvocation",
        ),
        ("by-urn", json!({"cancel": false}), "cancel cannot be undone"),
        ("by-urn", json!({"cancel": null}), "cancel cannot be undone"),
        ("bare", json!({"activeDeadlineSeconds": 1}), "at least requestTimeoutSeconds"),
    ];
    for (name, change, expected) in refused {
        let said = on_change(&world, name, &json!({"spec": change})).await;
        assert_said(&format!("{name} {change}"), said, Some(expected));
    }
    let allowed = [
        ("named", json!({"spec": {"suspend": true}})),
        ("named", json!({"spec": {"cancel": true}})),
        ("named", json!({"spec": {"activeDeadlineSeconds": 45, "requestTimeoutSeconds": 45}})),
        ("named", json!({"spec": {"ttlSecondsAfterFinished": 1}})),
        ("named", json!({"spec": {"retryPolicy": {"backoffLimit": 0, "rules": []}}})),
        ("named", json!({"spec": {"payload": {"a": {"deep": [1, 2]}}}})),
        ("by-urn", json!({"metadata": {"labels": {"team": "images"}}})),
    ];
    for (name, change) in allowed {
        assert_said(&format!("{name} {change}"), on_change(&world, name, &change).await, None);
    }
}

#[tokio::test]
async fn t11_an_attempt_once_claimed_cannot_be_forged_away() {
    let world = World::new().await;
    let attempt =
        |number: i64, state: &str| json!({"attempt": {"number": number, "holder": "a", "state": state}});
    let by_another = |number: i64| json!({"attempt": {"number": number, "holder": "b", "state": "Claimed"}});
    let (fresh, gone) = (json!({}), json!({"attempt": null}));
    let removed = "cannot be removed";
    let order = "attempt numbers go up one by one";
    let follow = "a new attempt may follow only";
    let (once, again) = ("AtMostOnce", "AtLeastOnce");
    // What stands, what is written over it, and what the API server says to that.
    let cases = [
        (once, &fresh, attempt(1, "Claimed"), None),
        (once, &fresh, attempt(2, "Claimed"), Some(order)),
        (once, &fresh, attempt(0, "Claimed"), Some("greater than or equal to 1")),
        (once, &fresh, attempt(1_000_000, "Claimed"), Some(order)),
        (once, &fresh, attempt(1_000_001, "Claimed"), Some("less than or equal to 1000000")),
        (once, &attempt(1, "Claimed"), gone.clone(), Some(removed)),
        (once, &attempt(1, "Claimed"), Value::Null, Some(removed)),
        (once, &attempt(1, "Claimed"), by_another(1), Some("an attempt keeps its holder")),
        (once, &attempt(1, "Claimed"), attempt(2, "Claimed"), Some(follow)),
        (again, &attempt(1, "Claimed"), attempt(2, "Claimed"), Some(follow)),
        (once, &attempt(1, "Claimed"), by_another(2), Some(follow)),
        (once, &attempt(1, "Claimed"), attempt(3, "Claimed"), Some(order)),
        (once, &attempt(1, "Claimed"), attempt(1, "Accepted"), None),
        (once, &attempt(1, "Claimed"), attempt(1, "Rejected"), None),
        (once, &attempt(1, "Claimed"), attempt(1, "NotSent"), None),
        (once, &attempt(1, "Claimed"), attempt(1, "Ambiguous"), None),
        (once, &attempt(1, "Rejected"), by_another(2), None),
        (once, &attempt(1, "NotSent"), by_another(2), None),
        (once, &attempt(1, "Rejected"), attempt(3, "Claimed"), Some(order)),
        (once, &attempt(1, "Rejected"), gone, Some(removed)),
        (once, &attempt(1, "Rejected"), Value::Null, Some(removed)),
        (once, &attempt(1, "Ambiguous"), attempt(2, "Claimed"), Some(follow)),
        (again, &attempt(1, "Ambiguous"), by_another(2), None),
        (once, &attempt(1, "Accepted"), attempt(2, "Claimed"), Some(follow)),
        (again, &attempt(1, "Accepted"), attempt(2, "Claimed"), Some(follow)),
    ];
    for (number, (policy, stands, written, expected)) in cases.into_iter().enumerate() {
        let name = format!("case-{number}");
        world.invoke(&name, json!({"function": {"name": "hello"}, "deliveryPolicy": policy})).await;
        world.force_status(&name, stands.clone()).await.unwrap();
        let said = on_status(&world, &name, &written).await;
        assert_said(&format!("{policy}: {stands} -> {written}"), said, expected);
    }
    let name = "case-16"; // Rejected
    world.force_status(name, by_another(2)).await.unwrap();
    let said = on_status(&world, name, &by_another(1)).await;
    assert_said(&"back to an earlier attempt", said, Some(order));
}

#[tokio::test]
async fn t11_an_outcome_is_final_and_only_unknown_may_become_known() {
    let world = World::new().await;
    let last = "an outcome is final";
    let outcome = |outcome: &str| json!({"outcome": outcome});
    for (stands, written, expected) in [
        ("Accepted", json!({"outcome": "Failed"}), Some(last)),
        ("Accepted", json!({"outcome": null}), Some(last)),
        ("Accepted", Value::Null, Some(last)),
        ("Accepted", json!({"outcome": "Accepted", "requestID": "r"}), None),
        ("Failed", json!({"outcome": "Unknown"}), Some(last)),
        ("Failed", json!({"outcome": "Accepted"}), Some(last)),
        ("Cancelled", json!({"outcome": "Accepted"}), Some(last)),
        ("Unknown", json!({"outcome": null}), None),
        ("Unknown", json!({"outcome": "Accepted"}), None),
        ("Unknown", json!({"outcome": "Failed"}), None),
        ("Unknown", json!({"outcome": "Perhaps"}), Some("Unsupported value")),
    ] {
        let name = format!("{}-{}", stands.to_lowercase(), written.to_string().len());
        if world.get_opt(&name).await.is_none() {
            world.invoke(&name, json!({"function": {"name": "hello"}})).await;
            world.force_status(&name, outcome(stands)).await.unwrap();
        }
        let said = on_status(&world, &name, &written).await;
        assert_said(&format!("{stands} -> {written}"), said, expected);
    }
}

#[tokio::test]
async fn t11_a_null_does_not_slip_past_the_rules() {
    let world = World::new().await;
    let claimed = json!({"attempt": {"number": 1, "holder": "a", "state": "Claimed"}});
    for (name, stands, field) in [
        ("attempt", claimed.clone(), "attempt"),
        ("outcome", json!({"outcome": "Accepted"}), "outcome"),
        ("unknown", json!({"outcome": "Unknown"}), "outcome"),
        ("status", claimed, ""),
    ] {
        world.invoke(name, json!({"function": {"name": "hello"}})).await;
        world.force_status(name, stands).await.unwrap();
        // Not a merge patch, which takes a null for "remove", but a whole object with a null in it.
        let api = any::<FunctionInvocation>(&world);
        let mut object = api.get_status(name).await.unwrap();
        *object.data.pointer_mut(format!("/status/{field}").trim_end_matches('/')).unwrap() = Value::Null;
        let parameters = PostParams { dry_run: true, ..PostParams::default() };
        let said = words(api.replace_status(name, &parameters, &object).await);
        assert!(said.is_some(), "{name} is set to null");
    }
}
