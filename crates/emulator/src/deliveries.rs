//! What was sent to the destinations of asynchronous invocations.

use std::collections::BTreeMap;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Value, json};

use crate::answer::zoned;
use crate::config::Receiver;
use crate::executions::{Execution, Finished, Outcome, Progress};

/// One event for a destination.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Delivery {
    pub(crate) time: Timestamp,
    /// The function and the request that have ended.
    pub(crate) function: String,
    pub(crate) request_id: String,
    pub(crate) destination: Receiver,
    /// The parameters of the destination, as they were set.
    pub(crate) param: String,
    /// What the destination gets.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub(crate) event: Value,
    /// The id of the invocation that came of it, if the destination is a function that exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) invocation: Option<String>,
}

/// All deliveries, in their order.
#[derive(Debug, Default)]
pub(crate) struct Deliveries(Mutex<Vec<Delivery>>);

impl Deliveries {
    pub(crate) fn add(&self, delivery: Delivery) {
        self.0.lock().push(delivery);
    }

    pub(crate) fn list(&self) -> Vec<Delivery> {
        self.0.lock().clone()
    }

    /// The deliveries of each request, by its id.
    pub(crate) fn by_request(&self) -> BTreeMap<String, Vec<Delivery>> {
        let mut each = BTreeMap::<_, Vec<_>>::new();
        for delivery in self.list() {
            each.entry(delivery.request_id.clone()).or_default().push(delivery);
        }
        each
    }

    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }
}

/// The delivery of an execution that has ended, in the documented form.
pub(crate) fn of(finished: &Finished, now: Timestamp) -> Delivery {
    let Finished { execution, destination } = finished;
    let Execution { event, progress, attempts, output, .. } = execution;
    let read = |bytes: &[u8]| {
        serde_json::from_slice::<Value>(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into())
    };
    let failure = match progress {
        Progress::Ended { outcome: Outcome::Fail(failure), .. } => Some(failure),
        _ => None,
    };
    let condition = match progress {
        Progress::Ended { outcome: Outcome::Success, .. } => "Success",
        Progress::Ended { outcome: Outcome::Discard, .. } => "EventAgeExceeded",
        _ => "RetriesExhausted",
    };
    let response = match (failure, output) {
        (_, Some(output)) if !output.result.is_empty() => read(&output.result),
        (Some(failure), _) => json!({ "errorMessage": failure.message }),
        (None, _) => Value::Null,
    };
    let body = json!({
        "timestamp": zoned(now),
        "request_context": {
            "request_id": event.request_id,
            "function_urn": event.urn,
            "condition": condition,
            "approximate_invoke_count": attempts.len(),
        },
        "request_payload": read(&event.body),
        "response_context": {
            "status_code": if condition == "Success" { 200 } else { 500 },
            "function_error": failure.map_or("", |failure| &failure.message),
        },
        "response_payload": response,
    });
    Delivery {
        time: now,
        function: event.urn.clone(),
        request_id: event.request_id.clone(),
        destination: destination.destination,
        param: destination.param.clone(),
        event: body,
        invocation: None,
    }
}
