//! `POST …/invocations-async` and `…/reserved-invocations`: takes an event and answers before it is executed.

use http::StatusCode;
use serde_json::json;

use crate::answer::{Answer, X_CFF_REQUEST_ID};
use crate::api::Api;
use crate::clock;
use crate::executions::Execution;
use crate::refusal::Refusal;
use crate::service::event::{self, Accepted};
use crate::service::{Call, Work};

pub(super) fn plan<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let target = event::check(call, call.state.max_body_bytes)?;
    Ok(Box::pin(async move {
        let accepted = event::accept(call, target);
        let execution = Execution::of(&target.function, accepted.request_id.clone(), call.now);
        call.state.executions.add(&target.urn.to_string(), execution);
        clock::sleep(target.function.answer_latency).await;
        answer(call.route.api, &accepted)
    }))
}

/// The 202 with the one id that this API gives.
fn answer(api: Api, accepted: &Accepted) -> Answer {
    let Accepted { request_id, instance_id } = accepted;
    let json = |value| Answer::json(StatusCode::ACCEPTED, &value);
    match (api, instance_id) {
        (_, Some(instance_id)) => json(json!({ "instance_id": instance_id })),
        (Api::InvokeAsyncV1, None) => {
            json(json!({ "request-id": request_id })).with(X_CFF_REQUEST_ID, request_id)
        }
        _ => json(json!({ "request_id": request_id })).with(X_CFF_REQUEST_ID, request_id),
    }
}
