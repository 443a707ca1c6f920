//! The list of submissions, over the wire and signed.

use std::time::Duration;

use functiongraph::sign::{self, SignedRequest};
use functiongraph_emulator::{Config, Failure, Function};

use crate::support::{PROJECT, Place, Seen, TOKEN, config, now};

/// Change of a function before its execution, which takes an hour.
type Change = fn(&mut Function, Duration);

async fn place(change: impl FnOnce(&mut Function)) -> Place {
    let mut config = config();
    change(&mut config.functions[0]);
    Place::with(Config { ..config }).await
}

async fn list(place: &Place, query: &str) -> Seen {
    let url = format!("{}?{query}", place.url("hello", "async-invocations"));
    Seen::of(place.http.get(url).header("X-Auth-Token", TOKEN)).await
}

#[tokio::test]
async fn a_submission_is_listed_under_its_id_with_its_state() {
    let hour = Duration::from_hours(1);
    let cases: [(Change, &str); 4] = [
        (|function, hour| function.queue_latency = hour, "WAIT"),
        (|function, hour| function.latency = hour, "RUNNING"),
        (|_, _| {}, "SUCCESS"),
        (|function, _| function.failure = Some(Failure::new(4002, "raised")), "FAIL"),
    ];
    for (change, status) in cases {
        let place = place(|function| change(function, hour)).await;
        let id = place.submit("hello", "{}").await.json()["request_id"].clone();
        place.submit("hello", "{}").await;
        let seen = list(&place, &format!("request_id={}", id.as_str().unwrap())).await;
        assert_eq!(seen.status, 200);
        let body = seen.json();
        assert_eq!((&body["count"], &body["next_marker"]), (&1.into(), &0.into()));
        assert_eq!(body["invocations"][0]["request_id"], id);
        assert_eq!(body["invocations"][0]["status"], status);
    }
}

#[tokio::test]
async fn pages_are_followed_by_their_marker() {
    let place = place(|_| {}).await;
    let mut submitted = Vec::new();
    for _ in 0..5 {
        submitted.push(place.submit("hello", "{}").await.json()["request_id"].clone());
    }
    let (mut listed, mut marker) = (Vec::new(), 0);
    loop {
        let body = list(&place, &format!("limit=2&marker={marker}")).await.json();
        listed.extend(body["invocations"].as_array().unwrap().iter().map(|r| r["request_id"].clone()));
        marker = body["next_marker"].as_u64().unwrap();
        if marker == 0 {
            break;
        }
    }
    assert_eq!(listed, submitted);
}

#[tokio::test]
async fn a_signed_query_is_understood_as_the_official_client_writes_it() {
    let place = place(|_| {}).await;
    let id = place.submit("hello", "{}").await.json()["request_id"].as_str().unwrap().to_owned();
    let pairs = [("request_id", &*id), ("query_begin_time", "2020-01-02T03:04:05"), ("limit", "10")];
    let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let path = format!("/v2/{PROJECT}/fgs/functions/hello/async-invocations");
    let date = sign::format_date(now());
    let host = place.emulator.url().replace("https://", "");
    let headers = [("Host", &*host), ("X-Sdk-Date", &*date)];
    let request = SignedRequest { method: "GET", path: &path, query: &pairs, headers: &headers, body: b"" };
    let authorization = request.authorization("AK", "SK", &date);
    let query = sign::canonical_query(&pairs);
    assert!(query.contains("2020-01-02T03%3A04%3A05"));
    let url = format!("{}{path}?{query}", place.emulator.url());
    let request = place.http.get(url).header("X-Sdk-Date", &date).header("Authorization", authorization);
    let seen = Seen::of(request).await;
    assert_eq!(seen.status, 200, "{}", seen.text);
    assert_eq!(seen.json()["invocations"][0]["request_id"], *id);
}

#[tokio::test]
async fn a_listing_needs_a_credential_and_a_function() {
    let place = place(|_| {}).await;
    let bare = Seen::of(place.http.get(place.url("hello", "async-invocations"))).await;
    assert_eq!(bare.status, 401);
    let url = place.url("nope", "async-invocations");
    let nope = Seen::of(place.http.get(url).header("X-Auth-Token", TOKEN)).await;
    nope.assert_error(404, "FSS.0404", "can not find function");
}
