//! Answers that say for certain "not accepted": what fails at once, what is tried again, and when.

use functiongraph_emulator::Function;
use functiongraph_operator::api::invocation::{AttemptState, ErrorClass, Outcome};
use functiongraph_operator::api::{ConditionStatus, ConditionType, Reason};
use functiongraph_operator::clock;
use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::{SignedDuration, ToSpan};
use serde_json::{Value, json};
use testkit::{World, condition, message, ready};
use tokio::net::TcpListener;

/// A spec for `hello` that calls a 404 a reason to try again.
fn patient() -> Value {
    let rules = json!([{"httpStatuses": [404], "action": "Retry"}]);
    json!({"function": {"name": "hello"}, "retryPolicy": {"rules": rules}})
}

#[tokio::test]
async fn a_refusal_for_good_fails_once_and_says_what_the_service_said() {
    let functions = ["bad", "forbidden", "conflict"];
    let world = World::with(|config| config.functions.extend(functions.map(Function::named))).await;
    world.provider().await;
    let _operator = world.operator().await;
    for (function, status) in functions.into_iter().zip([400, 403, 409]) {
        let action = json!({"status": {"status": status}});
        world.fault(json!({"when": "forever", "function": function, "action": action}));
        world.invoke(function, json!({"function": {"name": function}})).await;
    }
    world.invoke("missing", json!({"function": {"name": "nowhere"}})).await;
    world.invoke("no-version", json!({"function": {"name": "hello", "qualifier": "v9"}})).await;

    let expected = [
        ("bad", 400, "FSS.0400", "Invalid parameter."),
        ("forbidden", 403, "FSS.0403", "Forbidden"),
        ("conflict", 409, "FSS.0409", "The specified resource already exists."),
        ("missing", 404, "FSS.0404", "function 'nowhere' not exist"),
        ("no-version", 404, "FSS.1052", "Not found the function version"),
    ];
    for (name, http_status, code, words) in expected {
        let status = world.end(name).await;
        assert_eq!(status.outcome, Some(Outcome::Failed), "{name}");
        assert_eq!((status.attempts, status.failed_attempts), (Some(1), None), "{name}");
        assert_eq!(status.attempt.as_ref().unwrap().state, Some(AttemptState::Rejected), "{name}");
        assert!(status.completion_time.is_some() && status.next_attempt_time.is_none(), "{name}");
        let error = status.error.as_ref().unwrap();
        assert_eq!(error.class, Some(ErrorClass::Rejected), "{name}");
        assert_eq!(error.http_status, Some(http_status), "{name}");
        assert_eq!(error.code.as_deref(), Some(code), "{name}");
        assert_eq!(error.message.as_deref(), Some(words), "{name}");
        assert!(error.gateway_request_id.is_some(), "{name}");
        let (accepted, finished) = (ConditionStatus::False, ConditionStatus::True);
        for (type_, expected) in [
            (ConditionType::Ready, ConditionStatus::False),
            (ConditionType::Accepted, accepted),
            (ConditionType::Finished, finished),
            (ConditionType::Stalled, ConditionStatus::True),
        ] {
            assert_eq!(condition(&status, type_), (Some(expected), Some(Reason::Rejected)), "{name}");
        }
        let label = format!("{http_status} {code}");
        assert!(message(&status).contains(&label), "{name}: {}", message(&status));
        let telling = status.conditions.iter().filter(|condition| condition.message.contains(&label));
        assert_eq!(telling.count(), 1, "{name}: kubectl describe prints the whole message once");
    }
    assert_eq!(world.seen(), 5);
    assert!(world.emulator.ledger().is_empty());
}

