//! Writes that arrive when nobody waits for them any more, while the operator's own view is old.

use crate::judge::{PAST_TAKEOVER, at_most_once, invoke, settled, sound};
use crate::proxy::{Fault, Proxy};
use functiongraph_emulator::Function;
use functiongraph_operator::api::FunctionInvocation;
use functiongraph_operator::api::invocation::AttemptState;
use std::time::Duration;
use testkit::World;

/// The claim is answered when it is too late to send, so it is handed back; that write is given up on after 15 s
/// and arrives after 20. In between the operator, whose watch is silent, meets its own claim again. If it sent
/// now, the late write would call the attempt unsent while its request is answered, and another would follow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_whose_hand_back_is_still_on_its_way_is_not_sent() {
    let function = Function { answer_latency: Duration::from_secs(10), ..Function::named("hello") };
    let world = World::with(|config| config.functions = vec![function]).await;
    world.provider().await;
    let proxy = Proxy::start(&[(1, Fault::AnswerLate(12)), (2, Fault::ArrivesLate(20))]).await;
    proxy.deafen();
    let operator = world.operator().kubeconfig(&proxy.kubeconfig()).start();
    operator.ready().await;

    invoke(&world, "late").await;
    let handed_back = world.until("late", |object: Option<&FunctionInvocation>| {
        let attempt = object.and_then(|object| object.status.as_ref()?.attempt.as_ref());
        attempt.is_some_and(|attempt| attempt.state == Some(AttemptState::NotSent))
    });
    handed_back.await;
    assert!(world.emulator.ledger().is_empty(), "sent, and then said to be unsent");
    proxy.undeafen();

    let objects = settled(&world, PAST_TAKEOVER).await;
    assert_eq!(at_most_once(&world, &objects), 0, "none is unknown");
    assert_eq!(world.emulator.ledger().len(), 1);
    sound(&operator);
    assert!(operator.stop().await.success());
}
