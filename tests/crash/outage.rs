//! The API server goes away in the middle of the work and comes back.

use crate::judge::{accepted, at_most_once, invoke_many, last, settled, sound};
use functiongraph_emulator::Function;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use testkit::control_plane::ControlPlane;
use testkit::{PATIENCE, World, new_plane, until, within};
use tokio::sync::OnceCell;

static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_goes_away_in_the_middle_of_the_work_costs_time_only() {
    // The others go on using theirs.
    let plane = PLANE.get_or_init(|| new_plane(&[])).await;
    let function = Function { answer_latency: Duration::from_millis(100), ..Function::named("hello") };
    let world = World::on(plane, |config| config.functions = vec![function]).await;
    world.secret(testkit::KEY.1).await;
    // So few at a time that seventy take seconds: the outage has to come before they are done.
    world.provider_with(serde_json::json!({"limits": {"maxInFlight": 2}})).await;
    invoke_many(&world, 100).await;
    let operator = world.operator().start();
    accepted(&world, 30).await;

    plane.stop_apiserver();
    let meanwhile = world.emulator.ledger().len();
    assert!(meanwhile < 100, "the outage came too late: {meanwhile} were accepted");
    // Until every claim has failed once, and every request on its way has been answered, so that its record fails.
    let is_tried =
        |line: &&Value| line["message"] == "could not work on an object" || line["message"] == "answer";
    let tried = || -> BTreeSet<_> {
        operator.log().lines().iter().filter(is_tried).map(|line| line["name"].to_string()).collect()
    };
    within(until(async || tried().len() == 100)).await;
    // Longer than a takeover, and longer than an answer may take to be recorded.
    last(Duration::from_secs(330)).await;
    plane.start_apiserver().await.expect("it comes back");

    let objects = settled(&world, PATIENCE * 2).await;
    assert_eq!(objects.len(), 100);
    assert_eq!(at_most_once(&world, &objects), 0, "none is unknown");
    assert_eq!(world.emulator.ledger().len(), 100);
    sound(&operator);
    assert!(operator.stop().await.success());
}
