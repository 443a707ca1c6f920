//! From when on the deadline counts: the object's creation, whoever looks at it first.

use crate::looks::message;
use crate::world::World;
use functiongraph_operator::api::invocation::Outcome;
use jiff::SignedDuration;
use serde_json::json;

#[tokio::test]
async fn an_invocation_that_was_just_created_is_sent_by_an_operator_whose_clock_is_ahead() {
    let world = World::new().await;
    world.provider().await;
    let (_operator, _clock) = world.operator_with_clock(SignedDuration::from_mins(10), &[]).await;
    let spec = json!({
        "function": {"name": "hello"}, "payload": {"tag": "new"},
        "activeDeadlineSeconds": 300, "requestTimeoutSeconds": 5,
    });
    world.invoke("new", spec).await;
    let status = world.end("new").await;
    assert_eq!(status.outcome, Some(Outcome::Accepted), "{}", message(&status));
    assert_eq!(world.accepted("new").len(), 1);
}
