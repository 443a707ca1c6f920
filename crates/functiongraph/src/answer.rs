//! Reads the service's answer to an invocation, and what it means for the event.
//!
//! [`Answer::from_parts`] accepts any bytes. It reads the fields that it recognises and leaves out the others.

pub(crate) mod body;
pub(crate) mod retry_after;
mod sync;
mod verdict;

use std::time::Duration;

use http::HeaderMap;
use jiff::Timestamp;

use crate::invocation::{Kind, Protocol};
use crate::text::{Clean, Shown};
use crate::transport::Seen;
use body::Body;

pub(crate) use body::text;
pub use sync::{MAX_KEPT, MAX_RESULT, Summary, SyncResult};
use verdict::Notice;
pub use verdict::Verdict;

/// Bytes of a body that are read. The service's own answers have a few hundred. For results see [`MAX_RESULT`].
pub const MAX_BODY: usize = 64 * 1024;

/// Header with the id of the invocation, sent in addition to the one in the body or instead of it.
const INVOCATION_ID: &str = "x-cff-request-id";

/// Header with the gateway's id of the request, which differs from the id of the invocation.
const GATEWAY_ID: &str = "x-request-id";

/// An answer: its status and all other fields that could be read.
///
/// All texts are [`Clean`], on one line, and short; ids hold nothing but letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Id of the invocation: on success from the body (of a synchronous invocation, from the envelope), otherwise
    /// from the header `X-Cff-Request-Id`. At most 64 characters; a malformed id is left out.
    pub request_id: Option<String>,
    /// Id of the reserved instance that will execute the event.
    pub instance_id: Option<String>,
    /// The gateway's id of the request, for support requests: from `X-Request-Id`, or from the body of a failure.
    pub gateway_request_id: Option<String>,
    /// Code of the error, such as `FSS.1051`.
    pub error_code: Option<String>,
    /// Message of the error, at most 1024 characters. For a failure without a recognisable message, the body itself.
    /// The text may change between releases of the service.
    pub error_message: Option<Clean>,
    /// Meaning of the message for the verdict. `None` if there is only a body. Kept even if the message is withheld.
    notice: Option<Notice>,
    /// How long to wait before the next request, if the answer says so. Not limited in any way.
    pub retry_after: Option<Duration>,
    /// When the service made the answer, by its own clock (header `Date`).
    pub date: Option<Timestamp>,
    /// Result of a synchronous invocation. Only for status 200 to [`Kind::Sync`].
    pub sync: Option<SyncResult>,
}

/// Content of a successful answer's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Something about the request, such as an id.
    Notice,
    /// The function's result, in the format of one API edition.
    Result(Protocol),
}

// === impl Form ===

impl Form {
    /// The form of the answer to an invocation.
    pub(crate) fn of(kind: Kind, protocol: Protocol) -> Self {
        match kind {
            Kind::Async | Kind::Reserved => Self::Notice,
            Kind::Sync { .. } => Self::Result(protocol),
        }
    }

    /// Bytes of the body to read.
    pub(crate) fn cap(self) -> usize {
        match self {
            Self::Notice => MAX_BODY,
            Self::Result(_) => MAX_RESULT,
        }
    }
}

// === impl Answer ===

impl Answer {
    /// Reads the answer to an invocation. Never fails: only the status is required.
    ///
    /// `body` may be cut, and need not be JSON.
    #[must_use]
    pub fn from_parts(kind: Kind, protocol: Protocol, status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let form = Form::of(kind, protocol);
        let kept = body.get(..form.cap()).unwrap_or(body);
        let complete = kept.len() == body.len();
        Self::read(
            form,
            &Seen { status, headers: headers.clone(), body: kept.into(), complete },
            &Shown::default(),
        )
    }

    /// Reads an answer. Leaves out everything that repeats a secret of the request (`shown`).
    pub(crate) fn read(form: Form, seen: &Seen, shown: &Shown) -> Self {
        let Seen { status, headers, body, complete } = seen;
        let is_success = is_success(*status);
        let beginning = body.get(..MAX_BODY).unwrap_or(body);
        let (notice, result) = match form {
            // A function's result must not be read as a message of the service.
            Form::Result(protocol) if *status == 200 => {
                let read = sync::Read::from_parts(protocol, headers, body, *complete, shown);
                (Body { id: read.id, ..Body::default() }, Some(read.result))
            }
            Form::Result(_) | Form::Notice => (Body::read(beginning), None),
        };
        let Body { id, instance, code, message } = notice;
        let from_header = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        // In the body of a failure, the id is the gateway's.
        let (invocation, gateway) = if is_success { (id, None) } else { (None, id) };
        let keep_id = |text| shown.id(text);
        let notice = message.as_deref().and_then(Notice::of);
        let is_text = !is_success && message.is_none() && code.is_none();
        let message = if is_text { Some(String::from_utf8_lossy(beginning).into_owned()) } else { message };
        Self {
            notice,
            status: *status,
            request_id: invocation.and_then(keep_id).or_else(|| from_header(INVOCATION_ID).and_then(keep_id)),
            instance_id: instance.filter(|_| is_success).and_then(keep_id),
            gateway_request_id: from_header(GATEWAY_ID)
                .and_then(keep_id)
                .or_else(|| gateway.and_then(keep_id)),
            error_code: code.and_then(keep_id),
            error_message: message.map(|text| shown.line(&text)).filter(|text| !text.is_empty()),
            retry_after: retry_after::read(headers),
            date: retry_after::date_of(headers),
            sync: result,
        }
    }

    /// Whether the status is a success (200 to 299). For an invocation, use [`verdict`](Self::verdict).
    #[must_use]
    pub fn is_success(&self) -> bool {
        is_success(self.status)
    }
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

#[cfg(test)]
mod tests;
