//! Invocations that are followed to the end of their execution, and stopped on the way.

use functiongraph_emulator::{Api as Emulated, AsyncInvokeConfig, Failure, Function, Listing};
use functiongraph_operator::api::invocation::{ExecutionStatus, FunctionInvocation, Outcome};
use functiongraph_operator::api::{ConditionStatus, ConditionType, FunctionInvocationStatus, Reason};
use functiongraph_operator::clock;
use futures::StreamExt;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{KEY, World, condition, message, ready};

fn followed(function: &str) -> Value {
    json!({"function": {"name": function}, "payload": {"tag": function}, "completionPolicy": "Executed"})
}

/// Functions that end well, badly and never.
async fn world() -> World {
    let failure = Failure::new(4002, "division by zero");
    World::with(|config| {
        config.functions.extend([
            Function { latency: Duration::from_millis(300), ..Function::named("good") },
            Function { failure: Some(failure), ..Function::named("bad") },
            Function {
                queue_latency: Duration::from_secs(3),
                async_invoke_config: Some(AsyncInvokeConfig {
                    max_async_event_age_in_seconds: Some(1),
                    ..AsyncInvokeConfig::default()
                }),
                ..Function::named("late")
            },
            Function { latency: Duration::from_hours(1), ..Function::named("endless") },
        ]);
    })
    .await
}

fn execution_of(status: &FunctionInvocationStatus) -> Option<ExecutionStatus> {
    status.execution.as_ref().and_then(|execution| execution.status)
}

#[tokio::test]
async fn an_execution_is_followed_to_its_success_failure_or_discard() {
    let world = world().await;
    world.provider().await;
    for function in ["good", "bad", "late"] {
        world.invoke(function, followed(function)).await;
    }
    let _operator = world.operator().await;

    let good = world.end("good").await;
    assert_eq!(
        (good.outcome, execution_of(&good)),
        (Some(Outcome::Executed), Some(ExecutionStatus::Success))
    );
    assert_eq!(ready(&good), (Some(ConditionStatus::True), Some(Reason::Executed)));
    let execution = good.execution.unwrap();
    assert!(execution.start_time.unwrap() <= execution.end_time.unwrap());
    assert_eq!(good.request_id.as_ref(), Some(&world.accepted("good")[0].request_id));

    let bad = world.end("bad").await;
    assert_eq!((bad.outcome, execution_of(&bad)), (Some(Outcome::Failed), Some(ExecutionStatus::Fail)));
    assert_eq!(ready(&bad), (Some(ConditionStatus::False), Some(Reason::ExecutionFailed)));
    assert!(message(&bad).contains("4002 division by zero"), "{}", message(&bad));
    assert_eq!(condition(&bad, ConditionType::Accepted).0, Some(ConditionStatus::True));

    let late = world.end("late").await;
    assert_eq!((late.outcome, execution_of(&late)), (Some(Outcome::Failed), Some(ExecutionStatus::Discard)));
    assert_eq!(ready(&late), (Some(ConditionStatus::False), Some(Reason::Discarded)));
    for name in ["good", "bad", "late"] {
        assert_eq!(world.accepted(name).len(), 1, "{name}");
    }
}

#[tokio::test]
async fn an_accepted_execution_is_followed_on_after_the_operator_was_killed() {
    let world = world().await;
    world.provider().await;
    world.invoke("running", followed("endless")).await;
    let first = world.operator().await;
    let before = world.says("running", Reason::Running).await;
    assert_eq!(before.outcome, None);
    first.kill().await;

    let request_id = before.request_id.unwrap();
    let _second = world.operator().await;
    let body = json!({"request_id": request_id, "type": "force"});
    world.call("endless", "cancel", &body).await;

    let status = world.end("running").await;
    assert_eq!(status.outcome, Some(Outcome::Failed), "nobody here asked for its end");
    assert_eq!(status.execution.unwrap().error_code.as_deref(), Some("4208"));
    assert_eq!(world.accepted("endless").len(), 1);
}

#[tokio::test]
async fn a_thousand_executions_of_twenty_functions_are_asked_about_in_rounds_of_twenty_calls() {
    const FUNCTIONS: u64 = 20;
    const OF_EACH: u64 = 50;
    let functions = || (0..FUNCTIONS).map(|number| format!("f{number}"));
    let world = World::with(|config| {
        let latency = Duration::from_secs(15);
        config.functions.extend(functions().map(|name| Function { latency, ..Function::named(&name) }));
    })
    .await;
    world.provider().await;
    let names: Vec<_> =
        functions().flat_map(|f| (0..OF_EACH).map(move |n| (format!("{f}-{n}"), f.clone()))).collect();
    let creations =
        futures::stream::iter(&names).map(async |(name, f)| world.invoke(name, followed(f)).await);
    creations.buffer_unordered(16).collect::<Vec<_>>().await;
    let operator = world.operator().await;
    let begun = clock::monotonic();
    for (name, _) in &names {
        assert_eq!(world.end(name).await.outcome, Some(Outcome::Executed), "{name}");
    }
    let calls = world.emulator.requests().calls;
    assert_eq!(calls[&Emulated::InvokeAsync], FUNCTIONS * OF_EACH);
    // Twenty functions share two calls a second, so that a round takes ten seconds.
    let rounds = clock::monotonic().duration_since(begun).as_secs() / 10 + 2;
    let listed = calls[&Emulated::ListAsync];
    assert!(listed <= rounds * FUNCTIONS, "{listed} calls in {rounds} rounds");
    let counted = operator.metric("functiongraph_operator_list_requests_total", &[]).await;
    assert_eq!(counted.to_string(), listed.to_string());
}

