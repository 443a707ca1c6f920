//! Each fault: the client's result, and whether the event was accepted.

use functiongraph::{Credential, SendError};
use functiongraph_emulator::{Action, Config, ErrorAnswer, Fault, OddBody, When};
use http::StatusCode;
use serde_json::json;
use std::time::Duration;
use tokio::time::timeout;

use crate::support::{Place, Seen, TOKEN, config, fault, now};

impl Place {
    async fn failing(action: Action) -> Self {
        let place = Self::new().await;
        place.emulator.add_fault(fault(When::Next(1), action));
        place
    }

    /// After a single fault: the connection pool is intact and the next submission is accepted.
    async fn recovers(&self, accepted_so_far: usize) {
        assert_eq!(self.emulator.ledger().len(), accepted_so_far);
        assert_eq!(self.submit("hello", "{}").await.status, 202);
        assert_eq!(self.emulator.ledger().len(), accepted_so_far + 1);
    }
}

#[tokio::test]
async fn an_error_is_answered_and_nothing_is_accepted() {
    let place = Place::failing(Action::Status(ErrorAnswer::of(StatusCode::SERVICE_UNAVAILABLE))).await;
    place.submit("hello", "{}").await.assert_error(503, "FSS.0503", "Service unavailable.");
    place.recovers(0).await;
}

#[tokio::test]
async fn an_error_can_be_worded_and_dressed_as_one_likes() {
    let mut error = ErrorAnswer::of(StatusCode::TOO_MANY_REQUESTS);
    error.error_code = Some("FSS.0429".into());
    error.error_msg = Some("api is busy now".into());
    error.retry_after = Some("3".into());
    let place = Place::failing(Action::Status(error)).await;
    let seen = place.submit("hello", "{}").await;
    seen.assert_error(429, "FSS.0429", "api is busy now");
    assert_eq!(seen.header("retry-after"), Some("3"));

    let mut page = ErrorAnswer::of(StatusCode::BAD_GATEWAY);
    page.body = Some("<h1>Bad Gateway</h1>".into());
    place.emulator.add_fault(fault(When::Next(1), Action::Status(page)));
    let seen = place.submit("hello", "{}").await;
    assert_eq!((seen.status, &*seen.text), (502, "<h1>Bad Gateway</h1>"));
    assert_eq!(seen.header("content-type"), Some("text/html"));
}

#[tokio::test]
async fn a_connection_cut_before_acceptance_leaves_no_trace() {
    let place = Place::failing(Action::DropBefore).await;
    place.submission("hello", "{}").send().await.unwrap_err();
    place.recovers(0).await;
    assert_eq!(place.emulator.requests().answered.into_iter().collect::<Vec<_>>(), [(202, 1)]);
}

#[tokio::test]
async fn a_connection_cut_after_acceptance_leaves_an_entry() {
    let place = Place::failing(Action::DropAfter).await;
    place.submission("hello", "{}").send().await.unwrap_err();
    place.recovers(1).await;
}

#[tokio::test]
async fn a_cut_is_a_reset_that_the_client_takes_for_an_interruption() {
    let place = Place::failing(Action::DropAfter).await;
    let token = Credential::token(TOKEN.to_owned()).unwrap();
    let error = place.submit_with(token, now()).await.unwrap_err();
    assert!(matches!(&error, SendError::Interrupted(cause) if cause.contains("reset")), "{error:?}");
    assert_eq!(place.emulator.ledger().len(), 1);
}