#[tokio::test]
async fn a_refusal_that_repeats_the_event_says_nothing_of_the_credential_or_the_function() {
    let world = World::with(|config| config.functions.extend(["gone", "busy"].map(Function::named))).await;
    world.provider().await;
    let _operator = world.operator().await;
    let echo = json!({"status": 404, "body": r#"{"event":{"code":"APIG.0301"}}"#, "contentType": "application/json"});
    world.fault(json!({"when": {"next": 1}, "function": "gone", "action": {"status": echo}}));
    let page = json!({"status": 429, "body": "<html>JavaScript is disabled</html>"});
    world.fault(json!({"when": {"next": 1}, "function": "busy", "action": {"status": page}}));
    for name in ["gone", "busy"] {
        world.invoke(name, json!({"function": {"name": name}, "payload": {"code": "APIG.0301"}})).await;
    }

    let status = world.end("gone").await;
    assert_eq!(status.outcome, Some(Outcome::Failed));
    assert_eq!(status.error.unwrap().class, Some(ErrorClass::Rejected));
    let status = world.end("busy").await;
    assert_eq!(status.outcome, Some(Outcome::Accepted));
    assert_eq!((status.throttled_attempts, world.seen()), (Some(1), 3));
}

#[tokio::test]
async fn too_many_requests_are_tried_again_at_the_stored_time_and_do_not_count_as_failures() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    world.fault(json!({"when": {"next": 2}, "action": {"status": {"status": 429}}}));
    let spec = json!({"function": {"name": "hello"}, "retryPolicy": {"backoffLimit": 0}});
    world.invoke("throttled", spec).await;

    let between = world.scheduled("throttled").await;
    assert_eq!(between.throttled_attempts, Some(1));
    assert_eq!(between.failed_attempts, None);
    assert_eq!(ready(&between), (Some(ConditionStatus::Unknown), Some(Reason::Throttled)));
    let reconciling = condition(&between, ConditionType::Reconciling);
    assert_eq!(reconciling, (Some(ConditionStatus::True), Some(Reason::Throttled)));
    assert_eq!(between.error.unwrap().class, Some(ErrorClass::Throttled));

    let status = world.end("throttled").await;
    assert_eq!(status.outcome, Some(Outcome::Accepted));
    assert_eq!(
        (status.attempts, status.throttled_attempts, status.failed_attempts),
        (Some(3), Some(2), None)
    );
    assert!(status.accepted_time >= between.next_attempt_time);
    assert_eq!((world.seen(), world.emulator.ledger().len()), (3, 1));
}

#[tokio::test]
async fn a_busy_service_says_in_seconds_or_as_a_date_when_to_come_back() {
    for form in ["seconds", "date"] {
        let world = World::new().await;
        world.provider().await;
        let _operator = world.operator().await;
        let date = clock::now() + 8.seconds();
        let asked = match form {
            "seconds" => "3".to_owned(),
            _ => DateTimePrinter::new().timestamp_to_rfc9110_string(&date).unwrap(),
        };
        let action = json!({"status": {"status": 503, "retryAfter": asked}});
        world.fault(json!({"when": {"next": 1}, "action": action}));
        world.invoke("busy", json!({"function": {"name": "hello"}})).await;

        let between = world.scheduled("busy").await;
        let (error, next) = (between.error.unwrap(), between.next_attempt_time.unwrap());
        assert_eq!((error.class, error.http_status), (Some(ErrorClass::Unavailable), Some(503)));
        let wait = next.duration_since(error.time.unwrap());
        let (least, most) = match form {
            "seconds" => (SignedDuration::from_secs(3), SignedDuration::from_millis(3300)),
            // Eight seconds, less what the operator took to come to it.
            _ => (SignedDuration::ZERO, SignedDuration::from_millis(8800)),
        };
        assert!(least <= wait && wait <= most, "{form}: {wait}");
        // The date knows whole seconds only.
        assert!(form == "seconds" || next + 1.seconds() > date, "{next}");

        let status = world.end("busy").await;
        assert_eq!(status.outcome, Some(Outcome::Accepted));
        assert!(status.accepted_time.unwrap() >= next);
        assert_eq!((status.throttled_attempts, world.seen()), (Some(1), 2));
    }
}

#[tokio::test]
async fn a_rule_of_the_user_turns_a_refusal_into_another_attempt() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    world.fault(json!({"when": {"next": 1}, "function": "hello", "action": {"status": {"status": 404}}}));
    world.invoke("deploying", patient()).await;

    let status = world.end("deploying").await;

    assert_eq!(status.outcome, Some(Outcome::Accepted));
    assert_eq!(
        (status.attempts, status.failed_attempts, status.throttled_attempts),
        (Some(2), Some(1), None)
    );
    assert_eq!((world.seen(), world.emulator.ledger().len()), (2, 1));
}

