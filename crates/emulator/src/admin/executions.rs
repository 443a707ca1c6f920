//! `GET /admin/executions`: what happened to every event, newest first.

use std::cmp::Reverse;

use axum::extract::{RawQuery, State as Extract};
use axum::response::Response;
use serde_json::{Value, json};

use super::{BadRequest, Shared, json, query};
use crate::clock;
use crate::config::Failure;
use crate::deliveries::Delivery;
use crate::executions::{Execution, Outcome, Progress};
use crate::ledger::{is_function, tag};

/// Default number of executions in an answer.
const LIMIT: usize = 100;

/// The query.
const FILTERS: [&str; 5] = ["function", "status", "tag", "request_id", "limit"];

/// Executions by function, status, tag and request id.
pub(super) async fn list(Extract(state): Shared, RawQuery(text): RawQuery) -> Result<Response, BadRequest> {
    let query = query(text);
    if let Some(unknown) = query.keys().find(|name| !FILTERS.contains(&name.as_str())) {
        return Err(BadRequest(format!("no filter is called `{unknown}`; there are {}", FILTERS.join(", "))));
    }
    let limit = match query.get("limit") {
        Some(text) => text.parse().map_err(|_| BadRequest(format!("`limit` is {text:?}, not a number")))?,
        None => LIMIT,
    };
    let filter = |name: &str| query.get(name).map(String::as_str);
    let wanted = |execution: &Execution| {
        let event = &execution.event;
        filter("function").is_none_or(|name| is_function(&event.urn, name))
            && filter("status").is_none_or(|status| status == execution.status())
            && filter("request_id").is_none_or(|id| id == event.request_id)
            && filter("tag").is_none_or(|wanted| tag(&event.body).as_deref() == Some(wanted))
    };
    let now = clock::now();
    let functions = state.functions.list();
    let all = functions.iter().flat_map(|function| state.executions.all(function, now));
    let mut found: Vec<Execution> = all.filter(wanted).collect();
    found.sort_by_key(|execution| Reverse(execution.event.accepted));
    found.truncate(limit);
    let told = state.deliveries.by_request();
    let records = found.iter().map(|execution| {
        let told = told.get(&execution.event.request_id).map(Vec::as_slice).unwrap_or_default();
        record(execution, told, state.hide_events)
    });
    Ok(json(&records.collect::<Vec<_>>()))
}

fn record(execution: &Execution, told: &[Delivery], hide: bool) -> Value {
    let Execution { event, progress, attempts, output, .. } = execution;
    let ended = match progress {
        Progress::Ended { end, outcome, .. } => Some((end, outcome)),
        Progress::Wait { .. } | Progress::Running { .. } => None,
    };
    let failure = ended.and_then(|(_, outcome)| match outcome {
        Outcome::Fail(failure) => Some(failure),
        Outcome::Success | Outcome::Discard => None,
    });
    let attempts: Vec<Value> = attempts
        .iter()
        .map(|attempt| {
            let ended = attempt.ended.as_ref();
            json!({
                "instance": attempt.instance,
                "start": attempt.start,
                "end": ended.map(|(end, _)| end),
                "failure": ended.and_then(|(_, failure)| failure.as_ref()).map(describe),
            })
        })
        .collect();
    let deliveries = told.iter().map(|delivery| {
        let Delivery { time, destination, param, invocation, .. } = delivery;
        json!({ "time": time, "destination": destination, "param": param, "invocation": invocation })
    });
    let mut record = json!({
        "request_id": event.request_id,
        "function": event.urn,
        "api": event.api,
        "caller": event.caller,
        "status": execution.status(),
        "accepted": event.accepted,
        "ended": ended.map(|(end, _)| end),
        "failure": failure.map(describe),
        "attempts": attempts,
        "deliveries": deliveries.collect::<Vec<_>>(),
        "event_bytes": event.body_bytes,
    });
    if !hide {
        record["tag"] = tag(&event.body).into();
        record["event"] = String::from_utf8_lossy(&event.body).into();
        record["result"] = output.as_ref().map(|output| String::from_utf8_lossy(&output.result)).into();
        record["log"] = output.as_ref().map(|output| output.log.as_str()).into();
    }
    record
}

fn describe(failure: &Failure) -> Value {
    json!({ "code": failure.code, "message": failure.message })
}
