//! Cancelling an asynchronous invocation, and the others that end with it.

use std::num::NonZeroU32;
use std::time::Duration;

use functiongraph_emulator::Config;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Place, Seen, TOKEN, config};

/// A function whose instances run two events at a time, for an hour each.
async fn place() -> Place {
    let mut config = config();
    config.functions[0].latency = Duration::from_hours(1);
    config.functions[0].concurrent_num = NonZeroU32::new(2).unwrap();
    Place::with(Config { ..config }).await
}

async fn submit(place: &Place) -> String {
    place.submit("hello", "{}").await.json()["request_id"].as_str().unwrap().to_owned()
}

async fn cancel(place: &Place, body: &Value) -> Seen {
    Seen::of(place.post("hello", "cancel", &body.to_string())).await
}

/// Status, code and message of each record.
async fn records(place: &Place) -> Vec<(String, i64, String)> {
    let url = place.url("hello", "async-invocations");
    let body = Seen::of(place.http.get(url).header("X-Auth-Token", TOKEN)).await.json();
    let text = |record: &Value, key: &str| record[key].as_str().unwrap().to_owned();
    let record = |record: &Value| {
        (text(record, "status"), record["error_code"].as_i64().unwrap(), text(record, "error_message"))
    };
    body["invocations"].as_array().unwrap().iter().map(record).collect()
}

fn canceled() -> (String, i64, String) {
    ("FAIL".into(), 4208, "function invocation canceled".into())
}

fn running() -> (String, i64, String) {
    ("RUNNING".into(), 0, String::new())
}

#[tokio::test]
async fn force_ends_the_request_and_its_neighbour_on_the_same_instance() {
    let place = place().await;
    let first = submit(&place).await;
    submit(&place).await;
    submit(&place).await;
    let seen = cancel(&place, &json!({"request_id": first, "type": "force"})).await;
    assert_eq!((seen.status, seen.json()), (200, Value::Null));
    assert_eq!(records(&place).await, [canceled(), canceled(), running()]);
}

#[tokio::test]
async fn without_force_only_the_request_itself_ends() {
    for kind in [json!(null), json!("recursive")] {
        let place = place().await;
        let first = submit(&place).await;
        submit(&place).await;
        assert_eq!(cancel(&place, &json!({"request_id": first, "type": kind})).await.status, 200);
        assert_eq!(records(&place).await, [canceled(), running()]);
    }
}

#[tokio::test]
async fn what_is_not_under_way_cannot_be_ended() {
    let place = place().await;
    let id = submit(&place).await;
    let invalid = async |body: Value| {
        cancel(&place, &body).await.assert_error(400, "FSS.0400", "Invalid RequestId");
    };
    invalid(json!({"request_id": "nope", "type": "force"})).await;
    invalid(json!({"request_id": "", "type": "force"})).await;
    invalid(json!({"request_id": "x".repeat(65)})).await;
    invalid(json!({})).await;
    assert_eq!(cancel(&place, &json!({"request_id": id})).await.status, 200);
    invalid(json!({"request_id": id})).await;
    let other = Seen::of(place.post("off", "cancel", &json!({"request_id": id}).to_string())).await;
    other.assert_error(400, "FSS.0400", "Invalid RequestId");
}

#[tokio::test]
async fn a_body_that_cannot_be_understood_is_refused() {
    let place = place().await;
    let id = submit(&place).await;
    for body in [json!({"request_id": id, "type": "softly"}), json!({"request_id": 1}), json!([1])] {
        cancel(&place, &body).await.assert_error(400, "FSS.0400", "Invalid parameter.");
    }
    for body in ["", "{"] {
        let seen = Seen::of(place.post("hello", "cancel", body)).await;
        seen.assert_error(406, "FSS.0406", "Not acceptable.");
    }
    let nope = Seen::of(place.post("nope", "cancel", "{}")).await;
    nope.assert_error(404, "FSS.0404", "can not find function");
    assert_eq!(records(&place).await, [running()]);
}

#[tokio::test]
async fn a_synchronous_neighbour_hears_of_it_at_once() {
    let place = place().await;
    let id = submit(&place).await;
    let request = place.post("hello", "invocations", "{}").send();
    tokio::pin!(request);
    while place.emulator.ledger().len() < 2 {
        assert!(timeout(Duration::from_millis(5), &mut request).await.is_err());
    }
    assert_eq!(cancel(&place, &json!({"request_id": id, "type": "force"})).await.status, 200);
    let seen = Seen::read(timeout(Duration::from_secs(20), request).await.unwrap().unwrap()).await;
    assert_eq!((seen.status, seen.header("x-func-err-code")), (200, Some("4208")));
    assert_eq!(seen.header("x-is-func-err"), Some("false"), "no fault of the user's code");
    assert_eq!(seen.json()["errorMessage"], "function invocation canceled");
}
