//! Windows, pages and filters of the listing, at fixed times.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};

use super::*;
use crate::api::{Api, Route};
use crate::config::{Config, Failure, Function, Listing};
use crate::executions::Event;
use crate::state::State;

const URN: &str = "urn:fss:eu-de:p:function:default:f:latest";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn noon() -> Timestamp {
    at("2026-03-01T12:00:00Z")
}

/// A function `f` that is queued for one second and runs for two, with one record per time of acceptance.
fn state(accepted: &[Timestamp], failure: Option<Failure>) -> State {
    listed(accepted, failure, Listing::default())
}

fn listed(accepted: &[Timestamp], failure: Option<Failure>, listing: Listing) -> State {
    let mut function = Function::named("f");
    function.queue_latency = Duration::from_secs(1);
    function.latency = Duration::from_secs(2);
    function.failure = failure;
    let functions = vec![function.clone(), Function::named("g")];
    let config = Config { project_id: "p".into(), functions, listing, ..Config::default() };
    let state = State::new(
        &config,
        String::new(),
        crate::tasks::Tasks::default(),
        tokio::sync::mpsc::unbounded_channel().0,
    );
    for (number, time) in accepted.iter().enumerate() {
        let event = Event::of(&function, URN.into(), format!("id-{number}"), *time);
        state.executions.queue(&function, event);
    }
    state
}

fn ask(state: &State, function: &str, query: &str, now: Timestamp) -> (u16, Value) {
    call(state, Api::ListAsync, function, query, now)
}

fn call(state: &State, api: Api, function: &str, query: &str, now: Timestamp) -> (u16, Value) {
    let route = Route::new(api, &[("project_id", "p"), ("function_urn", function)]);
    let uri = format!("/?{query}").parse().unwrap();
    let request = Request::new(Method::GET, &uri, HeaderMap::new(), Bytes::new());
    let target = state.functions.resolve(&route);
    let call = Call { state, route: &route, request: &request, now, target };
    let response = page(&call).unwrap_or_else(|refusal| refusal.answer(now)).into_response("gateway");
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
}

fn ids(body: &Value) -> Vec<&str> {
    body["invocations"].as_array().unwrap().iter().map(|r| r["request_id"].as_str().unwrap()).collect()
}

#[test]
fn a_record_shows_its_progress_and_no_time_that_is_not_known_yet() {
    let state = state(&[noon()], None);
    let record = |now| ask(&state, "f", "", now).1["invocations"][0].clone();
    let common =
        |status| json!({"request_id": "id-0", "status": status, "error_code": 0, "error_message": ""});
    assert_eq!(record(noon()), common("WAIT"));
    let mut running = common("RUNNING");
    running["start_time"] = "2026-03-01T12:00:01".into();
    assert_eq!(record(at("2026-03-01T12:00:02Z")), running);
    let mut success = common("SUCCESS");
    success["start_time"] = "2026-03-01T12:00:01".into();
    success["end_time"] = "2026-03-01T12:00:03".into();
    assert_eq!(record(at("2026-03-01T12:00:03Z")), success);
}

#[test]
fn a_failure_is_shown_when_the_execution_has_ended() {
    let state = state(&[noon()], Some(Failure::new(4002, "raised")));
    let record = |now| ask(&state, "f", "", now).1["invocations"][0].clone();
    assert_eq!(record(at("2026-03-01T12:00:02Z"))["error_code"], 0);
    let ended = record(at("2026-03-01T12:00:03Z"));
    assert_eq!(ended["status"], "FAIL");
    assert_eq!(ended["error_code"], 4002);
    assert_eq!(ended["error_message"], "raised");
}

