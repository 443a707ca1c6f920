//! Operators that die or stand still in the middle of a run, and their successors.

use crate::chance::Chance;
use crate::judge::{PAST_TAKEOVER, accepted, at_most_once, invoke, invoke_many, settled, sound};
use functiongraph_emulator::Function;
use functiongraph_operator::api::FunctionInvocation;
use functiongraph_operator::api::invocation::{AttemptState, Outcome};
use serde_json::json;
use std::time::Duration;
use testkit::World;

/// Objects of the run with kills.
const OBJECTS: usize = 1000;

/// Kills in that run.
const KILLS: usize = 5;

/// Ceiling on requests on their way in that run.
const IN_FLIGHT: usize = 16;

/// What one kill may leave in doubt: claimed and on their way, and answered while the record is being written.
/// The former are `IN_FLIGHT` at most; the latter are a few, because a record takes a tenth of an answer.
const IN_DOUBT: usize = 2 * IN_FLIGHT;

/// Both outlive the takeover time, and do it together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_that_are_killed_or_stand_still_are_succeeded_and_nothing_is_sent_twice() {
    tokio::join!(killed_at_random(), stopped_inside_its_send_window());
}

/// Five times: the operator is killed at a random moment, and another is started.
async fn killed_at_random() {
    let mut chance = Chance::from_variable("CRASH_SEED");
    let function = Function { answer_latency: Duration::from_millis(100), ..Function::named("hello") };
    let world = World::with(|config| config.functions = vec![function]).await;
    world.secret(testkit::KEY.1).await;
    world.provider_with(json!({"limits": {"maxInFlight": IN_FLIGHT}})).await;
    invoke_many(&world, OBJECTS).await;
    let mut moments: Vec<usize> = (0..KILLS).map(|_| chance.below(OBJECTS * 9 / 10)).collect();
    moments.sort_unstable();

    let mut operator = world.operator().await;
    for moment in moments {
        accepted(&world, moment).await;
        // Not always right after an acceptance: anywhere within the time of an exchange.
        tokio::time::sleep(Duration::from_millis(chance.below(100) as u64)).await;
        operator.kill().await;
        sound(&operator);
        operator = world.operator().await;
    }

    let objects = settled(&world, PAST_TAKEOVER).await;
    assert_eq!(objects.len(), OBJECTS);
    let unknown = at_most_once(&world, &objects);
    println!("{unknown} of {OBJECTS} are unknown after {KILLS} kills");
    assert!(unknown <= KILLS * IN_DOUBT, "{unknown} are unknown");
    sound(&operator);
    assert!(operator.stop().await.success());
}

/// An operator stands still while its request is answered, for longer than the takeover time.
async fn stopped_inside_its_send_window() {
    let function = Function { answer_latency: Duration::from_secs(5), ..Function::named("hello") };
    let world = World::with(|config| config.functions = vec![function]).await;
    world.provider().await;
    let stopped = world.operator().await;
    world.invoke("slow", json!({"function": {"name": "hello"}, "payload": {"tag": "slow"}})).await;
    accepted(&world, 1).await;
    stopped.signal("STOP");

    let successor = world.operator().await;
    invoke(&world, "another").await;
    let outcomes: Vec<_> = settled(&world, PAST_TAKEOVER).await.iter().map(outcome).collect();
    assert!(outcomes.contains(&Some(Outcome::Unknown)), "given up: {outcomes:?}");
    assert!(outcomes.contains(&Some(Outcome::Accepted)), "not kept from other work: {outcomes:?}");

    stopped.signal("CONT");
    // Its clock went on while it stood still: when it wakes up, the answer that lies ready and the end of the
    // time for it arrive together. Whichever it takes, the object says what it knows.
    stopped.logged("answer").await;
    let knows = stopped.log().text().contains(r#""class":"Accepted""#);
    let expected = if knows { Outcome::Accepted } else { Outcome::Unknown };
    let told = world.until("slow", move |object: Option<&FunctionInvocation>| {
        object.is_some_and(|object| outcome(object) == Some(expected))
    });
    let status = told.await.status.unwrap();
    if knows {
        assert_eq!(status.attempt.unwrap().state, Some(AttemptState::Accepted));
        assert_eq!(status.request_id.as_ref(), Some(&world.accepted("slow")[0].request_id));
    }
    assert_eq!(world.accepted("slow").len(), 1);
    for process in [stopped, successor] {
        sound(&process);
        assert!(process.stop().await.success());
    }
}

fn outcome(object: &FunctionInvocation) -> Option<Outcome> {
    object.status.as_ref().and_then(|status| status.outcome)
}
