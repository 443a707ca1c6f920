//! What the service answered to an asynchronous invocation, and what that means for the event.
//!
//! [`Answer::from_parts`] is total: whatever bytes arrive, it reads what can be read and invents nothing.

mod body;
mod retry_after;
mod verdict;

use std::time::Duration;

use http::HeaderMap;

use crate::text;
use body::Body;

pub use verdict::Verdict;

/// Bytes of a body that are looked at; the answers of the service have some hundred.
pub const MAX_BODY: usize = 64 * 1024;

/// Characters of a message that are kept.
const MAX_MESSAGE: usize = 1024;

/// Longest id: the API's own limit for a request id as a parameter.
const MAX_ID: usize = 64;

/// Header with the id of the invocation, sent beside or instead of the one in the body.
const INVOCATION_ID: &str = "x-cff-request-id";

/// Header with the gateway's id of the exchange. It is a different id.
const GATEWAY_ID: &str = "x-request-id";

/// An answer: the status, and whatever else could be read.
///
/// All texts are on one line, without control characters, and short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Id of the invocation: of a success from its body, else from the header `X-Cff-Request-Id`. At most 64
    /// characters; an odd one is left out.
    pub request_id: Option<String>,
    /// The gateway's id of the exchange, for support requests: from `X-Request-Id`, else of a failure from its body.
    pub gateway_request_id: Option<String>,
    /// Code of the error, such as `FSS.1051`.
    pub error_code: Option<String>,
    /// Message of the error, at most 1024 characters; of a failure without a recognisable message, the body itself.
    /// Not a stable text.
    pub error_message: Option<String>,
    /// How long to wait before trying again, if the answer says so. As it was said: not limited in any way.
    pub retry_after: Option<Duration>,
}

// === impl Answer ===

impl Answer {
    /// Reads an answer. Never fails: the status counts, everything else is optional.
    ///
    /// `body` may be cut, and need not be JSON.
    #[must_use]
    pub fn from_parts(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        Self::read(status, headers, body, str::to_owned)
    }

    /// As [`Self::from_parts`], with `redact` applied to every text before it is cut to its length: half a secret is
    /// not recognised any more.
    pub(crate) fn read(
        status: u16,
        headers: &HeaderMap,
        body: &[u8],
        redact: impl Fn(&str) -> String,
    ) -> Self {
        let Body { id, code, message, raw } = Body::read(body.get(..MAX_BODY).unwrap_or(body));
        let is_success = (200..300).contains(&status);
        let from_header = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        // The id of a failure's body is the gateway's.
        let (invocation, gateway) = if is_success { (id, None) } else { (None, id) };
        let keep_id = |text: String| is_id(&text).then(|| redact(&text)).filter(|kept| *kept == text);
        let message = if is_success || message.is_some() || code.is_some() { message } else { Some(raw) };
        let message =
            message.map(|message| text::cut(&redact(&text::clean(&message)), MAX_MESSAGE).to_owned());
        Self {
            status,
            request_id: invocation.and_then(keep_id).or_else(|| from_header(INVOCATION_ID).and_then(keep_id)),
            gateway_request_id: from_header(GATEWAY_ID)
                .and_then(keep_id)
                .or_else(|| gateway.and_then(keep_id)),
            error_code: code.and_then(keep_id),
            error_message: message.filter(|message| !message.is_empty()),
            retry_after: retry_after::read(headers),
        }
    }
}

/// Whether a text looks like an id or an error code rather than like something that wants to be more.
fn is_id(text: &str) -> bool {
    (1..=MAX_ID).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests;
