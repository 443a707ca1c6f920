//! Refusals, as the exceptions of the SDKs show them.

use std::num::NonZeroU32;

use functiongraph_emulator::{Action, ErrorAnswer, Fault, RateLimit, RetryAfter, When};
use http::StatusCode;
use serde_json::{Value, json};

use crate::driver::{Called, Language, Sdk};
use crate::place::{Place, hello, only_hello, urn};

/// Makes a call that the service refuses with these three fields and with a request id.
#[track_caller]
fn refused(sdk: &mut Sdk, call: &str, parameters: &Value, expected: (u16, &str, &str)) {
    let called = sdk.call(call, parameters);
    let Called::Refused { status, code: Some(code), message, request_id: Some(id) } = &called else {
        panic!("{}, {call}: {called:?}", sdk.language);
    };
    assert_eq!((*status, &**code, &**message), expected, "{}, {call}", sdk.language);
    assert_eq!(id.len(), 32, "{}, {call}: {id}", sdk.language);
}

/// An event of about this size.
fn large(bytes: usize) -> Value {
    hello(json!({"body": {"k": "x".repeat(bytes)}}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_401_and_another_project_403() {
    for language in Language::ALL {
        let place = Place::new(language, |_| {}).await;
        let gateway = |message| format!("Incorrect IAM authentication information: {message}");
        let cases = [
            ([("SDK_AK", "AK"), ("SDK_SK", "WRONG")], "verify aksk signature fail"),
            ([("SDK_AK", "NOBODY"), ("SDK_SK", "SK")], "Get secretKey failed,ak:NOBODY,err:ak not exist"),
        ];
        let event = hello(json!({"body": {}}));
        for (credentials, message) in cases {
            let mut sdk = place.other(&credentials);
            refused(&mut sdk, "AsyncInvokeFunction", &event, (401, "APIG.0301", &gateway(message)));
        }
        let mut sdk = place.other(&[("SDK_AK", "AK"), ("SDK_SK", "SK"), ("SDK_PROJECT", "other")]);
        for (call, parameters) in [("AsyncInvokeFunction", &event), ("ListAsyncInvocations", &only_hello())] {
            refused(&mut sdk, call, parameters, (403, "FSS.0403", "Forbidden"));
        }
        assert!(place.emulator.ledger().is_empty(), "{language}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_404() {
    for language in Language::ALL {
        let mut place = Place::new(language, |_| {}).await;
        let cases = [
            ("nope", "FSS.0404", "function 'nope' not exist"),
            ("hello:v9", "FSS.1052", "Not found the function version"),
            ("hello:!nope", "FSS.1053", "Not found the function alias"),
        ];
        for (function, code, message) in cases {
            let parameters = json!({"function_urn": urn(function), "body": {}});
            refused(&mut place.sdk, "AsyncInvokeFunction", &parameters, (404, code, message));
        }
        let nope = json!({"function_urn": urn("nope")});
        refused(&mut place.sdk, "ListAsyncInvocations", &nope, (404, "FSS.0404", "can not find function"));
        refused(&mut place.sdk, "ShowFunctionConfig", &nope, (404, "FSS.1051", "Not found the function"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_size_of_memory_is_406_and_too_large_an_event_413() {
    for language in Language::ALL {
        let mut place = Place::new(language, |function| function.dynamic_memory = true).await;
        let memory = hello(json!({"X-Cff-Instance-Memory": "100", "body": {}}));
        refused(&mut place.sdk, "AsyncInvokeFunction", &memory, (406, "FSS.0406", "Not acceptable."));
        let too_large = (413, "FSS.0413", "The request body is too large.");
        refused(&mut place.sdk, "AsyncInvokeFunction", &large(256 * 1024), too_large);
        refused(&mut place.sdk, "InvokeFunction", &large(6 * 1024 * 1024), too_large);
        let too_many_bytes = (413, "APIG.0201", "Request entity too large");
        refused(&mut place.sdk, "InvokeFunction", &large(12 * 1024 * 1024), too_many_bytes);
        assert!(place.emulator.ledger().is_empty(), "{language}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_429_is_told_apart_by_code_and_message() {
    for language in Language::ALL {
        let mut place = Place::new(language, |_| {}).await;
        let event = hello(json!({"body": {}}));
        assert!(place.emulator.set_disabled("hello", true));
        refused(&mut place.sdk, "AsyncInvokeFunction", &event, (429, "FSS.0429", "Function Disabled"));
        assert!(place.emulator.set_disabled("hello", false));
        let requests_per_second = NonZeroU32::MIN;
        let limit = RateLimit { requests_per_second, burst: None, retry_after: Some(RetryAfter::Seconds(1)) };
        place.emulator.set_rate_limit(Some(limit));
        let throttled = until_refused(&mut place.sdk, "AsyncInvokeFunction", &event);
        let message =
            "The throttling threshold has been reached: policy user over ratelimit,limit:1,time:1 second";
        assert_eq!(throttled, (429, "APIG.0308".to_owned(), message.to_owned()), "{language}");
        let (status, code, _) = until_refused(&mut place.sdk, "ListAsyncInvocations", &only_hello());
        // The SDK for Python retries a throttled GET as a failure of its own, and never reads the answer.
        let expected = if language == Language::Python { "429" } else { "APIG.0308" };
        assert_eq!((status, &*code), (429, expected), "{language}");
    }
}

/// Makes calls until the rate limit is reached, because on a slow machine the second call may be too late.
fn until_refused(sdk: &mut Sdk, call: &str, parameters: &Value) -> (u16, String, String) {
    loop {
        if let Called::Refused { status, code, message, .. } = sdk.call(call, parameters) {
            return (status, code.unwrap(), message);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_service_come_with_their_parts_and_without_a_second_try() {
    for language in Language::ALL {
        let mut place = Place::new(language, |_| {}).await;
        let cases = [
            (500, "FSS.0500", "Internal server error."),
            (502, "FSS.0502", "Bad gateway."),
            (503, "FSS.0503", "Service unavailable."),
            (504, "FSS.0504", "Gateway timeout."),
        ];
        for (number, (status, code, message)) in (1..).zip(cases) {
            let answer = ErrorAnswer::of(StatusCode::from_u16(status).unwrap());
            let fault = Fault::new(When::Next(1), Action::AcceptThen(answer));
            place.emulator.add_fault(fault);
            let event = hello(json!({"body": {}}));
            refused(&mut place.sdk, "AsyncInvokeFunction", &event, (status, code, message));
            assert_eq!(place.emulator.ledger().len(), number, "{language}: accepted once, whatever was said");
        }
    }
}