#[test]
fn without_a_beginning_the_window_is_one_hour_even_for_a_known_id() {
    let state = state(&[at("2026-03-01T10:59:59Z"), at("2026-03-01T11:00:00Z")], None);
    let listed = |query| {
        let body = ask(&state, "f", query, noon()).1;
        ids(&body).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(listed(""), ["id-1"]);
    assert_eq!(listed("request_id=id-0"), [] as [&str; 0]);
    assert_eq!(listed("request_id=id-0&query_begin_time=2026-03-01T10%3A59%3A59"), ["id-0"]);
    assert_eq!(listed("query_begin_time=2026-03-01T10:00:00&query_end_time=2026-03-01T10:59:59"), ["id-0"]);
}

#[test]
fn pages_follow_the_marker_until_it_is_zero() {
    let state = state(&[noon(); 5], None);
    let page = |query: &str| {
        let (_, body) = ask(&state, "f", query, noon());
        assert_eq!(body["count"], 5);
        (ids(&body).join(" "), body["next_marker"].as_u64().unwrap())
    };
    assert_eq!(page("limit=2"), ("id-0 id-1".into(), 2));
    assert_eq!(page("limit=2&marker=2"), ("id-2 id-3".into(), 4));
    assert_eq!(page("limit=2&marker=4"), ("id-4".into(), 0));
    assert_eq!(page("limit=5"), ("id-0 id-1 id-2 id-3 id-4".into(), 0));
    assert_eq!(page("marker=9"), (String::new(), 0));
}

#[test]
fn a_page_holds_a_hundred_records_and_never_more_than_five_hundred() {
    let state = state(&[noon(); 600], None);
    assert_eq!(ids(&ask(&state, "f", "", noon()).1).len(), 100);
    assert_eq!(ids(&ask(&state, "f", "limit=0", noon()).1).len(), 100);
    assert_eq!(ids(&ask(&state, "f", "limit=1000", noon()).1).len(), 500);
}

#[test]
fn a_status_selects_and_an_unknown_id_finds_nothing() {
    let state = state(&[at("2026-03-01T11:59:00Z"), noon()], None);
    assert_eq!(ids(&ask(&state, "f", "status=WAIT", noon()).1), ["id-1"]);
    assert_eq!(ids(&ask(&state, "f", "status=SUCCESS", noon()).1), ["id-0"]);
    assert_eq!(ids(&ask(&state, "f", "status=DISCARD", noon()).1), [] as [&str; 0]);
    let (status, body) = ask(&state, "f", "request_id=nope", noon());
    assert_eq!((status, ids(&body).len()), (200, 0));
}

#[test]
fn markers_can_be_text_and_the_count_can_be_missing() {
    let listing = Listing { text_markers: true, no_count: true, ..Listing::default() };
    let state = listed(&[noon(); 3], None, listing);
    let next = |query| {
        let body = ask(&state, "f", query, noon()).1;
        assert_eq!(body.get("count"), None);
        body["next_marker"].clone()
    };
    assert_eq!((next("limit=2"), next("marker=2")), ("2".into(), "0".into()));
}

#[test]
fn a_record_appears_and_vanishes_as_configured() {
    let listing = Listing {
        lag: Duration::from_secs(2),
        retention: Some(Duration::from_mins(1)),
        ..Listing::default()
    };
    let state = listed(&[noon()], None, listing);
    let status = |now| ask(&state, "f", "", at(now)).1["invocations"][0]["status"].clone();
    assert_eq!(status("2026-03-01T12:00:01Z"), Value::Null);
    assert_eq!(status("2026-03-01T12:00:02Z"), "RUNNING");
    assert_eq!(status("2026-03-01T12:01:02Z"), "SUCCESS");
    assert_eq!(status("2026-03-01T12:01:03Z"), Value::Null);
}

#[test]
fn active_invocations_are_listed_by_up_to_ten_ids() {
    let state = state(&[at("2026-03-01T11:59:00Z"), noon(), noon()], None);
    let active = |query: &str| call(&state, Api::ListActive, "f", query, noon());
    let (_, body) = active("");
    assert_eq!(ids(&body), ["id-1", "id-2"]);
    assert_eq!(body.as_object().unwrap().len(), 1, "neither count nor marker");
    assert_eq!(ids(&active("requests=id-0,id-2,nope").1), ["id-2"]);
    assert_eq!(ids(&active("limit=1&marker=1").1), ["id-2"]);
    let many = |count: usize| format!("requests={}", vec!["id"; count].join(","));
    assert_eq!((active(&many(10)).0, active(&many(11)).0), (200, 400));
    assert_eq!(active(&format!("requests={}", "x".repeat(65))).0, 400);
}

#[test]
fn each_function_has_records_of_its_own() {
    let state = state(&[noon()], None);
    assert_eq!(ids(&ask(&state, URN, "", noon()).1), ["id-0"]);
    assert_eq!(ids(&ask(&state, "g", "", noon()).1), [] as [&str; 0]);
    let (status, body) = ask(&state, "nope", "", noon());
    assert_eq!(status, 404);
    assert_eq!(body, json!({"error_code": "FSS.0404", "error_msg": "can not find function"}));
}

#[test]
fn a_time_may_have_a_zone_an_offset_or_a_fraction() {
    let state = state(&[noon()], None);
    for (begin, listed) in [
        ("2026-03-01T12:00:00", 1),
        ("2026-03-01T12:00:00Z", 1),
        ("2026-03-01T12:00:00.999", 1),
        ("2026-03-01T12:00:00.123456789Z", 1),
        ("2026-03-01T13:00:00%2B01:00", 1),
        ("2026-03-01t11:00:00-01:00", 1),
        ("2026-03-01T12:00:01.5Z", 0),
        ("2026-03-01T14:00:00%2B01:00", 0),
    ] {
        let (status, body) = ask(&state, "f", &format!("query_begin_time={begin}"), noon());
        assert_eq!((status, ids(&body).len()), (200, listed), "{begin}");
    }
}

#[test]
fn a_malformed_parameter_is_refused() {
    let state = state(&[], None);
    for query in [
        "limit=many",
        "marker=-1",
        "status=DONE",
        "query_begin_time=2026-03-01",
        "query_begin_time=2026-03-01T12:00:00ZZ",
        "query_begin_time=2026-03-01T12:00",
        "query_begin_time=2026-13-01T12:00:00",
        "query_begin_time=%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4T12:00:00",
        "query_end_time=yesterday",
    ] {
        let (status, body) = ask(&state, "f", query, noon());
        assert_eq!((status, &body["error_code"]), (400, &json!("FSS.0400")), "{query}");
    }
}
