//! What somebody with every right may write into a status: it harms neither the neighbours nor the operator.

use functiongraph_operator::api::invocation::{AttemptState, Outcome};
use functiongraph_operator::api::{ConditionStatus, Reason};
use kube::ResourceExt;
use serde_json::{Value, json};
use testkit::{World, message, ready, text};

/// Statuses that the schema takes, and what becomes of an object that has one: an outcome, or nothing yet.
fn nonsense() -> Vec<(&'static str, Value, Option<Outcome>)> {
    let accepted = Some(Outcome::Accepted);
    let attempt = |state: &str| json!({"attempt": {"number": 1, "holder": "nobody", "state": state}});
    let next = |time: &str| json!({"nextAttemptTime": time});
    let condition = |type_: &str, time: &str| {
        json!({"conditions": [{
            "type": type_, "status": "True", "reason": "Suspended", "message": "",
            "observedGeneration": -7, "lastTransitionTime": time,
        }]})
    };
    vec![
        ("claimed-by-nobody", attempt("Claimed"), None),
        ("accepted-by-nobody", attempt("Accepted"), accepted),
        ("rejected-by-nobody", attempt("Rejected"), accepted),
        ("doubted-by-nobody", attempt("Ambiguous"), Some(Outcome::Unknown)),
        // Further away than any pause: as good as no time at all.
        ("far-future", next("9998-01-01T00:00:00Z"), accepted),
        ("end-of-time", next("9999-12-31T23:59:59Z"), accepted),
        ("lower-case", next("2001-01-01t00:00:00z"), accepted),
        ("year-zero", next("0000-01-01T00:00:00Z"), accepted),
        ("odd-offset", next("2001-01-01T00:00:00.000000001+23:59"), accepted),
        ("started-in-the-future", json!({"startTime": "9998-01-01T00:00:00Z"}), accepted),
        ("started-in-year-zero", json!({"startTime": "0000-01-01T00:00:00Z"}), Some(Outcome::Failed)),
        ("huge-counters", json!({"attempts": i64::MAX, "throttledAttempts": i64::MAX}), accepted),
        ("huge-failures", json!({"failedAttempts": i64::MAX}), Some(Outcome::Failed)),
        ("suspended-in-name", condition("Suspended", "0000-01-01t00:00:00z"), accepted),
        ("stalled-in-name", condition("Stalled", "9999-12-31T23:59:59.999999999Z"), accepted),
        ("odd-error", json!({"error": {"httpStatus": -1, "time": "0000-01-01T00:00:00Z"}}), accepted),
        (
            "odd-generation",
            json!({"observedGeneration": i64::MAX, "completionTime": "0000-01-01T00:00:00Z"}),
            accepted,
        ),
    ]
}

#[tokio::test]
async fn t14_nonsense_in_some_statuses_stops_neither_the_neighbours_nor_the_operator() {
    let world = World::new().await;
    world.provider().await;
    for (name, status, _) in nonsense() {
        world.invoke(name, json!({"function": {"name": "hello"}, "payload": {"tag": name}})).await;
        let forced = world.force_status(name, status.clone()).await;
        assert!(forced.is_ok(), "the API server takes {status}: {forced:?}");
    }
    for name in ["neighbour-1", "neighbour-2", "neighbour-3"] {
        world.invoke(name, json!({"function": {"name": "hello"}, "payload": {"tag": name}})).await;
    }
    let operator = world.operator().await;

    for name in ["neighbour-1", "neighbour-2", "neighbour-3"] {
        assert_eq!(world.end(name).await.outcome, Some(Outcome::Accepted), "{name}");
    }
    for (name, _, outcome) in nonsense() {
        if outcome.is_some() {
            let status = world.end(name).await;
            assert_eq!(status.outcome, outcome, "{name}: {}", message(&status));
        }
        // An attempt of which somebody says that it may have been accepted is never made again.
        let forged = ["claimed-by-nobody", "accepted-by-nobody", "doubted-by-nobody"].contains(&name);
        let expected = usize::from(outcome == Some(Outcome::Accepted) && !forged);
        assert_eq!(world.accepted(name).len(), expected, "{name}");
    }
    let claimed = world.get("claimed-by-nobody").await.status.unwrap().attempt.unwrap();
    assert_eq!((claimed.state, claimed.holder.as_deref()), (Some(AttemptState::Claimed), Some("nobody")));

    // It has come to rest: three seconds later nothing has been looked at again, except what is new.
    let looks =
        async || operator.metric("functiongraph_operator_reconcile_duration_seconds_count", &[]).await;
    let (before, versions) = (looks().await, versions(&world).await);
    let action = json!({"status": {"status": 404, "retryAfter": "3"}});
    world.fault(json!({"when": {"next": 1}, "action": action}));
    let rules = json!([{"httpStatuses": [404], "action": "Retry"}]);
    world.invoke("after", json!({"function": {"name": "hello"}, "retryPolicy": {"rules": rules}})).await;
    world.end("after").await;
    let more = looks().await - before;
    assert!(more < 12.0, "{more} looks at objects that rest");
    assert_eq!(self::versions(&world).await, versions);
    let errors = operator.metric("functiongraph_operator_reconcile_errors_total", &[]).await;
    assert!(errors < 0.5, "{errors} reconciles failed");
    assert!(operator.stop().await.success());
    assert!(!world.logs().contains("panicked"));
}

