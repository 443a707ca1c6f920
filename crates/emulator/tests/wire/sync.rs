//! Synchronous invocations: their results, formats, and failures.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use functiongraph_emulator::{Action, Config, Failure, Function, When};
use serde_json::{Value, json};

use crate::support::{Place, Seen, config, fault, now};

async fn place(change: impl FnOnce(&mut Function)) -> Place {
    let mut config = config();
    change(&mut config.functions[0]);
    Place::with(config).await
}

async fn invoke(place: &Place, headers: &[(&str, &str)]) -> Seen {
    let request = place.post("hello", "invocations", r#"{"k":"v"}"#);
    Seen::of(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

fn log(seen: &Seen) -> Option<String> {
    let log = STANDARD.decode(seen.header("x-cff-function-log")?).unwrap();
    Some(String::from_utf8(log).unwrap())
}

#[tokio::test]
async fn the_result_comes_as_text_with_the_key_figures_in_headers() {
    let place = place(|function| {
        function.result = Some(json!({"message": "Hello World"}));
        function.latency = Duration::from_micros(1913);
        function.memory_used = 41.5;
    })
    .await;
    for headers in [&[][..], &[("X-CFF-Request-Version", "v0")]] {
        let seen = invoke(&place, headers).await;
        assert_eq!((seen.status, &*seen.text), (200, r#"{"message":"Hello World"}"#));
        assert_eq!(seen.header("content-type"), Some("text/plain"));
        assert_eq!(seen.header("x-cff-response-version"), Some("v0"));
        assert_eq!(seen.header("x-func-err-code"), Some("0"));
        assert_eq!(seen.header("x-is-func-err"), Some("false"));
        assert_eq!(seen.header("x-cff-billing-duration"), Some("2"));
        assert_eq!(seen.header("x-cff-function-log"), None);
        let id = place.emulator.ledger().last().unwrap().request_id.clone();
        assert_eq!(seen.header("x-cff-request-id"), Some(&*id));
        assert_ne!(seen.header("x-request-id"), Some(&*id));
        let summary: Value = serde_json::from_str(seen.header("x-cff-invoke-summary").unwrap()).unwrap();
        let expected =
            json!({"duration": 1.913, "billingDuration": 2, "memorySize": 128, "memoryUsed": 41.5});
        assert_eq!(summary, expected);
    }
}

#[tokio::test]
async fn version_one_wraps_the_result_into_an_envelope() {
    let place = place(|function| function.result = Some(json!({"answer": 42}))).await;
    let seen = invoke(&place, &[("X-CFF-Request-Version", "v1")]).await;
    let id = place.emulator.ledger()[0].request_id.clone();
    assert_eq!((seen.status, seen.header("content-type")), (200, Some("application/json")));
    assert_eq!(seen.header("x-cff-response-version"), Some("v1"));
    let envelope = json!({"request_id": id, "result": r#"{"answer":42}"#, "log": "", "status": 200});
    assert_eq!(seen.json(), envelope);
    let seen = invoke(&place, &[("X-CFF-Request-Version", "v1"), ("X-Cff-Log-Type", "tail")]).await;
    assert_eq!(seen.json()["log"].as_str(), log(&seen).as_deref());
}

#[tokio::test]
async fn in_v1_the_result_is_bare_json() {
    let place = place(|function| function.result = Some(json!({"answer": 42}))).await;
    let seen =
        Seen::of(place.post_v1("hello", "invocations", "{}").header("X-CFF-Request-Version", "v1")).await;
    assert_eq!((seen.status, seen.header("content-type")), (200, Some("application/json")));
    assert_eq!(seen.json(), json!({"answer": 42}));
    assert!(seen.header("x-cff-invoke-summary").is_some());
}

#[tokio::test]
async fn a_result_that_is_text_is_not_quoted() {
    let place = place(|function| function.result = Some("<h1>hello</h1>".into())).await;
    assert_eq!(invoke(&place, &[]).await.text, "<h1>hello</h1>");
}

#[tokio::test]
async fn a_failing_function_is_a_success_whose_headers_say_otherwise() {
    let failure = Failure::new(4002, "division by zero");
    let place = place(|function| function.failure = Some(failure)).await;
    let returned = json!({"errorMessage": "division by zero", "stackTrace": []});
    let seen = invoke(&place, &[("X-Cff-Log-Type", "tail")]).await;
    assert_eq!((seen.status, seen.json()), (200, returned.clone()));
    assert_eq!(seen.header("x-is-func-err"), Some("true"));
    assert_eq!(seen.header("x-func-err-code"), Some("4002"));
    assert!(log(&seen).unwrap().contains("(invoke Failed)"));
    let envelope = invoke(&place, &[("X-CFF-Request-Version", "v1")]).await.json();
    assert_eq!((&envelope["result"], &envelope["status"]), (&returned.to_string().into(), &500.into()));
}

#[tokio::test]
async fn the_log_is_given_on_request_and_only_its_end() {
    let place = place(|function| function.log = format!("first\n{}\nlast", "x".repeat(8000))).await;
    assert_eq!(log(&invoke(&place, &[("X-Cff-Log-Type", "")]).await), None);
    let log = log(&invoke(&place, &[("X-Cff-Log-Type", "tail")]).await).unwrap();
    let id = place.emulator.ledger()[1].request_id.clone();
    assert_eq!(log.len(), 4096);
    assert!(!log.contains("first") && log.contains("\nlast\n"), "{log}");
    assert!(log.contains(&format!("Finish invoke request '{id}', duration: 0.000ms")), "{log}");
}

#[tokio::test]
async fn the_memory_that_was_asked_for_is_in_the_summary() {
    let place = place(|_| {}).await;
    let seen = invoke(&place, &[("X-Cff-Instance-Memory", "1024")]).await;
    let summary: Value = serde_json::from_str(seen.header("x-cff-invoke-summary").unwrap()).unwrap();
    assert_eq!(summary["memorySize"], 1024);
}

#[tokio::test]
async fn the_answer_comes_when_the_function_has_ended() {
    let place = place(|function| function.latency = Duration::from_millis(300)).await;
    let begun = now();
    assert_eq!(invoke(&place, &[]).await.status, 200);
    assert!(now().duration_since(begun).as_millis() >= 250, "the wall clock may run a little slower");
}

#[tokio::test]
async fn a_function_slower_than_the_gateway_waits_is_answered_by_the_gateway() {
    let mut config = config();
    config.functions[0].latency = Duration::from_hours(1);
    let place = Place::with(Config { gateway_timeout: Duration::from_millis(50), ..config }).await;
    let seen = invoke(&place, &[]).await;
    seen.assert_error(504, "APIG.0201", "Backend timeout.");
    assert_eq!(seen.json()["request_id"].as_str(), seen.header("x-request-id"));
    assert_eq!(place.emulator.ledger().len(), 1, "it runs on all the same");
}

#[tokio::test]
async fn an_event_may_be_larger_than_an_asynchronous_one() {
    let place = place(|_| {}).await;
    let event = |length: usize| format!(r#"{{"k":"{}"}}"#, "x".repeat(length - 8));
    let limit = 6 * 1024 * 1024;
    assert_eq!(Seen::of(place.post("hello", "invocations", &event(limit))).await.status, 200);
    let large = Seen::of(place.post("hello", "invocations", &event(limit + 1))).await;
    large.assert_error(413, "FSS.0413", "The request body is too large.");
}

#[tokio::test]
async fn a_fault_after_acceptance_spoils_only_the_answer() {
    let place = place(|_| {}).await;
    place.emulator.add_fault(fault(When::Next(1), Action::TruncatedBody));
    let response = place.post("hello", "invocations", "{}").send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.text().await.unwrap_err();
    place.emulator.add_fault(fault(When::Next(1), Action::DropAfter));
    place.post("hello", "invocations", "{}").send().await.unwrap_err();
    assert_eq!(place.emulator.ledger().len(), 2);
}
