//! Every acceptance and every refusal, with its exact text.

use functiongraph_emulator::{AuthMode, Config};
use serde_json::json;

use crate::support::{PROJECT, Place, Seen, config};

const URN: &str = "urn:fss:eu-de:7aad83af3e8d42e99ac194e8419e2c9b:function:default:hello";

#[tokio::test]
async fn an_event_is_accepted_with_its_id_and_another_id_of_the_gateway() {
    let place = Place::new().await;
    let seen = place.submit(URN, r#"{"k":"v"}"#).await;
    assert_eq!(seen.status, 202);
    assert_eq!(seen.reason, None);
    assert_eq!(seen.header("content-type"), Some("application/json"));
    let id = seen.json()["request_id"].as_str().unwrap().to_owned();
    assert_eq!(seen.json(), json!({ "request_id": id }), "nothing but the id");
    assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    assert_eq!(seen.header("x-cff-request-id"), Some(&*id));
    assert_ne!(seen.header("x-request-id").unwrap(), id);
    assert_eq!(place.emulator.ledger()[0].request_id, id);
}

#[tokio::test]
async fn a_function_is_found_under_every_spelling_of_its_name() {
    let place = Place::new().await;
    let latest = format!("{URN}:latest");
    let encoded = latest.replace(':', "%3A");
    for name in ["hello", "default:hello", &format!("{PROJECT}:default:hello"), URN, &latest, &encoded] {
        assert_eq!(place.submit(name, "{}").await.status, 202, "{name}");
    }
    assert!(place.emulator.ledger().iter().all(|entry| entry.function == latest));
    for name in [format!("{URN}:v1"), format!("{URN}:!prod"), format!("{URN}%3A%21prod")] {
        assert_eq!(place.submit(&name, "{}").await.status, 202, "{name}");
    }
}

#[tokio::test]
async fn what_does_not_exist_is_not_found_by_its_own_code() {
    let place = Place::new().await;
    let nope = place.submit(&URN.replace("hello", "nope"), "{}").await;
    nope.assert_error(404, "FSS.0404", "function 'nope' not exist");
    let elsewhere = place.submit(&URN.replace("eu-de", "eu-nl"), "{}").await;
    elsewhere.assert_error(404, "FSS.1051", "Not found the function");
    let placeholder = place.submit("%7Bfunction_urn%7D", "{}").await;
    placeholder.assert_error(404, "FSS.1051", "Not found the function");
    let version = place.submit(&format!("{URN}:v9"), "{}").await;
    version.assert_error(404, "FSS.1052", "Not found the function version");
    let alias = place.submit(&format!("{URN}:!beta"), "{}").await;
    alias.assert_error(404, "FSS.1053", "Not found the function alias");
}

#[tokio::test]
async fn a_urn_that_is_none_and_another_project_are_refused() {
    let place = Place::new().await;
    place.submit("urn:fss:eu-de:hello:x", "{}").await.assert_error(400, "FSS.1309", "Invalid function URN.");
    let other = URN.replace(PROJECT, "0123456789abcdef0123456789abcdef");
    place.submit(&other, "{}").await.assert_error(403, "FSS.0403", "Forbidden");
}

#[tokio::test]
async fn another_path_is_answered_by_the_gateway_with_its_id_in_the_body() {
    let place = Place::new().await;
    for request in [
        place.http.post(format!("{}/v2/{PROJECT}/elsewhere", place.emulator.url())),
        place.http.get(place.url("hello", "invocations-async")),
    ] {
        let seen = Seen::of(request).await;
        seen.assert_error(
            404,
            "APIG.0101",
            "The API does not exist or has not been published in the environment",
        );
        assert_eq!(seen.json()["request_id"].as_str(), seen.header("x-request-id"));
    }
}

#[tokio::test]
async fn a_disabled_function_says_so_also_in_the_reason_phrase() {
    let place = Place::new().await;
    let off = place.submit("off", "{}").await;
    off.assert_error(429, "FSS.0429", "Function Disabled");
    assert_eq!(off.reason.as_deref(), Some("Disabled"));
    assert!(place.emulator.set_disabled("off", false));
    assert_eq!(place.submit("off", "{}").await.status, 202);
}

#[tokio::test]
async fn an_event_must_be_json_of_at_most_256_kib() {
    let place = Place::new().await;
    place.submit("hello", "").await.assert_error(400, "FSS.0400", "function event body is empty");
    for event in ["{", "hello", "{}{}", "{\"k\":\"v\",}"] {
        place.submit("hello", event).await.assert_error(406, "FSS.0406", "Not acceptable.");
    }
    let event = |length: usize| format!(r#"{{"k":"{}"}}"#, "x".repeat(length - 8));
    assert_eq!(place.submit("hello", &event(262_144)).await.status, 202);
    let large = place.submit("hello", &event(262_145)).await;
    large.assert_error(413, "FSS.0413", "The request body is too large.");
    for event in ["[1]", "\"text\"", "17", "null", " {} "] {
        assert_eq!(place.submit("hello", event).await.status, 202, "{event}");
    }
}

#[tokio::test]
async fn the_gateway_takes_requests_of_at_most_12_mib() {
    let place = Place::new().await;
    let large = place.submit("hello", &"x".repeat(12 * 1024 * 1024)).await;
    assert_eq!(large.error().1, "FSS.0413", "small enough for the gateway, too large for the service");
    let response = place.submission("hello", &"x".repeat(12 * 1024 * 1024 + 1)).send().await;
    // The answer arrives before the request is complete. A client may report that as a broken connection.
    if let Ok(response) = response {
        assert_eq!(Seen::read(response).await.error().1, "APIG.0201");
    }
    assert_eq!(place.emulator.requests().answered[&413], 2);
}

#[tokio::test]
async fn a_size_of_memory_that_does_not_exist_is_not_acceptable() {
    let place = Place::new().await;
    let with = |size| place.submission("hello", "{}").header("X-Cff-Instance-Memory", size);
    assert_eq!(Seen::of(with("512")).await.status, 202);
    Seen::of(with("513")).await.assert_error(406, "FSS.0406", "Not acceptable.");
    assert_eq!(place.emulator.ledger()[0].instance_memory.as_deref(), Some("512"));
    assert!(place.emulator.set_disabled("off", false));
    let ignored = place.submission("off", "{}").header("X-Cff-Instance-Memory", "513");
    assert_eq!(Seen::of(ignored).await.status, 202, "without dynamic memory nobody reads it");
}

#[tokio::test]
async fn refusals_are_not_in_the_ledger_but_in_the_statistics() {
    let place = Place::new().await;
    for (function, event) in [("nope", "{}"), ("off", "{}"), ("hello", ""), ("hello", "{")] {
        assert!(place.submit(function, event).await.status >= 400);
    }
    assert_eq!(place.emulator.ledger(), []);
    let requests = place.emulator.requests();
    assert_eq!((requests.seen, requests.accepted), (4, 0));
    assert_eq!(requests.answered.into_iter().collect::<Vec<_>>(), [(400, 1), (404, 1), (406, 1), (429, 1)]);
}

#[tokio::test]
async fn without_authentication_everybody_is_let_in() {
    let open = Config { auth: AuthMode::None, tokens: vec![], access_keys: vec![], ..config() };
    let place = Place::with(open).await;
    let bare = place.http.post(place.url("hello", "invocations-async")).body("{}");
    assert_eq!(Seen::of(bare).await.status, 202);
}