/// The versions of all objects with a nonsensical status.
async fn versions(world: &World) -> Vec<Option<String>> {
    let mut versions = Vec::new();
    for (name, _, _) in nonsense() {
        versions.push(world.get(name).await.resource_version());
    }
    versions
}

/// JSON that is so deep.
fn nested(depth: usize) -> String {
    format!("{{\"tag\": \"deep\", \"a\": {}{}}}", "[".repeat(depth), "]".repeat(depth))
}

#[tokio::test]
async fn t14_events_nested_without_measure_harm_neither_the_neighbours_nor_the_operator() {
    let world = World::new().await;
    world.provider().await;
    let manifest = |name: &str, payload: &str| {
        format!(
            r#"{{"apiVersion": "functiongraph.io/v1alpha1", "kind": "FunctionInvocation",
                "metadata": {{"name": "{name}"}}, "spec": {{"function": {{"name": "hello"}}, "payload": {payload}}}}}"#
        )
    };
    // One that is there before the operator, and so in its first list, and one that comes by the watch.
    for (name, depth) in [("before", 200), ("before-deeper", 2000)] {
        let said = world.kubectl_with(&["create", "-f", "-"], &manifest(name, &nested(depth))).await;
        assert!(said.status.success(), "{}", text(&said.stderr));
    }
    let operator = world.operator().await;
    for (name, depth) in [("after", 200), ("after-deeper", 2000)] {
        let said = world.kubectl_with(&["create", "-f", "-"], &manifest(name, &nested(depth))).await;
        assert!(said.status.success(), "{}", text(&said.stderr));
    }
    world.config_map("deepest", "event", &nested(100_000)).await;
    let source = json!({"configMapKeyRef": {"name": "deepest", "key": "event"}});
    world.invoke("deepest", json!({"function": {"name": "hello"}, "payloadFrom": source})).await;
    world.invoke("neighbour", json!({"function": {"name": "hello"}})).await;

    assert_eq!(world.end("neighbour").await.outcome, Some(Outcome::Accepted));
    for name in ["before", "before-deeper", "after", "after-deeper", "deepest"] {
        // Our own types are not asked: what the service says to such an event is its affair.
        let output = world
            .kubectl(&["wait", "--for=condition=Finished", "--timeout=60s", &format!("fninv/{name}")])
            .await;
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
    }
    assert!(operator.stop().await.success());
    assert!(!world.logs().contains("panicked"));
}

#[tokio::test]
async fn t14_a_finished_object_with_nonsensical_times_is_deleted_when_it_may_be_and_no_sooner() {
    let world = World::new().await;
    for (name, ttl, completed) in [
        ("long-ago", 3600, "0001-01-01T00:00:00Z"),
        ("not-yet", 1, "9998-01-01T00:00:00Z"),
        ("unreadable", 1, "9999-12-31T23:59:59Z"),
        ("stays", 3600, "9998-01-01T00:00:00Z"),
    ] {
        let spec = json!({"function": {"name": "hello"}, "ttlSecondsAfterFinished": ttl});
        world.invoke(name, spec).await;
        let status = json!({"outcome": "Failed", "completionTime": completed});
        world.force_status(name, status).await.unwrap();
    }
    let _operator = world.operator().await;

    // A time that cannot be read is none: then the object's age counts. One in the future is corrected.
    for name in ["long-ago", "not-yet", "unreadable"] {
        world.disappears(name).await;
    }
    assert!(world.get_opt("stays").await.is_some());
    assert_eq!(world.seen(), 0);
}

#[tokio::test]
async fn t14_names_as_long_as_they_may_be_are_handled_like_any_other() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    let (good, bad) = (format!("g{}", "o".repeat(252)), format!("b{}", "a".repeat(252)));
    world.invoke(&good, json!({"function": {"name": "hello"}})).await;
    world.invoke(&bad, json!({"function": {"name": "nowhere"}})).await;

    let status = world.end(&good).await;
    assert_eq!(ready(&status), (Some(ConditionStatus::True), Some(Reason::Accepted)));
    let status = world.end(&bad).await;
    assert_eq!(ready(&status), (Some(ConditionStatus::False), Some(Reason::Rejected)));
}

#[tokio::test]
async fn a_failure_told_in_another_script_has_an_event_too() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    // 900 characters of three bytes each: an Event may have 1,024 bytes.
    let answer = json!({"status": 400, "errorMsg": "函数参数无效".repeat(150)});
    world.fault(json!({"when": "forever", "action": {"status": answer}}));
    world.invoke("foreign", json!({"function": {"name": "hello"}})).await;

    let status = world.end("foreign").await;

    assert_eq!(status.error.as_ref().unwrap().message.as_ref().unwrap().chars().count(), 900);
    let note = world.event("foreign", "Rejected").await.note.unwrap();
    assert!(message(&status).starts_with(&note) && note.len() > 1000, "{} bytes", note.len());
}