#[tokio::test]
async fn pages_of_a_long_list_are_turned() {
    let world = world().await;
    world.provider().await;
    let operator = world.operator().await;
    // Somebody else's requests come first in the list, more than two pages of them.
    let event = json!({});
    let calls = (0..230).map(|_| world.call("good", "invocations-async", &event));
    futures::stream::iter(calls).buffer_unordered(16).collect::<()>().await;
    world.invoke("ours", followed("good")).await;
    assert_eq!(world.end("ours").await.outcome, Some(Outcome::Executed));
    assert!(operator.metric("functiongraph_operator_list_requests_total", &[]).await >= 3.0);
}

#[tokio::test]
async fn a_list_that_may_not_be_read_is_told_and_followed_again_when_it_may() {
    let world = world().await;
    world.provider().await;
    world.fault(json!({
        "when": "forever", "api": "v2/async-invocations",
        "action": {"status": {"status": 403, "errorCode": "FSS.1126", "errorMsg": "no permission"}},
    }));
    world.invoke("ours", followed("good")).await;
    let _operator = world.operator().await;

    let status = world.says("ours", Reason::ListUnreadable).await;
    assert!(message(&status).contains("FSS.1126"), "{}", message(&status));
    assert_eq!(status.outcome, None);
    world.emulator.clear_faults();
    assert_eq!(world.end("ours").await.outcome, Some(Outcome::Executed));
}

#[tokio::test]
async fn a_running_execution_is_stopped_only_where_the_provider_allows_it() {
    let world = world().await;
    world.provider().await;
    world.invoke("ours", followed("endless")).await;
    let _operator = world.operator().await;
    world.says("ours", Reason::Running).await;
    world.change::<FunctionInvocation>("ours", json!({"spec": {"cancel": true}})).await;

    let refused = world.says("ours", Reason::StopRefused).await;
    assert!(message(&refused).contains("allowCancel"), "{}", message(&refused));
    assert_eq!(refused.outcome, None);
    assert!(!world.emulator.requests().calls.contains_key(&Emulated::Cancel));

    world.allow_cancel().await;
    let status = world.end("ours").await;
    assert_eq!(status.outcome, Some(Outcome::Cancelled));
    assert_eq!(ready(&status), (Some(ConditionStatus::False), Some(Reason::Cancelled)));
    assert!(status.cancel_time.is_some());
    assert_eq!(condition(&status, ConditionType::Accepted).0, Some(ConditionStatus::True));
}

#[tokio::test]
async fn a_neighbour_that_was_stopped_too_says_that_it_failed() {
    let world = World::with(|config| {
        config.functions.push(Function {
            latency: Duration::from_hours(1),
            concurrency: 1,
            concurrent_num: 2.try_into().unwrap(),
            ..Function::named("shared")
        });
    })
    .await;
    world.secret(KEY.1).await;
    world.provider_with(json!({"allowCancel": true})).await;
    world.invoke("ours", followed("shared")).await;
    world.invoke("neighbour", followed("shared")).await;
    let _operator = world.operator().await;
    world.says("ours", Reason::Running).await;
    world.says("neighbour", Reason::Running).await;
    world.change::<FunctionInvocation>("ours", json!({"spec": {"cancel": true}})).await;

    assert_eq!(world.end("ours").await.outcome, Some(Outcome::Cancelled));
    let neighbour = world.end("neighbour").await;
    assert_eq!(
        (neighbour.outcome, ready(&neighbour).1),
        (Some(Outcome::Failed), Some(Reason::ExecutionFailed))
    );
    assert!(message(&neighbour).contains("4208"), "{}", message(&neighbour));
}

#[tokio::test]
async fn records_that_come_late_are_waited_for() {
    let world = World::with(|config| {
        config.listing = Listing { lag: Duration::from_secs(4), ..Listing::default() };
    })
    .await;
    world.provider().await;
    world.invoke("ours", followed("hello")).await;
    let _operator = world.operator().await;
    assert_eq!(world.end("ours").await.outcome, Some(Outcome::Executed));
}
