//! T14: whatever stands in an object, it is read, judged without a panic, and never sent again on the strength of
//! something that was not understood.
#![cfg_attr(feature = "search", no_main)]

use std::time::Duration;

use functiongraph_fuzz::fuzz_target;
use functiongraph_operator::api::invocation::{DeliveryPolicy, FunctionInvocation};
use functiongraph_operator::lifecycle::{
    Moment, Progress, State, Step, Target, View, decide, display, record,
};
use jiff::Timestamp;
use serde_json::{Value, json};

const HOLDER: &str = "0123456789abcdef0123456789abcdef";

// A status as JSON, or an object with `spec` and `status`.
fuzz_target!(|bytes: &[u8]| {
    let Ok(read @ Value::Object(_)) = serde_json::from_slice::<Value>(bytes) else { return };
    let mut whole = json!({
        "apiVersion": "functiongraph.io/v1alpha1", "kind": "FunctionInvocation", "metadata": {"name": "a"},
        "spec": {"function": {"name": "f"}},
    });
    if read.get("spec").is_some_and(Value::is_object) {
        whole["spec"] = read["spec"].clone();
        whole["status"] = read["status"].clone();
        whole["metadata"]["annotations"] = json!({"functiongraph.io/resolve": read["resolve"]});
        if !read["resolve"].is_string() {
            whole["metadata"] = json!({"name": "a"});
        }
    } else {
        whole["status"] = read.clone();
    }
    // A spec that cannot be read is told to its owner; a status is always read.
    let object: FunctionInvocation = match serde_json::from_value(whole.clone()) {
        Ok(object) => object,
        Err(error) => {
            assert!(read.get("spec").is_some(), "a status cannot be read: {error}");
            return;
        }
    };
    let written = &whole["status"];
    let now = Timestamp::UNIX_EPOCH + Duration::from_hours(500_000);
    let _ = display(&object.spec);
    let target = Target { endpoint: "https://f".into(), urn: "urn".into(), event_version: "sha256:e".into() };

    for listed in [false, true] {
        let view = View::of(&object, listed);
        let state = State::of(view.status);
        let again = serde_json::to_value(view.status)
            .and_then(serde_json::from_value)
            .expect("what we read we can write");
        assert_eq!(State::of(&again), state, "a state survives being written");

        let attempt = &written["attempt"];
        let never_accepted = ["Rejected", "NotSent"].iter().any(|state| attempt["state"] == **state);
        let in_doubt = attempt["state"] == "Ambiguous"
            && (object.spec.delivery_policy == DeliveryPolicy::AtLeastOnce || view.resolve == Some("Retry"));
        let may_be_sent = attempt.is_null() || never_accepted || in_doubt;
        for progress in
            [Progress::Nothing, Progress::Returned, Progress::Sent, Progress::Answered, Progress::Saved]
        {
            for unchanged_for in [Duration::ZERO, Duration::from_hours(1), Duration::MAX] {
                let moment = Moment { now, holder: HOLDER, progress, unchanged_for, looked_up: !listed };
                let step = decide(&view, &moment);
                if let Step::Invoke { number } = step {
                    assert!(may_be_sent, "{written} is sent again");
                    let claimed = record::claimed(&view, number, HOLDER, &target, now);
                    assert_eq!(State::of(&claimed), State::Claimed { number, holder: HOLDER.into() });
                }
                if let Step::Conclude(conclusion) = &step {
                    let concluded = record::concluded(&view, conclusion, now);
                    assert!(
                        matches!(State::of(&concluded), State::Finished(_)),
                        "{conclusion:?} does not end it"
                    );
                }
            }
        }
        if let State::Finished(outcome) = state {
            assert_eq!(written["outcome"], outcome.as_str());
        }
    }
});
