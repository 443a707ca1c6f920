//! Executions of events: instances, retries, and records that appear late and vanish.

use std::num::NonZeroU32;
use std::time::Duration;

use functiongraph_emulator::{AsyncInvokeConfig, Config, Failure, Function, Listing};
use serde_json::Value;

use crate::support::{Place, Seen, TOKEN, config};

async fn place(change: impl FnOnce(&mut Function), listing: Listing) -> Place {
    let mut config = config();
    change(&mut config.functions[0]);
    Place::with(Config { listing, ..config }).await
}

async fn records(place: &Place, api: &str) -> Vec<Value> {
    let url = place.url("hello", api);
    let body = Seen::of(place.http.get(url).header("X-Auth-Token", TOKEN)).await.json();
    body["invocations"].as_array().unwrap().clone()
}

async fn statuses(place: &Place) -> Vec<String> {
    let records = records(place, "async-invocations").await;
    records.iter().map(|record| record["status"].as_str().unwrap().to_owned()).collect()
}

/// Waits until the records have these statuses.
async fn reaches(place: &Place, expected: &[&str]) {
    while statuses(place).await != expected {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn events_wait_for_a_place_on_an_instance() {
    let busy = |function: &mut Function| {
        function.latency = Duration::from_hours(1);
        function.concurrency = 1;
        function.concurrent_num = NonZeroU32::new(2).unwrap();
    };
    let place = place(busy, Listing::default()).await;
    for _ in 0..3 {
        assert_eq!(place.submit("hello", "{}").await.status, 202);
    }
    assert_eq!(statuses(&place).await, ["RUNNING", "RUNNING", "WAIT"]);
    assert_eq!(records(&place, "active-async-invocations").await.len(), 3);
    let sync = Seen::of(place.post("hello", "invocations", "{}")).await;
    sync.assert_error(429, "FSS.0429", "Too many requests.");
    assert_eq!(place.emulator.ledger().len(), 3, "what finds no place is not accepted");
    // More instances: queued events start.
    place.emulator.add_function(Function { concurrency: 2, ..Function::named("hello") }).unwrap();
    assert_eq!(statuses(&place).await, ["RUNNING", "RUNNING", "RUNNING"]);
}

#[tokio::test]
async fn a_concurrency_of_zero_is_a_function_that_is_switched_off() {
    let place = place(|function| function.concurrency = 0, Listing::default()).await;
    place.submit("hello", "{}").await.assert_error(429, "FSS.0429", "Function Disabled");
}

#[tokio::test]
async fn the_service_repeats_its_own_errors_as_it_is_set() {
    let failing = |times| {
        let failure = Failure { times: Some(times), system: true, ..Failure::new(500, "broken") };
        move |function: &mut Function| {
            function.failure = Some(failure);
            let max_async_retry_attempts = Some(2);
            function.async_invoke_config =
                Some(AsyncInvokeConfig { max_async_retry_attempts, ..AsyncInvokeConfig::default() });
        }
    };
    for (times, status) in [(2, "SUCCESS"), (3, "FAIL")] {
        let place = place(failing(times), Listing::default()).await;
        place.submit("hello", "{}").await;
        assert_eq!(statuses(&place).await, [status]);
    }
}

#[tokio::test]
async fn an_event_that_grows_too_old_in_the_queue_is_discarded() {
    let slow = |function: &mut Function| {
        function.queue_latency = Duration::from_hours(1);
        let max_async_event_age_in_seconds = Some(1);
        function.async_invoke_config =
            Some(AsyncInvokeConfig { max_async_event_age_in_seconds, ..AsyncInvokeConfig::default() });
    };
    let place = place(slow, Listing::default()).await;
    place.submit("hello", "{}").await;
    assert_eq!(statuses(&place).await, ["WAIT"]);
    reaches(&place, &["DISCARD"]).await;
    let record = &records(&place, "async-invocations").await[0];
    assert!(record.get("start_time").is_none() && record["end_time"].is_string(), "{record}");
}

#[tokio::test]
async fn a_record_that_is_too_young_is_not_listed() {
    let listing = Listing { lag: Duration::from_hours(1), ..Listing::default() };
    let place = place(|_| {}, listing).await;
    place.submit("hello", "{}").await;
    assert_eq!(statuses(&place).await, [] as [&str; 0]);
}

#[tokio::test]
async fn a_record_that_is_too_old_is_not_listed() {
    let listing = Listing { retention: Some(Duration::ZERO), ..Listing::default() };
    let place = place(|function| function.latency = Duration::from_millis(500), listing).await;
    place.submit("hello", "{}").await;
    reaches(&place, &[]).await;
    place
        .emulator
        .add_function(Function { latency: Duration::from_hours(1), ..Function::named("hello") })
        .unwrap();
    place.submit("hello", "{}").await;
    assert_eq!(statuses(&place).await, ["RUNNING"]);
}
