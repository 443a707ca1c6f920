//! Listing and cancelling what was submitted.

use std::collections::BTreeMap;
use std::time::Duration;

use functiongraph_emulator::Failure;
use serde_json::{Value, json};

use crate::driver::{Called, Language, Sdk};
use crate::place::{Place, hello, only_hello};

fn ids(fields: &Value) -> Vec<&str> {
    fields["invocations"].as_array().unwrap().iter().map(|r| r["request_id"].as_str().unwrap()).collect()
}

/// Cancels a request. The documented answer is `null`, on which the SDK for Node throws.
#[track_caller]
fn cancelled(sdk: &mut Sdk, parameters: &Value) {
    match (sdk.language, sdk.call("CancelAsyncInvocation", parameters)) {
        (Language::Node, Called::Threw { threw }) => assert!(threw.contains("properties of null"), "{threw}"),
        (_, Called::Done { status: 200, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_read_with_its_state_its_times_and_its_error() {
    for language in Language::ALL {
        let mut place = Place::new(language, |f| f.failure = Some(Failure::new(4002, "raised"))).await;
        let id = place.submit();
        let fields = place.sdk.done(200, "ListAsyncInvocations", &hello(json!({"request_id": id})));
        assert_eq!((&fields["count"], &fields["next_marker"]), (&json!(1), &json!(0)), "{language}");
        let record = &fields["invocations"][0];
        assert_eq!(record["request_id"], *id, "{language}");
        assert_eq!((&record["status"], &record["error_code"]), (&json!("FAIL"), &json!(4002)), "{language}");
        assert_eq!(record["error_message"], "raised", "{language}");
        for time in ["start_time", "end_time"] {
            assert!(record[time].as_str().is_some_and(|time| time.starts_with("20")), "{language}: {record}");
        }
        let nothing = place.sdk.done(200, "ListAsyncInvocations", &hello(json!({"request_id": "nope"})));
        assert_eq!(nothing["invocations"], json!([]), "{language}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_started_is_read_without_times() {
    for language in Language::ALL {
        let mut place = Place::new(language, |f| f.queue_latency = Duration::from_hours(1)).await;
        place.submit();
        let fields = place.sdk.done(200, "ListAsyncInvocations", &only_hello());
        let record = &fields["invocations"][0];
        assert_eq!(record["status"], "WAIT", "{language}");
        assert_eq!((record.get("start_time"), record.get("end_time")), (None, None), "{language}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_states_and_windows_are_asked_for_as_the_sdk_writes_them() {
    for language in Language::ALL {
        let mut place = Place::new(language, |_| {}).await;
        let submitted: Vec<String> = (0..5).map(|_| place.submit()).collect();
        let (mut listed, mut marker) = (Vec::new(), json!(0));
        loop {
            let page = hello(json!({"limit": "2", "marker": marker.to_string()}));
            let fields = place.sdk.done(200, "ListAsyncInvocations", &page);
            listed.extend(ids(&fields).into_iter().map(str::to_owned));
            marker = fields["next_marker"].clone();
            if marker == 0 {
                break;
            }
        }
        assert_eq!(listed, submitted, "{language}");

        let cases = [
            (json!({"status": "SUCCESS"}), 5),
            (json!({"status": "RUNNING"}), 0),
            (json!({"query_begin_time": "2020-01-02T03:04:05"}), 5),
            (json!({"query_begin_time": "2020-01-02T03:04:05", "query_end_time": "2020-01-02T03:04:06"}), 0),
        ];
        for (asked, found) in cases {
            let fields = place.sdk.done(200, "ListAsyncInvocations", &hello(asked.clone()));
            assert_eq!(ids(&fields).len(), found, "{language}: {asked}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn active_ones_are_listed_until_they_are_cancelled() {
    for language in Language::ALL {
        let mut place = Place::new(language, |f| f.latency = Duration::from_hours(1)).await;
        let (first, second, third) = (place.submit(), place.submit(), place.submit());
        let some = hello(json!({"requests": format!("{first},{second}")}));
        let fields = place.sdk.done(200, "ListActiveAsyncInvocations", &some);
        assert_eq!(ids(&fields), [&first, &second], "{language}");

        let cancel = hello(json!({"body": {"request_id": first, "type": "force"}}));
        cancelled(&mut place.sdk, &cancel);
        let plain = hello(json!({"body": {"request_id": second}}));
        cancelled(&mut place.sdk, &plain);
        let fields = place.sdk.done(200, "ListActiveAsyncInvocations", &only_hello());
        assert_eq!(ids(&fields), [&third], "{language}");

        let all = place.sdk.done(200, "ListAsyncInvocations", &only_hello());
        let states: BTreeMap<&str, &Value> =
            ids(&all).into_iter().zip(all["invocations"].as_array().unwrap()).collect();
        for ended in [&first, &second] {
            let record = states[&**ended];
            assert_eq!(
                (&record["status"], &record["error_code"]),
                (&json!("FAIL"), &json!(4208)),
                "{language}"
            );
            assert_eq!(record["error_message"], "function invocation canceled", "{language}");
        }

        let Called::Refused { status, code, message, .. } = place.sdk.call("CancelAsyncInvocation", &cancel)
        else {
            panic!("{language}: cancelled twice");
        };
        assert_eq!(
            (status, code.as_deref(), &*message),
            (400, Some("FSS.0400"), "Invalid RequestId"),
            "{language}"
        );
    }
}
