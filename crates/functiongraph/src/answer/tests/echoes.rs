//! Error pages that repeat the request: the author of an event must not decide how an answer is read.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::answer::Verdict;

const KINDS: [Kind; 3] = [Kind::Async, Kind::Reserved, Kind::Sync { log_tail: true }];

/// Every code and every message that has a meaning with some status.
const CODES: [&str; 7] =
    ["APIG.0308", "APIGW.0308", "APIG.0301", "APIG.0305", "APIGW.0307", "FSS.1118", "FSS.0429"];
const MESSAGES: [&str; 3] =
    ["Function Disabled", "invalid token", "AK access failed to reach the limit,forbidden"];

/// What the answer means for each kind of invocation and each kind of credential.
fn verdicts(status: u16, body: &[u8]) -> Vec<Verdict> {
    let of = |kind| {
        let read = Answer::from_parts(kind, Protocol::V2, status, &HeaderMap::new(), body);
        [read.verdict(kind, AccessKey), read.verdict(kind, Token)]
    };
    KINDS.into_iter().flat_map(of).collect()
}

/// Whether this status means that the event was not accepted, whatever the body says.
fn is_refusal(status: u16) -> bool {
    matches!(status, 300..=407 | 409..=499 | 503)
}

/// An event that looks like an error in every spelling.
fn event() -> impl Strategy<Value = Value> {
    (prop::sample::select(&CODES[..]), prop::sample::select(&MESSAGES[..])).prop_map(|(code, message)| {
        json!({
            "error_code": code, "error_msg": message, "errorCode": code, "errorMsg": message,
            "code": code, "message": message, "request_id": "r", "error": {"code": code, "message": message},
        })
    })
}

/// A page that holds the event anywhere except where the service writes its errors.
fn page() -> impl Strategy<Value = String> {
    let inner = event().prop_recursive(4, 16, 3, |inner| {
        let names = prop::sample::select(vec!["request", "event", "details", "data", "error", "body"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(Value::from),
            (names, inner.clone()).prop_map(|(name, inner)| json!({ name: inner })),
            inner.prop_map(|inner| inner.to_string().into()),
        ]
    });
    (prop::sample::select(vec!["request", "event", "details", "data", "body", "errors"]), inner, 0..6)
        .prop_map(|(name, inner, form)| match form {
            0 => json!({ name: inner }).to_string(),
            1 => json!({ "status": 500, name: inner, "path": "/v2" }).to_string(),
            2 => json!([inner]).to_string(),
            3 => json!({ "error": [inner], "error_code": {}, "message": null }).to_string(),
            4 => format!("<html>JavaScript is disabled. Your function said: {inner}</html>"),
            _ => format!("{inner} was refused"),
        })
}

/// Any body: pages, the event itself, errors of the service, and arbitrary text.
fn body() -> impl Strategy<Value = String> {
    prop_oneof![
        page(),
        event().prop_map(|event| event.to_string()),
        event().prop_map(|event| json!({ "error": event }).to_string()),
        "\\PC{0,40}",
    ]
}

#[test]
fn an_event_that_is_repeated_in_an_error_page_decides_nothing() {
    use Verdict::{Ambiguous, Refused, Throttled, Unavailable};
    let somebody = Unavailable { by_the_service: false };
    for (status, body, verdict) in [
        (504, r#"{"request":{"event":{"tag":"x","code":"APIG.0308"}}}"#, Ambiguous),
        (500, r#"{"event":{"code":"APIG.0308"}}"#, Ambiguous),
        (408, r#"{"error_code":"APIG.0308"}"#, Ambiguous),
        (500, r#"{"error_code":"APIG.0308","error_msg":"m"}"#, Ambiguous),
        (502, r#"{"error":{"code":"APIG.0308"}}"#, Ambiguous),
        (200, r#"{"error_code":"APIG.0308"}"#, Ambiguous),
        (404, r#"{"event":{"code":"APIG.0301"}}"#, Refused),
        (404, r#"{"code":"APIG.0301"}"#, Refused),
        (404, r#"{"error_code":"APIG.0307","error_msg":"The token must be updated"}"#, Refused),
        (403, r#"{"event":{"error_code":"APIG.0301"}}"#, Refused),
        (403, r#"{"request":{"error_code":"FSS.0403","error_msg":"invalid token"}}"#, Refused),
        (403, r#"{"message":"invalid token"}"#, Refused),
        (403, "you sent: invalid token", Refused),
        (403, r#"{"error_code":"MINE.1","error_msg":"AK access failed to reach the limit"}"#, Refused),
        (503, r#"{"event":{"code":"FSS.1"}}"#, somebody),
        (503, r#"{"errors":[{"error_code":"FSS.1"}]}"#, somebody),
        (429, "<html>JavaScript is disabled</html>", Throttled),
        (429, r#"{"error_code":"FSS.0429","error_msg":"JavaScript is disabled"}"#, Throttled),
        (429, r#"{"error_msg":"Function Disabled"}"#, Throttled),
        (429, r#"{"event":{"error_code":"FSS.0429","error_msg":"Function Disabled"}}"#, Throttled),
        (429, r#"{"error_code":"FSS.0429","error_msg":"Function Disabled"#, Throttled),
    ] {
        for credential in [AccessKey, Token] {
            assert_eq!(answer(status, body).verdict(Kind::Async, credential), verdict, "{status} {body}");
        }
    }
}

proptest! {
    #[test]
    fn fields_below_an_error_of_the_service_mean_nothing(status in 0_u16..700, page in page()) {
        prop_assert_eq!(verdicts(status, page.as_bytes()), verdicts(status, b""), "{} {}", status, page);
    }

    #[test]
    fn the_status_alone_says_whether_it_may_have_been_accepted(status in 0_u16..700, body in body()) {
        for (verdict, empty) in verdicts(status, body.as_bytes()).into_iter().zip(verdicts(status, b"")) {
            let may_be = |verdict| matches!(verdict, Verdict::Accepted | Verdict::Ambiguous);
            prop_assert_eq!(!may_be(verdict), is_refusal(status), "{} {}", status, body);
            if may_be(verdict) {
                prop_assert_eq!(verdict, empty, "{} {}", status, body);
            }
        }
    }
}
