//! Asynchronous and synchronous invocations.

use functiongraph_emulator::{Api, Failure};
use serde_json::json;

use crate::driver::{Called, Language, sha256};
use crate::place::{Place, hello, urn};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_accepted_byte_for_byte_as_the_sdk_wrote_it() {
    // Python writes a space after every colon. Go ends the body with a line feed, and signs it.
    for (language, body) in [
        (Language::Python, "{\"k\": \"v\"}"),
        (Language::Go, "{\"k\":\"v\"}\n"),
        (Language::Node, "{\"k\":\"v\"}"),
    ] {
        let mut place = Place::new(language, |_| {}).await;
        let id = place.submit();
        let ledger = place.emulator.ledger();
        assert_eq!(ledger.len(), 1, "{language}");
        assert_eq!((&ledger[0].request_id, ledger[0].api), (&id, Api::InvokeAsync), "{language}");
        assert_eq!(ledger[0].body_sha256, sha256(body.as_bytes()), "{language}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_aliases_memory_and_temporary_keys_are_understood() {
    for language in Language::ALL {
        let place = Place::new(language, |function| function.dynamic_memory = true).await;
        let temporary = [("SDK_AK", "TEMPORARY"), ("SDK_SK", "SK"), ("SDK_SECURITY_TOKEN", "st")];
        let mut sdk = place.other(&temporary);
        for function in ["hello", "hello:latest", "hello:v1", "hello:!prod"] {
            let parameters = json!({"function_urn": urn(function), "X-Cff-Instance-Memory": "512", "body": {"ä": [1, null]}});
            sdk.done(202, "AsyncInvokeFunction", &parameters);
        }
        let ledger = place.emulator.ledger();
        let urns: Vec<&str> = ledger.iter().map(|entry| &*entry.function).collect();
        assert_eq!(urns, ["hello:latest", "hello:latest", "hello:v1", "hello:!prod"].map(urn), "{language}");
        assert!(ledger.iter().all(|entry| entry.instance_memory.as_deref() == Some("512")), "{language}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_envelope_of_version_one_fills_every_field() {
    for language in Language::ALL {
        let mut place = Place::new(language, |function| {
            function.result = Some(json!({"answer": 42}));
            function.log = "thinking".to_owned();
        })
        .await;
        let parameters = json!({"X-CFF-Request-Version": "v1", "X-Cff-Log-Type": "tail", "body": {}});
        let fields = place.sdk.done(200, "InvokeFunction", &hello(parameters));
        let id = &place.emulator.ledger()[0].request_id;
        assert_eq!(
            (&fields["request_id"], &fields["X-Cff-Request-Id"]),
            (&json!(id), &json!(id)),
            "{language}"
        );
        assert_eq!(
            (&fields["result"], &fields["status"]),
            (&json!(r#"{"answer":42}"#), &json!(200)),
            "{language}"
        );
        assert!(fields["log"].as_str().unwrap().contains("\nthinking\n"), "{language}: {fields}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_version_text_means_empty_fields_to_python_and_an_error_to_the_others() {
    for language in Language::ALL {
        let mut place = Place::new(language, |function| function.result = Some("done".into())).await;
        let called = place.sdk.call("InvokeFunction", &hello(json!({"body": {"k": 1}})));
        let id = &place.emulator.ledger()[0].request_id;
        match (language, called) {
            (Language::Python, Called::Done { status: 200, fields }) => {
                assert_eq!(fields, json!({"X-Cff-Request-Id": id}));
            }
            (Language::Go, Called::Refused { status: 200, message, .. }) => {
                assert!(message.contains("found d"), "{message}");
            }
            (Language::Node, Called::Threw { threw }) => {
                assert!(threw.starts_with("Cannot create property"), "{threw}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_fails_is_a_success_with_an_unhappy_status_inside() {
    for language in Language::ALL {
        let mut place =
            Place::new(language, |function| function.failure = Some(Failure::new(4002, "no"))).await;
        let parameters = hello(json!({"X-CFF-Request-Version": "v1", "body": {}}));
        let fields = place.sdk.done(200, "InvokeFunction", &parameters);
        assert_eq!(fields["status"], 500, "{language}");
        assert!(
            fields["result"].as_str().unwrap().contains(r#""errorMessage":"no""#),
            "{language}: {fields}"
        );
    }
}
