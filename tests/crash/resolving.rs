//! Request ids that people annotate are checked one at a time. However slow that is, nothing else waits for it.

use crate::judge::sound;
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
        // It says that it is a copy of another object, and so its outcome is unknown.
        let spec = json!({"function": {"name": "hello"}});
        let object = json!({"metadata": {"annotations": {SUBMITTED_AS: "another"}}, "spec": spec});
        world.create::<FunctionInvocation>(name, object).await.expect("the API server accepts it");
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

async fn resolve(world: &World, name: &str, value: &str) {
    let annotations = json!({"metadata": {"annotations": {RESOLVE: value}}});
    world.change::<FunctionInvocation>(name, annotations).await;
}

fn has(outcome: Outcome) -> impl Fn(Option<&FunctionInvocation>) -> bool {
    move |object| object.and_then(|o| o.status.as_ref()).and_then(|status| status.outcome) == Some(outcome)
}
