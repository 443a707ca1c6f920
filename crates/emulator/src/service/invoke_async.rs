//! `POST …/invocations-async`: takes an event, or lets a fault decide what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use functiongraph::urn::FunctionUrn;
use http::{StatusCode, header};
use jiff::Timestamp;
use serde_json::json;
use tokio::time::sleep;

use crate::answer::{Answer, Reply, X_CFF_REQUEST_ID};
use crate::clock;
use crate::config::Function;
use crate::executions::Execution;
use crate::fault::{Action, ErrorAnswer, OddBody};
use crate::ledger::LedgerEntry;
use crate::refusal::{Refusal, usual_message};
use crate::request::{Request, Route};
use crate::state::State;

/// The sizes of memory, in MB, that `X-Cff-Instance-Memory` may name.
const MEMORY_SIZES: [&str; 15] = [
    "128", "256", "512", "768", "1024", "1280", "1536", "1792", "2048", "2560", "3072", "3584", "4096",
    "8192", "10240",
];

/// Bytes of padding in [`OddBody::Huge`]: more than any client should read of an answer that holds one id.
const HUGE: usize = 1024 * 1024;

pub(super) async fn serve(state: &State, route: &Route, request: &Request, now: Timestamp) -> Reply {
    let valid = validate(state, route, request);
    // A fault can be confined to a function that does not exist: then it is known by what the path says.
    let name = valid.as_ref().map_or(route.function.as_str(), |(_, function)| &function.name);
    let fault = state.faults.pick(name, valid.is_ok());
    if let Some(reply) = fault.as_ref().and_then(refuse) {
        return reply;
    }
    let (urn, function) = match valid {
        Ok(valid) => valid,
        Err(refusal) => return Reply::Answer(refusal.answer(now)),
    };
    let id = accept(state, &urn, &function, request, now);
    sleep_unless_zero(function.answer_latency).await;
    match fault {
        Some(fault) => disguise(fault, &id).await,
        None => Reply::Answer(accepted(&id)),
    }
}

/// Everything the service itself checks, in the order in which it would notice.
fn validate(
    state: &State,
    route: &Route,
    request: &Request,
) -> Result<(FunctionUrn, Arc<Function>), Refusal> {
    if request.body.len() > state.max_body_bytes {
        return Err(Refusal::EventTooLarge);
    }
    let (urn, function) = state.functions.resolve(route)?;
    if function.disabled {
        return Err(Refusal::Disabled);
    }
    if request.body.is_empty() {
        return Err(Refusal::EmptyEvent);
    }
    // The documents speak of an object; whether other JSON is taken is not known, so it is.
    let text = std::str::from_utf8(&request.body).map_err(|_| Refusal::NotJson)?;
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|_| Refusal::NotJson)?;
    if request.header("x-cff-instance-memory").is_some_and(|size| !MEMORY_SIZES.contains(&size)) {
        return Err(Refusal::InvalidMemory);
    }
    Ok((urn, function))
}

/// The one place where an event is accepted. From here on it is in the ledger, whatever the caller hears.
fn accept(
    state: &State,
    urn: &FunctionUrn,
    function: &Function,
    request: &Request,
    now: Timestamp,
) -> String {
    let id = clock::invocation_id();
    let urn = urn.to_string();
    state.executions.add(&urn, Execution::of(function, id.clone(), now));
    state.ledger.add(LedgerEntry::of(now, urn, id.clone(), &request.body));
    state.stats.accepted();
    id
}

fn accepted(id: &str) -> Answer {
    Answer::json(StatusCode::ACCEPTED, &json!({ "request_id": id })).with(X_CFF_REQUEST_ID, id)
}

/// The reply of a fault that does not accept the event.
fn refuse(fault: &Action) -> Option<Reply> {
    match fault {
        Action::Status(error) => Some(Reply::Answer(error_answer(error.clone()))),
        Action::DropBefore => Some(Reply::Cut),
        Action::Redirect { location } => {
            let answer = Answer::raw(StatusCode::TEMPORARY_REDIRECT, None, "");
            Some(Reply::Answer(answer.with(header::LOCATION, location)))
        }
        Action::Hang { accept: false } => Some(Reply::Silence),
        Action::Hang { accept: true }
        | Action::Delay { .. }
        | Action::DropAfter
        | Action::AcceptThen { .. }
        | Action::TruncatedBody
        | Action::OddBody { .. } => None,
    }
}

/// What the caller of an accepted event sees of it through a fault.
async fn disguise(fault: Action, id: &str) -> Reply {
    match fault {
        Action::Delay { ms } => {
            sleep_unless_zero(Duration::from_millis(ms)).await;
            Reply::Answer(accepted(id))
        }
        Action::AcceptThen { status } => Reply::Answer(error_answer(ErrorAnswer::of(status))),
        Action::TruncatedBody => Reply::Truncated(accepted(id)),
        Action::OddBody { kind } => Reply::Answer(odd_answer(kind, id)),
        Action::Hang { .. } => Reply::Silence,
        // Only the first gets here: `refuse` has a reply for the others.
        Action::DropAfter | Action::DropBefore | Action::Status(_) | Action::Redirect { .. } => Reply::Cut,
    }
}

fn odd_answer(kind: OddBody, id: &str) -> Answer {
    let json = |value| Answer::json(StatusCode::ACCEPTED, &value);
    match kind {
        OddBody::NoId => json(json!({})),
        OddBody::BothIds => json(json!({ "request_id": id, "request-id": id })).with(X_CFF_REQUEST_ID, id),
        OddBody::IdAsNumber => json(json!({ "request_id": 1_167_870_430 })),
        OddBody::Empty => Answer::raw(StatusCode::ACCEPTED, None, ""),
        OddBody::Html => {
            Answer::raw(StatusCode::ACCEPTED, Some("text/html"), "<html><body>Accepted</body></html>")
        }
        OddBody::Huge => {
            let padding = "x".repeat(HUGE);
            let body = format!(r#"{{"padding":"{padding}","request_id":"{id}"}}"#);
            Answer::raw(StatusCode::ACCEPTED, Some("application/json"), body)
        }
        OddBody::IdInHeaderOnly => json(json!({})).with(X_CFF_REQUEST_ID, id),
    }
}

fn error_answer(error: ErrorAnswer) -> Answer {
    let ErrorAnswer { status, error_code, error_msg, retry_after, body, content_type } = error;
    let answer = if let Some(body) = body {
        Answer::raw(status, Some(content_type.as_deref().unwrap_or("text/html")), body)
    } else {
        let code = error_code.unwrap_or_else(|| format!("FSS.0{}", status.as_u16()));
        let message = error_msg.unwrap_or_else(|| usual_message(status).to_owned());
        Answer::service(status, &code, message)
    };
    match retry_after {
        Some(retry_after) => answer.with(header::RETRY_AFTER, retry_after),
        None => answer,
    }
}

/// A timer has a resolution of a millisecond: no latency must not cost one.
async fn sleep_unless_zero(latency: Duration) {
    if !latency.is_zero() {
        sleep(latency).await;
    }
}
