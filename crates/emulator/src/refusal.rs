//! Every documented refusal, with status, code and message.

use http::{StatusCode, header};
use jiff::Timestamp;

use crate::answer::Answer;
use crate::api::Source;
use crate::auth::AuthFailure;
use crate::rate_limit::RateLimit;

mod denied;
pub(crate) use denied::Denied;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No API has this path and method.
    NoSuchApi,
    /// The request is larger than the gateway accepts.
    RequestTooLarge,
    /// Not authenticated.
    Unauthenticated(AuthFailure),
    /// The request exceeds the gateway's rate limit.
    Throttled(RateLimit),
    /// The project of the path or of the URN is not the emulator's.
    OtherProject,
    /// The text is no valid name of a function.
    InvalidUrn,
    /// The URN is well-formed, but no function has this name.
    UnknownName(String),
    /// The URN has another region or no existing function.
    UnknownFunction,
    /// Like `UnknownFunction`, with the message of the listing.
    CannotFind,
    /// Like `UnknownFunction`, with the message of the synchronous invocation of v1.0.
    UnknownResource,
    /// The function has no such version.
    UnknownVersion,
    /// The function has no such alias.
    UnknownAlias,
    /// The function is switched off.
    Disabled,
    /// There is no event.
    EmptyEvent,
    /// The event is not JSON.
    NotJson,
    /// `X-Cff-Instance-Memory` is none of the allowed sizes.
    InvalidMemory,
    /// The event is larger than allowed for this kind of invocation.
    EventTooLarge,
    /// The function did not answer in the time that the gateway allows.
    BackendTimeout,
    /// A parameter of query or body is malformed.
    InvalidParameter,
    /// The name of a new function cannot be part of a URN.
    InvalidName,
    /// The object that a call creates exists already.
    Exists,
    /// The requested settings or object do not exist.
    NothingThere,
    /// No queued or running request has this id.
    InvalidRequestId,
    /// Every instance is busy.
    Busy,
    /// The token belongs to no project.
    NoProject,
    /// An identity service refuses the login.
    Denied(Source, Denied),
}

impl Refusal {
    /// The answer; `now` is needed for a date in `Retry-After`.
    pub(crate) fn answer(&self, now: Timestamp) -> Answer {
        use StatusCode as S;
        match self {
            Self::NoSuchApi => Answer::gateway(
                S::NOT_FOUND,
                "APIG.0101",
                "The API does not exist or has not been published in the environment",
            ),
            Self::RequestTooLarge => {
                Answer::gateway(S::PAYLOAD_TOO_LARGE, "APIG.0201", "Request entity too large")
            }
            // The user of the token has changed, so the credential was revoked and not sent wrongly.
            Self::Unauthenticated(AuthFailure::TokenRevoked) => {
                Answer::gateway(S::UNAUTHORIZED, "APIG.0307", AuthFailure::TokenRevoked.to_string())
            }
            Self::Unauthenticated(failure) => {
                let message = format!("Incorrect IAM authentication information: {failure}");
                Answer::gateway(S::UNAUTHORIZED, "APIG.0301", message)
            }
            Self::Throttled(limit) => {
                let message = format!(
                    "The throttling threshold has been reached: policy user over ratelimit,limit:{},time:1 second",
                    limit.requests_per_second
                );
                let answer = Answer::gateway(S::TOO_MANY_REQUESTS, "APIG.0308", message);
                match limit.retry_after {
                    Some(retry_after) => answer.with(header::RETRY_AFTER, retry_after.header(now)),
                    None => answer,
                }
            }
            Self::OtherProject => Answer::service(S::FORBIDDEN, "FSS.0403", "Forbidden"),
            Self::InvalidUrn => Answer::service(S::BAD_REQUEST, "FSS.1309", "Invalid function URN."),
            Self::UnknownName(name) => {
                Answer::service(S::NOT_FOUND, "FSS.0404", format!("function '{name}' not exist"))
            }
            Self::UnknownFunction => Answer::service(S::NOT_FOUND, "FSS.1051", "Not found the function"),
            Self::CannotFind => Answer::service(S::NOT_FOUND, "FSS.0404", "can not find function"),
            Self::UnknownResource => {
                Answer::service(S::NOT_FOUND, "FSS.0404", "Not found the specified resource")
            }
            Self::UnknownVersion => {
                Answer::service(S::NOT_FOUND, "FSS.1052", "Not found the function version")
            }
            Self::UnknownAlias => Answer::service(S::NOT_FOUND, "FSS.1053", "Not found the function alias"),
            Self::Disabled => Answer::service(S::TOO_MANY_REQUESTS, "FSS.0429", "Function Disabled")
                .with_reason(b"Disabled"),
            Self::EmptyEvent => Answer::service(S::BAD_REQUEST, "FSS.0400", "function event body is empty"),
            Self::NotJson | Self::InvalidMemory => {
                Answer::service(S::NOT_ACCEPTABLE, "FSS.0406", "Not acceptable.")
            }
            Self::EventTooLarge => {
                Answer::service(S::PAYLOAD_TOO_LARGE, "FSS.0413", "The request body is too large.")
            }
            Self::BackendTimeout => Answer::gateway(S::GATEWAY_TIMEOUT, "APIG.0201", "Backend timeout."),
            Self::NothingThere => Answer::service(S::NOT_FOUND, "FSS.0404", "not found"),
            Self::InvalidRequestId => Answer::service(S::BAD_REQUEST, "FSS.0400", "Invalid RequestId"),
            Self::Busy => Answer::service(S::TOO_MANY_REQUESTS, "FSS.0429", "Too many requests."),
            Self::NoProject => {
                Answer::gateway(S::FORBIDDEN, "APIG.0302", "The IAM user is not authorized to access the API")
            }
            Self::Denied(source, denied) => denied.answer(*source),
            Self::InvalidName => Answer::service(S::BAD_REQUEST, "FSS.1002", "Invalid function name."),
            Self::Exists => {
                Answer::service(S::CONFLICT, "FSS.0409", "The specified resource already exists.")
            }
            Self::InvalidParameter => Answer::service(S::BAD_REQUEST, "FSS.0400", "Invalid parameter."),
        }
    }
}

/// The usual `error_msg` of a status, for errors of faults.
pub(crate) fn usual_message(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "Invalid parameter.",
        401 => "Unauthorized access.",
        404 => "The specified resource was not found.",
        406 => "Not acceptable.",
        408 => "Request timeout.",
        409 => "The specified resource already exists.",
        410 => "The specified resource does not exist.",
        413 => "The request body is too large.",
        424 => "Invalid dependency.",
        426 => "An upgrade is required.",
        428 => "The preconditions have not been met.",
        429 => "Too many requests.",
        500 => "Internal server error.",
        502 => "Bad gateway.",
        503 => "Service unavailable.",
        504 => "Gateway timeout.",
        _ => status.canonical_reason().unwrap_or("Error"),
    }
}
