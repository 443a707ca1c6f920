//! A list or a watch that is accepted and never answered, or falls silent, costs time only: the operator asks again,
//! says so, and works on what has come meanwhile.

use crate::judge::{PAST_TAKEOVER, accepted, at_most_once, invoke, settled, sound};
use crate::proxy::Proxy;
use crate::stall::Stall;
use futures::FutureExt;
use serde_json::Value;
use std::panic::AssertUnwindSafe;
use testkit::control_plane::ControlPlane;
use testkit::{Operator, World, new_plane, plane};
use tokio::sync::OnceCell;

/// The lists and watches of an operator of one namespace: providers, unfinished, unknown, expiring.
const WATCHES: usize = 4;

/// What happens to them.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// The first answers stop.
    AtTheStart(Stall),
    /// The watches end, and the next answers stop.
    Later(Stall),
    /// The watches fall silent, and their connections stay open.
    Silence,
}

const TROUBLES: [Trouble; 6] = [
    Trouble::AtTheStart(Stall::Answer),
    Trouble::AtTheStart(Stall::Body),
    Trouble::AtTheStart(Stall::Piece),
    Trouble::Later(Stall::Answer),
    Trouble::Later(Stall::Body),
    Trouble::Silence,
];

static PLANE_OF_PAGES: OnceCell<ControlPlane> = OnceCell::const_new();

/// A control plane whose API server does not stream lists, as Kubernetes 1.33 by default.
pub async fn plane_of_pages() -> &'static ControlPlane {
    PLANE_OF_PAGES.get_or_init(|| new_plane(&["--feature-gates=WatchList=false"])).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streamed_lists_and_watches_that_are_never_answered_cost_time_only() {
    all_are_survived(plane().await, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_lists_and_watches_that_are_never_answered_cost_time_only() {
    all_are_survived(plane_of_pages().await, true).await;
}

async fn all_are_survived(plane: &'static ControlPlane, in_pages: bool) {
    let all = TROUBLES.map(|trouble| AssertUnwindSafe(is_survived(plane, in_pages, trouble)).catch_unwind());
    // Each tells by itself what it did not survive.
    let failed = futures::future::join_all(all).await.into_iter().filter(Result::is_err).count();
    assert_eq!(failed, 0);
}

async fn is_survived(plane: &'static ControlPlane, in_pages: bool, trouble: Trouble) {
    let world = World::on(plane, |_| {}).await;
    world.provider().await;
    invoke(&world, "before").await;
    let proxy = Proxy::before(plane, &[]).await;
    if in_pages {
        proxy.reads.spare_streamed_lists();
    }
    if let Trouble::AtTheStart(stall) = trouble {
        proxy.reads.stall(Some(stall));
    }
    let operator = world.operator().kubeconfig(&proxy.kubeconfig()).start();
    if !matches!(trouble, Trouble::AtTheStart(_)) {
        accepted(&world, 1).await;
    }
    match trouble {
        Trouble::AtTheStart(_) => {}
        Trouble::Later(stall) => {
            proxy.reads.stall(Some(stall));
            proxy.reads.end();
        }
        Trouble::Silence => proxy.reads.silence(),
    }
    if !matches!(trouble, Trouble::Silence) {
        let stopped = async || proxy.reads.stalled() >= WATCHES;
        until(&format!("{trouble:?}: all of them have stopped"), stopped).await;
        proxy.reads.stall(None);
    }
    invoke(&world, "after").await;
    until(&format!("{trouble:?}: it works again"), async || world.emulator.ledger().len() == 2).await;
    let objects = settled(&world, PAST_TAKEOVER).await;
    assert_eq!(at_most_once(&world, &objects), 0, "none is unknown");
    let broke =
        operator.log().lines().iter().any(|line| line["level"] == "WARN" && line["watch"] == "unfinished");
    assert!(broke, "{trouble:?}: nothing tells of it");
    sound(&operator);
    assert!(operator.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_stop_while_it_still_reads_the_objects_it_ends_and_does_not_wait_for_them() {
    let world = World::new().await;
    world.provider().await;
    let proxy = Proxy::before(plane().await, &[]).await;
    proxy.reads.stall(Some(Stall::Answer));
    let operator = world.operator().kubeconfig(&proxy.kubeconfig()).start();
    operator.lacks(|said| said.contains("reading the first list of the objects")).await;

    assert!(operator.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_on_which_nothing_happens_is_not_taken_for_a_dead_one() {
    futures::future::join(is_renewed(plane().await), is_renewed(plane_of_pages().await)).await;
}

async fn is_renewed(plane: &'static ControlPlane) {
    let world = World::on(plane, |_| {}).await;
    let operator = world.operator().start();
    operator.ready().await;
    until("nothing comes for a while", async || silence(&operator).await > 30.0).await;
    until("it is made again", async || silence(&operator).await < 30.0).await;
    // An API server that has just started asks to try again later; that is no silence.
    let timed_out = |line: &Value| line["reason"].as_str().is_some_and(|it| it.contains("in time"));
    assert!(!operator.log().lines().iter().any(timed_out));
    assert!(operator.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_stays_silent_is_a_reason_not_to_be_ready() {
    let world = World::new().await;
    world.provider().await;
    let proxy = Proxy::start(&[]).await;
    let operator = world.operator().kubeconfig(&proxy.kubeconfig()).start();
    operator.ready().await;
    until("it is ready", async || operator.ask("/readyz").await.0 == 200).await;
    proxy.reads.stall(Some(Stall::Answer));
    proxy.reads.silence();

    until("it says so", async || operator.ask("/readyz").await.0 == 503).await;
    assert!(silence(&operator).await > 70.0);
    until("it names each of them", async || {
        let (_, text) = operator.ask("/readyz").await;
        let silent = |watch| text.contains(&format!("the API server has sent nothing for watch \"{watch}\""));
        ["providers", "unfinished", "unknown", "expiring"].into_iter().all(silent)
    })
    .await;
    proxy.reads.stall(None);
    until("it is ready again", async || operator.ask("/readyz").await.0 == 200).await;
    assert!(silence(&operator).await < 60.0);
    invoke(&world, "after").await;
    accepted(&world, 1).await;
    sound(&operator);
    assert!(operator.stop().await.success());
}

/// For how many seconds nothing has come on the watch of unfinished invocations.
async fn silence(operator: &Operator) -> f64 {
    let (_, metrics) = operator.ask("/metrics").await;
    let name = "functiongraph_operator_watch_silence_seconds{watch=\"unfinished\"} ";
    let value = metrics.lines().find_map(|line| line.strip_prefix(name));
    value.expect("the metric").parse().expect("a number")
}

/// Waits for a condition that is only there to be asked for.
async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let reached = tokio::time::timeout(PAST_TAKEOVER, testkit::until(condition));
    assert!(reached.await.is_ok(), "it does not come to this: {what}");
}
