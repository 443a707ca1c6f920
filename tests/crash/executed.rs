//! The end of an execution is written, whatever happens to that write and to the one before it.

use crate::api_writes::{AT_ONCE, FAULTS};
use crate::judge::{PAST_TAKEOVER, settled, sound};
use crate::proxy::{Fault, Proxy};
use functiongraph_operator::api::invocation::Outcome;
use futures::{FutureExt, StreamExt};
use serde_json::json;
use std::panic::AssertUnwindSafe;
use testkit::World;

/// The status writes of one followed invocation: its claim, its acceptance, its end.
const ACCEPTANCE: usize = 2;
const END: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_execution_is_reported_whatever_happens_to_the_writes_about_it() {
    // An acceptance that dies with its operator is in doubt; that is told elsewhere.
    let acceptances = FAULTS.into_iter().filter(|fault| !is_kill(*fault)).map(|fault| (fault, ACCEPTANCE));
    let cases = acceptances.chain(FAULTS.map(|fault| (fault, END)));
    let running = cases.map(|(fault, at)| async move {
        (fault, at, AssertUnwindSafe(judge(fault, at)).catch_unwind().await.is_ok())
    });
    let ended: Vec<_> = futures::stream::iter(running).buffer_unordered(AT_ONCE).collect().await;
    let failed: Vec<_> = ended.iter().filter(|(.., well)| !well).collect();
    assert!(failed.is_empty(), "see above: {failed:#?}");
}

fn is_kill(fault: Fault) -> bool {
    matches!(fault, Fault::KilledBefore | Fault::KilledAfter)
}

async fn judge(fault: Fault, at: usize) {
    let world = World::new().await;
    world.provider().await;
    let proxy = Proxy::start(&[(at, fault)]).await;
    let mut operator = world.operator().kubeconfig(&proxy.kubeconfig()).start();
    proxy.aim(operator.pid());
    operator.ready().await;
    let spec = json!({
        "function": {"name": "hello"}, "payload": {"tag": "followed"}, "completionPolicy": "Executed",
    });
    world.invoke("followed", spec).await;
    if is_kill(fault) {
        operator.ended().await;
        sound(&operator);
        operator = world.operator().kubeconfig(&proxy.kubeconfig()).start();
        operator.ready().await;
    }

    let objects = settled(&world, PAST_TAKEOVER).await;
    let status = objects[0].status.as_ref().expect("a status");
    assert_eq!(status.outcome, Some(Outcome::Executed), "{fault:?} at write {at}: {status:#?}");
    let ledger = world.accepted("followed");
    assert_eq!(ledger.len(), 1, "{fault:?} at write {at}");
    assert_eq!(status.request_id.as_ref(), Some(&ledger[0].request_id), "{fault:?} at write {at}");
    let writes = proxy.writes()["followed"];
    assert!(writes <= END + 2, "{fault:?} at write {at}: {writes} writes");
    assert!(proxy.hit().is_some(), "the fault was met");
    sound(&operator);
    assert!(operator.stop().await.success());
}
