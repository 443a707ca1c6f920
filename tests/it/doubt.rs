//! Answers that leave it open whether the invocation was accepted, and answers that only look odd.

use functiongraph_emulator::Function;
use functiongraph_operator::api::invocation::{AttemptState, ErrorClass, Outcome};
use functiongraph_operator::api::{ConditionStatus, ConditionType, FunctionInvocationStatus, Reason};
use serde_json::{Value, json};
use testkit::{World, condition, message, ready};

/// A world whose functions each have a fault of their own, and one invocation of each, in this order.
async fn faulty(faults: &[(&str, Value)], spec: Value) -> World {
    let functions: Vec<_> = faults.iter().map(|(name, _)| Function::named(name)).collect();
    let world = World::with(|config| config.functions.extend(functions)).await;
    world.provider().await;
    for (name, action) in faults {
        world.fault(json!({"when": {"next": 1}, "function": name, "action": action}));
        let mut spec = spec.clone();
        spec["function"] = json!({"name": name});
        spec["payload"] = json!({"tag": name});
        world.invoke(name, spec).await;
    }
    world
}

fn assert_unknown(name: &str, status: &FunctionInvocationStatus) {
    assert_eq!(status.outcome, Some(Outcome::Unknown), "{name}");
    assert_eq!(status.attempts, Some(1), "{name}");
    assert_eq!(status.attempt.as_ref().unwrap().state, Some(AttemptState::Ambiguous), "{name}");
    assert_eq!(status.error.as_ref().unwrap().class, Some(ErrorClass::Ambiguous), "{name}");
    assert_eq!(status.next_attempt_time, None, "{name}");
    for (type_, expected) in [
        (ConditionType::Ready, ConditionStatus::False),
        (ConditionType::Accepted, ConditionStatus::Unknown),
        (ConditionType::Finished, ConditionStatus::True),
        (ConditionType::Stalled, ConditionStatus::True),
    ] {
        assert_eq!(condition(status, type_), (Some(expected), Some(Reason::OutcomeUnknown)), "{name}");
    }
    assert!(
        message(status).starts_with("FunctionGraph may have accepted the invocation"),
        "{name}: {}",
        message(status)
    );
}

#[tokio::test]
async fn what_may_have_been_accepted_ends_as_unknown_after_one_request() {
    let faults = [
        ("internal-error", json!({"status": {"status": 500}})),
        ("gateway-timeout", json!({"acceptThen": {"status": 504}})),
        ("cut-after", json!("dropAfter")),
        ("cut-before", json!("dropBefore")),
    ];
    let world = faulty(&faults, json!({"deliveryPolicy": "AtMostOnce"})).await;
    let _operator = world.operator().await;

    let told = world.end("internal-error").await;
    assert!(message(&told).contains("(500 FSS.0500: Internal server error)"), "{}", message(&told));
    for (name, accepted, http_status) in [
        ("internal-error", 0, Some(500)),
        ("gateway-timeout", 1, Some(504)),
        ("cut-after", 1, None),
        ("cut-before", 0, None),
    ] {
        let status = world.end(name).await;
        assert_unknown(name, &status);
        assert_eq!(status.error.unwrap().http_status, http_status, "{name}");
        assert_eq!(world.accepted(name).len(), accepted, "{name}");
    }
    let event = world.event("cut-after", "OutcomeUnknown").await;
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    assert_eq!(world.seen(), 4);
}

