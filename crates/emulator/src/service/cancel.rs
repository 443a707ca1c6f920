//! `POST …/cancel`: cancels one asynchronous invocation, and with force everything on its instance.

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::answer::Answer;
use crate::refusal::Refusal;
use crate::service::{Call, Work};

/// Longest request id that the API accepts.
const MAX_ID: usize = 64;

/// The request to cancel, and how.
#[derive(Debug, Deserialize)]
struct Asked {
    #[serde(default)]
    request_id: String,
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

pub(super) fn plan<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let target = call.target()?;
    let Asked { request_id, kind } = call.object()?;
    let force = match kind.as_deref() {
        Some("force") => true,
        // Functions here call no other functions, so `recursive` adds nothing.
        Some("recursive") | None => false,
        Some(_) => return Err(Refusal::InvalidParameter),
    };
    if request_id.is_empty() || request_id.len() > MAX_ID {
        return Err(Refusal::InvalidRequestId);
    }
    let urn = target.urn.to_string();
    let executions = &call.state.executions;
    if !executions.is_alive(&target.function, &urn, &request_id, call.now) {
        return Err(Refusal::InvalidRequestId);
    }
    Ok(Box::pin(async move {
        // It may have ended in between.
        if executions.cancel(&target.function, &urn, &request_id, force, call.now) {
            Answer::json(StatusCode::OK, &Value::Null)
        } else {
            Refusal::InvalidRequestId.answer(call.now)
        }
    }))
}
