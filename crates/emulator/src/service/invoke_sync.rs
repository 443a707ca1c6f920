//! `POST …/invocations`: accepts an event, waits for its execution and answers with the function's result.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::answer::{self, Answer};
use crate::api::Api;
use crate::clock;
use crate::config::{Failure, Function};
use crate::executions::{Ended, Event, Outcome};
use crate::functions::Target;
use crate::handler::Output;
use crate::refusal::Refusal;
use crate::service::{Call, Work, event};

/// Bytes of the log in an answer, counted from its end.
const LOG_TAIL: usize = 4 * 1024;

pub(super) fn plan<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let target = event::check(call, call.state.max_sync_body_bytes)?;
    if !call.state.executions.has_capacity(&target.function, call.now) {
        return Err(Refusal::Busy);
    }
    Ok(Box::pin(
        async move { execute(call, target).await.unwrap_or_else(|refusal| refusal.answer(call.now)) },
    ))
}

async fn execute(call: &Call<'_>, target: &Target) -> Result<Answer, Refusal> {
    let Call { state, .. } = *call;
    let Target { function, .. } = target;
    let request_id = clock::invocation_id();
    let event = Event { listed: false, ..event::of(call, target, &request_id) };
    // Another call may have taken the last instance in between.
    let run = state.executions.run(function, event).ok_or(Refusal::Busy)?;
    event::accept(call, target, &request_id, None);
    let end = async {
        let end = run.ended().await;
        clock::sleep(function.answer_latency).await;
        end
    };
    let end = tokio::time::timeout(state.gateway_timeout, end).await;
    let Ended { start, end, outcome, output } = end.map_err(|_| Refusal::BackendTimeout)?;
    let failure = match outcome {
        Outcome::Success | Outcome::Discard => None,
        Outcome::Fail(failure) => Some(failure),
    };
    let took = Duration::try_from(end.duration_since(start)).unwrap_or_default();
    let memory = event::memory(call, target);
    Ok(answer(call, target, &Done { request_id, start, end, took, failure, memory, output }))
}

/// A finished execution.
struct Done {
    request_id: String,
    start: Timestamp,
    end: Timestamp,
    took: Duration,
    failure: Option<Failure>,
    /// Memory configured for this execution, in MB.
    memory: u32,
    /// What the user's code left behind.
    output: Option<Output>,
}

fn answer(call: &Call<'_>, target: &Target, done: &Done) -> Answer {
    let function = &target.function;
    let failure = done.failure.as_ref();
    let returned = returned(function, done);
    let result_length = returned.len().to_string();
    let tail = (call.request.header("x-cff-log-type") == Some("tail")).then(|| tail(log(target, done)));
    let envelope =
        call.route.api == Api::Invoke && call.request.header("x-cff-request-version") == Some("v1");
    let answer = if envelope {
        let log = tail.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        // Only the status of a success is documented.
        let status = if failure.is_some() { 500 } else { 200 };
        let body = json!({ "request_id": done.request_id, "result": returned, "log": log, "status": status });
        Answer::json(StatusCode::OK, &body)
    } else {
        let content_type = if call.route.api == Api::InvokeV1 { "application/json" } else { "text/plain" };
        Answer::raw(StatusCode::OK, Some(content_type), returned)
    };
    let summary = json!({
        "duration": milliseconds(done.took),
        "billingDuration": billed(done.took),
        "memorySize": done.memory,
        "memoryUsed": function.memory_used,
    });
    let answer = answer
        .with(answer::X_CFF_REQUEST_ID, &done.request_id)
        .with(answer::X_CFF_INVOKE_SUMMARY, summary.to_string())
        .with(answer::X_CFF_BILLING_DURATION, billed(done.took).to_string())
        .with(answer::X_CFF_RESULT_LENGTH, result_length)
        .with(answer::X_CFF_RESPONSE_VERSION, if envelope { "v1" } else { "v0" })
        .with(answer::X_FUNC_ERR_CODE, failure.map_or(0, |failure| failure.code).to_string())
        .with(answer::X_IS_FUNC_ERR, failure.is_some_and(|failure| !failure.system).to_string());
    match tail {
        Some(tail) => answer.with(answer::X_CFF_FUNCTION_LOG, STANDARD.encode(tail)),
        None => answer,
    }
}

/// What the caller gets.
fn returned(function: &Function, done: &Done) -> String {
    let own = done.output.as_ref().map(|output| String::from_utf8_lossy(&output.result).into_owned());
    match (&done.failure, own) {
        (Some(_), Some(own)) if !own.is_empty() => own,
        (Some(failure), _) => json!({ "errorMessage": failure.message, "stackTrace": [] }).to_string(),
        (None, Some(own)) => own,
        (None, None) => match &function.result {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => Value::Null.to_string(),
        },
    }
}

/// The log of an execution: the function's output between the lines of the runtime.
fn log(target: &Target, done: &Done) -> String {
    let version = target.version();
    let Done { request_id, start, end, took, failure, memory, output } = done;
    let failed = if failure.is_some() { "(invoke Failed)" } else { "" };
    format!(
        "{start:.0} Start invoke request '{request_id}', version: {version}\n{log}\n{end:.0} Finish invoke \
         request '{request_id}'{failed}, duration: {duration:.3}ms, billing duration: {billed}ms, memory used: \
         {used:.3}MB, billing memory: {memory}MB",
        log = output.as_ref().map_or(&target.function.log, |output| &output.log),
        duration = milliseconds(*took),
        billed = billed(*took),
        used = target.function.memory_used,
    )
}

/// The end of a log. May begin in the middle of a character.
fn tail(log: String) -> Vec<u8> {
    let mut log = log.into_bytes();
    log.drain(..log.len().saturating_sub(LOG_TAIL));
    log
}

fn milliseconds(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}

/// Milliseconds, rounded up.
fn billed(took: Duration) -> u128 {
    took.as_nanos().div_ceil(1_000_000)
}