#[tokio::test]
async fn an_error_page_that_repeats_the_event_leaves_it_open_whether_it_was_accepted() {
    let pages = [
        ("in-the-request", 504, r#"{"request":{"event":{"tag":"in-the-request","code":"APIG.0308"}}}"#),
        ("in-the-event", 500, r#"{"event":{"tag":"in-the-event","code":"APIG.0308"}}"#),
        ("as-it-is", 502, r#"{"tag":"as-it-is","code":"APIG.0308"}"#),
        ("too-late", 408, r#"{"error_code":"APIG.0308"}"#),
    ];
    let faults = pages.map(|(name, status, body)| {
        (name, json!({"acceptThen": {"status": status, "body": body, "contentType": "application/json"}}))
    });
    let world = faulty(&faults, json!({"deliveryPolicy": "AtMostOnce"})).await;
    let _operator = world.operator().await;

    for (name, http_status, _) in pages {
        let status = world.end(name).await;
        assert_unknown(name, &status);
        assert_eq!(status.error.unwrap().http_status, Some(http_status), "{name}");
        assert_eq!(world.accepted(name).len(), 1, "{name}");
    }
    assert_eq!(world.seen(), 4);
}

#[tokio::test]
async fn no_answer_in_time_ends_as_unknown_after_one_request() {
    let faults = [("deaf", json!({"hang": {}})), ("mute", json!({"hang": {"accept": true}}))];
    let world = faulty(&faults, json!({"requestTimeoutSeconds": 1})).await;
    let _operator = world.operator().await;

    for (name, accepted) in [("deaf", 0), ("mute", 1)] {
        assert_unknown(name, &world.end(name).await);
        assert_eq!(world.accepted(name).len(), accepted, "{name}");
    }
    assert_eq!(world.seen(), 2);
}

#[tokio::test]
async fn in_doubt_at_least_once_sends_again() {
    let faults = [
        ("internal-error", json!({"status": {"status": 500}})),
        ("gateway-timeout", json!({"acceptThen": {"status": 504}})),
        ("cut-after", json!("dropAfter")),
        ("cut-before", json!("dropBefore")),
    ];
    let world = faulty(&faults, json!({"deliveryPolicy": "AtLeastOnce"})).await;
    let _operator = world.operator().await;

    for (name, accepted) in
        [("internal-error", 1), ("gateway-timeout", 2), ("cut-after", 2), ("cut-before", 1)]
    {
        let status = world.end(name).await;
        assert_eq!(ready(&status), (Some(ConditionStatus::True), Some(Reason::Accepted)), "{name}");
        assert_eq!((status.attempts, status.failed_attempts), (Some(2), Some(1)), "{name}");
        let ledger = world.accepted(name);
        assert_eq!(ledger.len(), accepted, "{name}");
        assert_eq!(status.request_id.as_ref(), ledger.last().map(|entry| &entry.request_id), "{name}");
    }
    assert_eq!(world.seen(), 8);
}

#[tokio::test]
async fn at_least_once_that_never_learns_more_ends_as_unknown_at_its_limit() {
    let world = World::new().await;
    world.provider().await;
    world.fault(json!({"when": "forever", "action": {"acceptThen": {"status": 504}}}));
    let spec = json!({
        "function": {"name": "hello"}, "payload": {"tag": "again"},
        "deliveryPolicy": "AtLeastOnce", "retryPolicy": {"backoffLimit": 1},
    });
    world.invoke("again", spec).await;
    let _operator = world.operator().await;

    let status = world.end("again").await;

    assert_eq!(status.outcome, Some(Outcome::Unknown));
    assert_eq!(ready(&status), (Some(ConditionStatus::False), Some(Reason::OutcomeUnknown)));
    assert_eq!((status.attempts, status.failed_attempts), (Some(2), Some(2)));
    assert_eq!(world.accepted("again").len(), 2);
}

#[tokio::test]
async fn a_rule_of_the_user_turns_doubt_into_failure_but_never_into_a_second_request() {
    let world = World::with(|config| config.functions.extend(["fail", "retry"].map(Function::named))).await;
    world.provider().await;
    let _operator = world.operator().await;
    world.fault(json!({"when": "forever", "action": {"status": {"status": 500}}}));
    for (function, action) in [("fail", "Fail"), ("retry", "Retry")] {
        let rules = json!([{"httpStatuses": [500], "action": action}]);
        let spec = json!({"function": {"name": function}, "retryPolicy": {"rules": rules}});
        world.invoke(function, spec).await;
    }

    let failed = world.end("fail").await;
    assert_eq!(failed.outcome, Some(Outcome::Failed));
    assert_eq!(ready(&failed), (Some(ConditionStatus::False), Some(Reason::Rejected)));
    let accepted = condition(&failed, ConditionType::Accepted);
    assert_eq!(accepted.0, Some(ConditionStatus::Unknown), "what is in doubt stays in doubt");
    assert_unknown("retry", &world.end("retry").await);
    assert_eq!(world.seen(), 2);
}

#[tokio::test]
async fn a_202_is_an_acceptance_whatever_its_body_looks_like() {
    let odd = |kind: &str| json!({"oddBody": {"kind": kind}});
    let faults = [
        ("no-id", odd("noId")),
        ("empty", odd("empty")),
        ("html", odd("html")),
        ("huge", odd("huge")),
        ("id-in-header", odd("idInHeaderOnly")),
        ("both-ids", odd("bothIds")),
        ("truncated", json!("truncatedBody")),
        ("id-as-number", odd("idAsNumber")),
    ];
    let world = faulty(&faults, json!({})).await;
    let _operator = world.operator().await;

    for (name, _) in &faults {
        let status = world.end(name).await;
        assert_eq!(status.outcome, Some(Outcome::Accepted), "{name}");
        assert_eq!(ready(&status), (Some(ConditionStatus::True), Some(Reason::Accepted)), "{name}");
        assert_eq!(status.attempts, Some(1), "{name}");
        let ledger = world.accepted(name);
        assert_eq!(ledger.len(), 1, "{name}");
        let id = match *name {
            "id-in-header" | "both-ids" | "truncated" => Some(ledger[0].request_id.as_str()),
            "id-as-number" => Some("1167870430"),
            _ => None,
        };
        assert_eq!(status.request_id.as_deref(), id, "{name}");
        assert_eq!(status.request_id_source.is_some(), id.is_some(), "{name}");
        let says_so = message(&status).contains("no readable request id");
        assert_eq!(says_so, id.is_none(), "{name}: {}", message(&status));
    }
    assert_eq!(world.seen(), 8);
}