#[tokio::test]
async fn more_failures_than_the_limit_end_it() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    world.fault(json!({"when": "forever", "action": {"status": {"status": 404}}}));
    let mut spec = patient();
    spec["retryPolicy"]["backoffLimit"] = 1.into();
    world.invoke("hopeless", spec).await;

    let status = world.end("hopeless").await;

    assert_eq!(ready(&status), (Some(ConditionStatus::False), Some(Reason::BackoffLimitExceeded)));
    assert_eq!(status.outcome, Some(Outcome::Failed));
    assert_eq!((status.attempts, status.failed_attempts), (Some(2), Some(2)));
    assert!(message(&status).contains("The latest error: 404 FSS.0404: "), "{}", message(&status));
    assert!(message(&status).ends_with("then create a new FunctionInvocation."), "{}", message(&status));
    assert_eq!(world.seen(), 2);
}

#[tokio::test]
async fn the_deadline_ends_what_is_throttled_all_the_time() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    world.fault(json!({"when": "forever", "action": {"status": {"status": 429}}}));
    let spec = json!({
        "function": {"name": "hello"},
        "activeDeadlineSeconds": 3, "requestTimeoutSeconds": 1,
        "retryPolicy": {"initialDelaySeconds": 1, "maxDelaySeconds": 1},
    });
    world.invoke("late", spec).await;

    let status = world.end("late").await;

    assert_eq!(ready(&status), (Some(ConditionStatus::False), Some(Reason::DeadlineExceeded)));
    assert_eq!(status.outcome, Some(Outcome::Failed));
    let took = status.completion_time.unwrap().duration_since(status.start_time.unwrap());
    // Three seconds and one request; the rest is for a starved machine.
    assert!(took <= SignedDuration::from_secs(20), "{took}");
    assert!(message(&status).contains("The latest error: 429"), "{}", message(&status));
    let advice = "Fix the cause or raise activeDeadlineSeconds, then create a new FunctionInvocation.";
    assert!(message(&status).ends_with(advice), "{}", message(&status));
    assert_eq!(i64::try_from(world.seen()).ok(), status.attempts);
}

#[tokio::test]
async fn a_disabled_function_is_asked_again_after_five_minutes_and_not_before() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    world.invoke("off", json!({"function": {"name": "disabled"}})).await;

    let status = world.scheduled("off").await;

    assert_eq!(ready(&status), (Some(ConditionStatus::Unknown), Some(Reason::FunctionDisabled)));
    let wait = status.next_attempt_time.unwrap().duration_since(status.error.as_ref().unwrap().time.unwrap());
    assert!(wait >= SignedDuration::from_mins(5), "{wait}");
    assert_eq!((status.throttled_attempts, status.failed_attempts), (None, None));
    let event = world.event("off", "FunctionDisabled").await;
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    // Enabled meanwhile, and others go through: it keeps to its own time.
    assert!(world.emulator.set_disabled("disabled", false));
    world.invoke("on", json!({"function": {"name": "disabled"}})).await;
    world.end("on").await;
    assert_eq!(world.get("off").await.status.unwrap(), status);
    assert_eq!(world.seen(), 2);
}

#[tokio::test]
async fn t05_a_redirect_is_refused_and_the_other_host_sees_nothing() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let location = format!("https://localhost:{}/", elsewhere.local_addr().unwrap().port());
    world.fault(json!({"when": {"next": 1}, "action": {"redirect": {"location": location}}}));
    world.invoke("redirected", json!({"function": {"name": "hello"}})).await;

    let status = world.end("redirected").await;

    assert_eq!(status.outcome, Some(Outcome::Failed));
    assert_eq!(ready(&status), (Some(ConditionStatus::False), Some(Reason::RedirectRefused)));
    let error = status.error.unwrap();
    assert_eq!((error.class, error.http_status), (Some(ErrorClass::Redirected), Some(307)));
    world.invoke("after", json!({"function": {"name": "hello"}})).await;
    world.end("after").await;
    let knock = std::future::poll_fn(|cx| std::task::Poll::Ready(elsewhere.poll_accept(cx).is_ready()));
    assert!(!knock.await, "somebody knocked at the other host");
}