#[tokio::test]
async fn an_accepted_event_can_be_answered_with_an_error() {
    let place = Place::failing(Action::AcceptThen(ErrorAnswer::of(StatusCode::GATEWAY_TIMEOUT))).await;
    place.submit("hello", "{}").await.assert_error(504, "FSS.0504", "Gateway timeout.");
    let mut page = ErrorAnswer::of(StatusCode::GATEWAY_TIMEOUT);
    page.body = Some(r#"{"request":{"event":{}}}"#.into());
    page.content_type = Some("application/json".into());
    place.emulator.add_fault(fault(When::Next(1), Action::AcceptThen(page)));
    let seen = place.submit("hello", "{}").await;
    assert_eq!((seen.status, &*seen.text), (504, r#"{"request":{"event":{}}}"#));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    place.recovers(2).await;
}

#[tokio::test]
async fn an_answer_can_break_off_after_its_status() {
    let place = Place::failing(Action::TruncatedBody).await;
    let response = place.submission("hello", "{}").send().await.unwrap();
    assert_eq!(response.status(), 202);
    assert_eq!(response.content_length(), Some(53));
    response.text().await.unwrap_err();
    place.emulator.add_fault(fault(When::Next(1), Action::TruncatedBody));
    let token = Credential::token(TOKEN.to_owned()).unwrap();
    assert_eq!(place.submit_with(token, now()).await.unwrap().status, 202);
    place.recovers(2).await;
}

#[tokio::test]
async fn a_delay_holds_back_the_answer_of_an_event_that_is_accepted_at_once() {
    let place = Place::failing(Action::Delay(Duration::from_hours(1))).await;
    let request = place.submission("hello", "{}").send();
    tokio::pin!(request);
    // No answer arrives before or after the entry in the ledger.
    while place.emulator.ledger().is_empty() {
        assert!(timeout(Duration::from_millis(5), &mut request).await.is_err());
    }
    assert!(timeout(Duration::from_millis(5), &mut request).await.is_err());

    place.emulator.add_fault(fault(When::Next(1), Action::Delay(Duration::from_millis(300))));
    let begun = now();
    assert_eq!(place.submit("hello", "{}").await.status, 202);
    assert!(now().duration_since(begun).as_millis() >= 250, "the wall clock may run a little slower");
}

#[tokio::test]
async fn a_function_can_be_slow_to_answer_without_any_fault() {
    let mut config = config();
    config.functions[0].answer_latency = Duration::from_hours(1);
    let place = Place::with(Config { ..config }).await;
    let request = place.submission("hello", "{}").send();
    tokio::pin!(request);
    while place.emulator.ledger().is_empty() {
        assert!(timeout(Duration::from_millis(5), &mut request).await.is_err());
    }
}

#[tokio::test]
async fn a_request_can_hang_with_or_without_being_accepted() {
    for (accept, entries) in [(false, 0), (true, 1)] {
        let place = Place::failing(Action::Hang { accept }).await;
        let request = place.submission("hello", "{}").send();
        tokio::pin!(request);
        while place.emulator.faults()[0].fired == 0 {
            assert!(timeout(Duration::from_millis(5), &mut request).await.is_err());
        }
        assert!(timeout(Duration::from_millis(100), request).await.is_err());
        place.recovers(entries).await;
    }
}

#[tokio::test]
async fn an_error_after_the_acceptance_has_the_body_that_was_asked_for() {
    let text = r#"{"status":504,"body":"<h1>{authorization}</h1>","retryAfter":"7"}"#;
    let answer: ErrorAnswer = serde_json::from_str(text).unwrap();
    let place = Place::failing(Action::AcceptThen(answer)).await;
    let seen = place.submit("hello", "{}").await;
    assert_eq!((seen.status, &*seen.text, seen.header("retry-after")), (504, "<h1></h1>", Some("7")));
    assert_eq!(seen.header("content-type"), Some("text/html"));
    assert_eq!(place.emulator.ledger().len(), 1);
}

#[tokio::test]
async fn a_redirect_is_answered_and_nothing_is_accepted() {
    let place = Place::failing(Action::Redirect { location: "https://elsewhere.example/".into() }).await;
    let seen = place.submit("hello", "{}").await;
    assert_eq!((seen.status, seen.header("location")), (307, Some("https://elsewhere.example/")));
    place.recovers(0).await;
}

#[tokio::test]
async fn every_odd_answer_is_a_202_to_an_accepted_event() {
    let place = Place::new().await;
    let odd = async |kind| {
        place.emulator.add_fault(fault(When::Next(1), Action::OddBody { kind }));
        let seen = place.submit("hello", "{}").await;
        place.emulator.clear_faults();
        assert_eq!(seen.status, 202);
        (seen, place.emulator.ledger().last().unwrap().request_id.clone())
    };
    let id_header = |seen: &Seen| seen.header("x-cff-request-id").map(str::to_owned);

    let (seen, _) = odd(OddBody::NoId).await;
    assert_eq!((seen.json(), id_header(&seen)), (json!({}), None));
    let (seen, id) = odd(OddBody::BothIds).await;
    assert_eq!(seen.json(), json!({ "request_id": id, "request-id": id }));
    let (seen, _) = odd(OddBody::IdAsNumber).await;
    assert!(seen.json()["request_id"].is_number());
    assert_eq!(id_header(&seen), None);
    let (seen, _) = odd(OddBody::Empty).await;
    assert_eq!((&*seen.text, id_header(&seen)), ("", None));
    let (seen, _) = odd(OddBody::Html).await;
    assert_eq!(seen.header("content-type"), Some("text/html"));
    assert!(seen.text.starts_with("<html>"));
    let (seen, id) = odd(OddBody::Huge).await;
    assert!(seen.text.len() > 1024 * 1024);
    assert_eq!((seen.json()["request_id"].as_str(), id_header(&seen)), (Some(&*id), None));
    let (seen, id) = odd(OddBody::IdInHeaderOnly).await;
    assert_eq!((seen.json(), id_header(&seen)), (json!({}), Some(id)));
    assert_eq!(place.emulator.ledger().len(), 7);
}

#[tokio::test]
async fn a_fault_of_one_function_hits_only_that_one() {
    let place = Place::new().await;
    assert!(place.emulator.set_disabled("off", false));
    place.emulator.add_fault(Fault::new(When::Forever, Action::DropBefore).on("off"));
    assert_eq!(place.submit("hello", "{}").await.status, 202);
    place.submission("off", "{}").send().await.unwrap_err();
    place.emulator.clear_faults();
    assert_eq!(place.submit("off", "{}").await.status, 202);
}
