//! Every way to submit an event: v2 and v1.0, asynchronous, synchronous and reserved.

use functiongraph_emulator::{Action, Api, ErrorAnswer, Fault, When};
use http::{HeaderMap, HeaderName, StatusCode};
use reqwest::RequestBuilder;
use serde_json::json;

use crate::support::{PROJECT, Place, Seen, TOKEN, config};

/// How to call an API with a function and an event.
type Call = fn(&Place, &str, &str) -> RequestBuilder;

/// Every API that takes an event.
const INVOCATIONS: [(Api, Call); 5] = [
    (Api::InvokeAsync, |place, function, event| place.post(function, "invocations-async", event)),
    (Api::Invoke, |place, function, event| place.post(function, "invocations", event)),
    (Api::InvokeReserved, |place, function, event| place.post(function, "reserved-invocations", event)),
    (Api::InvokeAsyncV1, |place, function, event| place.post_v1(function, "invocations-async", event)),
    (Api::InvokeV1, |place, function, event| place.post_v1(function, "invocations", event)),
];

async fn place() -> Place {
    let mut config = config();
    for function in &mut config.functions {
        function.reserved = true;
    }
    Place::with(config).await
}

#[tokio::test]
async fn each_is_in_ledger_and_statistics_under_its_own_name() {
    let place = place().await;
    for (number, (api, call)) in INVOCATIONS.into_iter().enumerate() {
        let request = call(&place, "hello", r#"{"tag":"t"}"#).header("X-Cff-Instance-Memory", "256");
        let seen = Seen::of(request).await;
        assert!(seen.status == 200 || seen.status == 202, "{api}: {}", seen.text);
        let entry = &place.emulator.ledger()[number];
        assert_eq!((entry.api, entry.tag.as_deref()), (api, Some("t")));
        assert_eq!(entry.instance_memory.as_deref(), Some("256"), "{api}");
        assert!(entry.function.ends_with(":hello:latest"));
        assert_eq!(place.emulator.requests().calls[&api], 1);
    }
    assert_eq!(place.emulator.requests().accepted, 5);
}

#[tokio::test]
async fn each_refuses_what_the_others_refuse() {
    let place = place().await;
    for (api, call) in INVOCATIONS {
        let seen = async |function: &str, event: &str| Seen::of(call(&place, function, event)).await;
        let disabled = seen("off", "{}").await;
        disabled.assert_error(429, "FSS.0429", "Function Disabled");
        assert_eq!(disabled.reason.as_deref(), Some("Disabled"), "{api}");
        seen("hello", "").await.assert_error(400, "FSS.0400", "function event body is empty");
        seen("hello", "{").await.assert_error(406, "FSS.0406", "Not acceptable.");
        seen("default:hello:x:y:z", "{}").await.assert_error(400, "FSS.1309", "Invalid function URN.");
        let version = format!("{PROJECT}:default:hello:v9");
        seen(&version, "{}").await.assert_error(404, "FSS.1052", "Not found the function version");
        let memory = call(&place, "hello", "{}").header("X-Cff-Instance-Memory", "1");
        Seen::of(memory).await.assert_error(406, "FSS.0406", "Not acceptable.");
        let wrong =
            HeaderMap::from_iter([(HeaderName::from_static("x-auth-token"), "wrong".parse().unwrap())]);
        let stranger = call(&place, "hello", "{}").headers(wrong);
        assert_eq!(Seen::of(stranger).await.status, 401, "{api}");
    }
    assert_eq!(place.emulator.ledger(), []);
}

#[tokio::test]
async fn each_has_its_own_words_for_a_function_that_does_not_exist() {
    let place = place().await;
    let expected = [
        ("FSS.0404", "function 'nope' not exist"),
        ("FSS.0404", "function 'nope' not exist"),
        ("FSS.1051", "Not found the function"),
        ("FSS.0404", "function 'nope' not exist"),
        ("FSS.0404", "Not found the specified resource"),
    ];
    for ((_, call), (code, message)) in INVOCATIONS.into_iter().zip(expected) {
        Seen::of(call(&place, "nope", "{}")).await.assert_error(404, code, message);
    }
}

#[tokio::test]
async fn v1_writes_the_id_with_a_hyphen() {
    let place = place().await;
    let seen = Seen::of(place.post_v1("hello", "invocations-async", "{}")).await;
    let id = place.emulator.ledger()[0].request_id.clone();
    assert_eq!((seen.status, seen.json()), (202, json!({ "request-id": id })));
    let url = format!("{}?request_id={id}", place.url("hello", "async-invocations"));
    let listed = Seen::of(place.http.get(url).header("X-Auth-Token", TOKEN)).await;
    assert_eq!(listed.json()["invocations"][0]["status"], "SUCCESS");
}

#[tokio::test]
async fn a_reserved_invocation_gives_an_instance_and_nothing_else() {
    let place = place().await;
    let seen = Seen::of(place.post("hello", "reserved-invocations", "{}")).await;
    let entry = &place.emulator.ledger()[0];
    assert_eq!((seen.status, seen.header("content-type")), (202, Some("application/json")));
    assert_eq!(seen.json(), json!({ "instance_id": entry.instance_id.as_deref().unwrap() }));
    assert_eq!(seen.header("x-cff-request-id"), None);
    assert_ne!(entry.instance_id.as_deref(), Some(&*entry.request_id));
}

#[tokio::test]
async fn a_function_that_is_not_chosen_for_reserved_invocations_is_not_found_by_them() {
    let place = Place::new().await;
    let seen = Seen::of(place.post("hello", "reserved-invocations", "{}")).await;
    seen.assert_error(404, "FSS.1051", "Not found the function");
    assert_eq!(place.emulator.ledger(), []);
}

#[tokio::test]
async fn a_fault_hits_every_invocation_unless_it_is_made_for_one_api() {
    let place = place().await;
    let status = || Action::Status(ErrorAnswer::of(StatusCode::SERVICE_UNAVAILABLE));
    let answered = async || {
        let mut statuses = Vec::new();
        for (_, call) in INVOCATIONS {
            statuses.push(Seen::of(call(&place, "hello", "{}")).await.status);
        }
        let list = place.http.get(place.url("hello", "async-invocations")).header("X-Auth-Token", TOKEN);
        statuses.push(Seen::of(list).await.status);
        statuses
    };
    place.emulator.add_fault(Fault::new(When::Forever, status()));
    assert_eq!(answered().await, [503, 503, 503, 503, 503, 200]);
    place.emulator.clear_faults();
    place.emulator.add_fault(Fault::new(When::Forever, status()).of(Api::ListAsync).on("hello"));
    place.emulator.add_fault(Fault::new(When::Forever, status()).of(Api::InvokeV1));
    assert_eq!(answered().await, [202, 200, 202, 202, 503, 503]);
}
