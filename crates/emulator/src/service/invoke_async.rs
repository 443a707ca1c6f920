//! `POST …/invocations-async` and `…/reserved-invocations`: accepts an event and answers before its execution.

use http::StatusCode;
use serde_json::json;

use crate::answer::{Answer, X_CFF_REQUEST_ID};
use crate::api::Api;
use crate::clock;
use crate::functions::Target;
use crate::refusal::Refusal;
use crate::service::{Call, Work, event};

pub(super) fn plan<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let target = event::check(call, call.state.max_body_bytes)?;
    Ok(Box::pin(async move {
        let request_id = clock::invocation_id();
        let instance_id = (call.route.api == Api::InvokeReserved).then(clock::invocation_id);
        event::accept(call, target, &request_id, instance_id.as_deref());
        execute(call, target, &request_id, instance_id.is_some());
        clock::sleep(target.function.answer_latency).await;
        match instance_id {
            Some(id) => Answer::json(StatusCode::ACCEPTED, &json!({ "instance_id": id })),
            None => accepted(call.route.api, &request_id),
        }
    }))
}

/// Queues the event, with the settings of the called URN.
fn execute(call: &Call<'_>, target: &Target, request_id: &str, reserved: bool) {
    let Call { state, .. } = *call;
    let Target { urn, function, .. } = target;
    let settings = state.settings.get(&urn.to_string()).map(|setting| setting.config).unwrap_or_default();
    let mut event = event::of(call, target, request_id).with(&settings);
    if settings.destination_config.is_some() {
        // The destination gets the whole event.
        event.body = call.request.body.clone();
    }
    if reserved {
        state.executions.run_reserved(function, event);
    } else {
        state.executions.queue(function, event);
    }
}

/// The 202, with the id in the spelling of this API.
fn accepted(api: Api, request_id: &str) -> Answer {
    let key = if api == Api::InvokeAsyncV1 { "request-id" } else { "request_id" };
    Answer::json(StatusCode::ACCEPTED, &json!({ key: request_id })).with(X_CFF_REQUEST_ID, request_id)
}
