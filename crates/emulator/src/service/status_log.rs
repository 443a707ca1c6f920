//! `…/enable-async-status-logs` and `…/async-status-log-detail`: the log stream for a project's invocation states.

use http::StatusCode;
use serde_json::json;

use crate::answer::Answer;
use crate::refusal::Refusal;
use crate::service::{Call, Work, done};

/// `POST`: creates the log stream; the same one if it exists already.
pub(super) fn enable<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    call.project()?;
    Ok(Box::pin(async move {
        call.state.settings.enable_status_log();
        Answer::raw(StatusCode::OK, None, "")
    }))
}

/// `GET`: the log stream, or empty fields.
pub(super) fn show<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    call.project()?;
    let place = if call.state.settings.has_status_log() {
        json!({
            "group_id": "11111111-1111-4111-8111-111111111111",
            "group_name": "functiongraph-async-status",
            "stream_id": "22222222-2222-4222-8222-222222222222",
            "stream_name": "functiongraph-async-status",
        })
    } else {
        json!({})
    };
    Ok(done(Answer::json(StatusCode::OK, &place)))
}
