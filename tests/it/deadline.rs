//! From when on the deadline counts: the object's creation, whoever looks at it first.

use crate::wrong_clock::operator_with_clock;
use functiongraph_operator::api::invocation::Outcome;
use functiongraph_operator::api::{ConditionStatus, Reason};
use jiff::SignedDuration;
use serde_json::json;
use testkit::{World, message, ready};

#[tokio::test]
async fn an_invocation_that_was_just_created_is_sent_by_an_operator_whose_clock_is_ahead() {
    let world = World::new().await;
    world.provider().await;
    let (_operator, _clock) = operator_with_clock(&world, SignedDuration::from_mins(10), &[]).await;
    let spec = json!({
        "function": {"name": "hello"}, "payload": {"tag": "new"},
        "activeDeadlineSeconds": 300, "requestTimeoutSeconds": 5,
    });
    world.invoke("new", spec).await;
    let status = world.end("new").await;
    assert_eq!(status.outcome, Some(Outcome::Accepted), "{}", message(&status));
    assert_eq!(world.accepted("new").len(), 1);
}

#[tokio::test]
async fn an_invocation_whose_deadline_passed_while_no_operator_ran_is_not_sent() {
    let world = World::new().await;
    world.provider().await;
    let spec = json!({
        "function": {"name": "hello"}, "payload": {"tag": "late"},
        "activeDeadlineSeconds": 5, "requestTimeoutSeconds": 5,
    });
    world.invoke("late", spec).await;
    // The deadline, and more than two clocks may differ.
    world.is_older_than("late", SignedDuration::from_secs(20)).await;
    let _operator = world.operator().await;

    let status = world.end("late").await;

    assert_eq!(status.outcome, Some(Outcome::Failed), "sent after its deadline");
    assert_eq!(ready(&status), (Some(ConditionStatus::False), Some(Reason::DeadlineExceeded)));
    assert_eq!((status.attempts, world.seen()), (None, 0));
}
