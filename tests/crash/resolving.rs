//! Request ids that people annotate are checked one at a time. However slow that is, nothing else waits for it.

use crate::judge::sound;
use crate::members::members;
use crate::proxy::Proxy;
use crate::stall::Stall;
use functiongraph_operator::api::FunctionInvocation;
use functiongraph_operator::api::invocation::{Outcome, RESOLVE, SUBMITTED_AS};
use serde_json::json;
use testkit::{World, until, within};

/// Objects with a request id to check: more than the operator reconciles at the same time.
const ANNOTATED: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t16_many_request_ids_that_are_checked_slowly_hold_up_nobody_else() {
    let world = World::new().await;
    let proxy = Proxy::start(&[]).await;
    let operator = world.operator().kubeconfig(&proxy.kubeconfig()).start();
    operator.ready().await;
    let names: Vec<String> = (0..ANNOTATED).map(|number| format!("o-{number}")).collect();
    for name in names.iter().map(String::as_str).chain(["other"]) {
        unknown(&world, name).await;
    }
    for name in names.iter().map(String::as_str).chain(["other"]) {
        world.until(name, has(Outcome::Unknown)).await;
    }

    proxy.reads.only("requestID");
    proxy.reads.stall(Some(Stall::Answer));
    for (number, name) in names.iter().enumerate() {
        resolve(&world, name, &format!("Accepted:00000000-0000-0000-0000-{number:012}")).await;
    }
    within(until(async || proxy.reads.stalled() > 0)).await;
    resolve(&world, "other", "Fail").await;
    world.until("other", has(Outcome::Failed)).await;
    assert_eq!(proxy.reads.stalled(), 1, "it did not wait until the first check was given up");

    proxy.reads.stall(None);
    for name in &names {
        world.until(name, has(Outcome::Accepted)).await;
    }
    sound(&operator);
    assert!(operator.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_objects_that_name_the_same_request_id_one_gets_it_whichever_replicas_own_them() {
    const EACH: usize = 8;
    let world = World::new().await;
    let proxy = Proxy::start(&[]).await;
    let start = || world.operator().kubeconfig(&proxy.kubeconfig());
    let (one, other) = tokio::join!(start(), start());
    members(&[&one, &other], 2.0).await;
    let [same, failed] = ["same", "failed"].map(|name| (0..EACH).map(move |n| format!("{name}-{n}")));
    let (same, failed): (Vec<_>, Vec<_>) = (same.collect(), failed.collect());
    for name in same.iter().chain(&failed) {
        unknown(&world, name).await;
    }
    for name in same.iter().chain(&failed) {
        world.until(name, has(Outcome::Unknown)).await;
    }

    proxy.reads.only("requestID");
    proxy.reads.stall(Some(Stall::Answer));
    for name in &same {
        resolve(&world, name, "00000000-0000-0000-0000-000000000001").await;
    }
    for name in &failed {
        resolve(&world, name, "Fail").await;
    }
    // By then both replicas have come to the annotations of before.
    for name in &failed {
        world.until(name, has(Outcome::Failed)).await;
    }
    within(until(async || proxy.reads.stalled() > 0)).await;
    assert_eq!(proxy.reads.stalled(), 1, "both replicas check the id at the same time");

    proxy.reads.stall(None);
    let mut accepted = 0;
    for name in &same {
        let status = world.until_status(name, |status| status.resolution.is_some()).await;
        accepted += usize::from(status.outcome == Some(Outcome::Accepted));
    }
    assert_eq!(accepted, 1);
    [one, other].iter().for_each(sound);
}

/// Creates an object whose outcome is unknown, because it says that it is a copy of another one.
async fn unknown(world: &World, name: &str) {
    let spec = json!({"function": {"name": "hello"}});
    let object = json!({"metadata": {"annotations": {SUBMITTED_AS: "another"}}, "spec": spec});
    world.create::<FunctionInvocation>(name, object).await.expect("the API server accepts it");
}

async fn resolve(world: &World, name: &str, value: &str) {
    let annotations = json!({"metadata": {"annotations": {RESOLVE: value}}});
    world.change::<FunctionInvocation>(name, annotations).await;
}

fn has(outcome: Outcome) -> impl Fn(Option<&FunctionInvocation>) -> bool {
    move |object| object.and_then(|o| o.status.as_ref()).and_then(|status| status.outcome) == Some(outcome)
}
