//! The effect of a fault on the reply.

use http::{StatusCode, header};
use serde_json::json;

use crate::answer::{Answer, Reply, X_CFF_REQUEST_ID};
use crate::api::{Api, Source};
use crate::clock::sleep;
use crate::fault::{Action, ErrorAnswer, OddBody};
use crate::refusal::usual_message;

/// Bytes of padding in [`OddBody::Huge`]: more than a client should read of an answer with one id.
const HUGE: usize = 1024 * 1024;

/// The reply of a fault that prevents the call.
pub(super) fn instead(fault: &Action, api: Api) -> Option<Reply> {
    match fault {
        Action::Status(error) => Some(Reply::Answer(error_answer(error.clone(), api))),
        Action::DropBefore => Some(Reply::Cut),
        Action::Redirect { location } => {
            let answer = Answer::raw(StatusCode::TEMPORARY_REDIRECT, None, "");
            Some(Reply::Answer(answer.with(header::LOCATION, location)))
        }
        Action::Hang { accept: false } => Some(Reply::Silence),
        Action::Hang { accept: true }
        | Action::Delay(_)
        | Action::DropAfter
        | Action::AcceptThen(_)
        | Action::TruncatedBody
        | Action::OddBody { .. } => None,
    }
}

/// The reply of a fault to a call that was carried out.
pub(super) async fn after(fault: Action, api: Api, answer: Answer) -> Reply {
    match fault {
        Action::Delay(time) => {
            sleep(time).await;
            Reply::Answer(answer)
        }
        Action::AcceptThen(error) => Reply::Answer(error_answer(error, api)),
        Action::TruncatedBody => Reply::Truncated(answer),
        Action::OddBody { kind } => Reply::Answer(odd_answer(kind, &answer)),
        Action::Hang { .. } => Reply::Silence,
        // Only the first variant gets here: `instead` handles the others.
        Action::DropAfter | Action::DropBefore | Action::Status(_) | Action::Redirect { .. } => Reply::Cut,
    }
}

fn odd_answer(kind: OddBody, answer: &Answer) -> Answer {
    let status = answer.status();
    let id = answer.header(&X_CFF_REQUEST_ID).unwrap_or_default();
    let json = |value| Answer::json(status, &value);
    match kind {
        OddBody::NoId => json(json!({})),
        OddBody::BothIds => json(json!({ "request_id": id, "request-id": id })).with(X_CFF_REQUEST_ID, id),
        OddBody::IdAsNumber => json(json!({ "request_id": 1_167_870_430 })),
        OddBody::Empty => Answer::raw(status, None, ""),
        OddBody::Html => Answer::raw(status, Some("text/html"), "<html><body>Accepted</body></html>"),
        OddBody::Huge => {
            let padding = "x".repeat(HUGE);
            let body = format!(r#"{{"padding":"{padding}","request_id":"{id}"}}"#);
            Answer::raw(status, Some("application/json"), body)
        }
        OddBody::IdInHeaderOnly => json(json!({})).with(X_CFF_REQUEST_ID, id),
    }
}

fn error_answer(error: ErrorAnswer, api: Api) -> Answer {
    let ErrorAnswer { status, error_code, error_msg, retry_after, body, content_type } = error;
    let answer = if let Some(body) = body {
        Answer::raw(status, Some(content_type.as_deref().unwrap_or("text/html")), body)
    } else {
        let message = error_msg.unwrap_or_else(|| usual_message(status).to_owned());
        match api.source() {
            Source::FunctionGraph => {
                let code = error_code.unwrap_or_else(|| format!("FSS.0{}", status.as_u16()));
                Answer::service(status, &code, message)
            }
            Source::Keystone => Answer::keystone(status, message),
            Source::Sts => Answer::sts(status, error_code.as_deref().unwrap_or("STS5.1001"), message),
            Source::Local => Answer::raw(status, Some("text/plain"), message),
            Source::Iam => Answer::iam(status, error_code.as_deref().unwrap_or("IAM.0006"), message),
        }
    };
    match retry_after {
        Some(retry_after) => answer.with(header::RETRY_AFTER, retry_after),
        None => answer,
    }
}
