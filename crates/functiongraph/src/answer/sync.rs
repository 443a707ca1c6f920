//! Reads what a synchronous invocation answers with: bare or in an envelope, with or without a log.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde_json::{Map, Value};

use super::{INVOCATION_ID, body};
use crate::invocation::Protocol;
use crate::text::{Clean, Shown};

/// Bytes of a synchronous answer that are read. The service sends up to 6 MB: more than anybody should have to keep
/// who only wants to know how it ended.
pub const MAX_RESULT: usize = 256 * 1024;

/// Bytes of a result that are kept.
pub const MAX_KEPT: usize = 64 * 1024;

/// Characters of a log that are kept, from its end. The service sends 4 KB or less.
const MAX_LOG: usize = 4096;

/// Stands for the code of an error that came without one.
const UNKNOWN_CODE: &str = "unknown";

/// Longest escape that a cut can go through: `\ud83d\ude00`, one byte short.
const LONGEST_PIECE: usize = 11;

const FUNCTION_LOG: &str = "x-cff-function-log";
const INVOKE_SUMMARY: &str = "x-cff-invoke-summary";
const RESPONSE_VERSION: &str = "x-cff-response-version";
const ERROR_CODE: &str = "x-func-err-code";
const IS_ERROR: &str = "x-is-func-err";

/// What a function that was executed synchronously ended with.
#[derive(Clone, PartialEq)]
pub struct SyncResult {
    /// Code of the error that the function ended with; `unknown` if it has none. `None` is a success.
    pub function_error: Option<String>,
    /// What the execution took.
    pub summary: Option<Summary>,
    /// The end of the function's log, if it was asked for: at most 4096 characters, escaped as `body` is.
    pub log: Option<Clean>,
    /// What the function returned, without the service's envelope, as text; at most [`MAX_KEPT`] bytes. Line breaks and
    /// tabs are kept. Other characters that cannot be seen are written with the escapes of JSON, such as `\u001b`; so a
    /// JSON document stays the same document.
    pub body: Clean,
    /// Whether `body` is only the beginning: there was more, or the connection ended before.
    pub truncated: bool,
}

/// What an execution took, as the service says.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Summary {
    /// Run time, in milliseconds.
    pub duration_ms: Option<f64>,
    /// Billed time, in milliseconds.
    pub billing_duration_ms: Option<f64>,
    /// Configured memory, in MB.
    pub memory_size_mb: Option<f64>,
    /// Used memory, in MB.
    pub memory_used_mb: Option<f64>,
}

/// A synchronous answer, taken apart.
pub(super) struct Read {
    /// Id of the invocation, if the body is an envelope that holds one.
    pub id: Option<String>,
    pub result: SyncResult,
}

// === impl Read ===

impl Read {
    /// Reads the answer to a request of an edition of the API. `complete` says whether `body` is all that was sent.
    pub(super) fn from_parts(
        protocol: Protocol,
        headers: &HeaderMap,
        body: &[u8],
        complete: bool,
        shown: &Shown,
    ) -> Self {
        let envelope = envelope(protocol, headers, body, complete);
        let log = log(headers, envelope.as_ref());
        let result = envelope.as_ref().map_or_else(|| String::from_utf8_lossy(body), result);
        let body = shown.beginning(&result, MAX_KEPT);
        Self {
            id: envelope.as_ref().and_then(|fields| body::text(fields, "request_id")),
            result: SyncResult {
                function_error: function_error(headers, envelope.as_ref())
                    .map(|code| shown.id(code).unwrap_or_else(|| UNKNOWN_CODE.to_owned())),
                summary: summary(headers),
                log: log.map(|log| shown.end(&log, MAX_LOG)).filter(|log| !log.is_empty()),
                truncated: !complete || result.len() > body.len(),
                body,
            },
        }
    }
}

/// The fields of the envelope, if the body is one.
///
/// The service says which it is. If it does not, and an envelope was asked for, a body with the fields of an envelope
/// and no others is one, unless it names another invocation than the header: a function may return what looks alike,
/// and so may one that returns its event.
fn envelope(
    protocol: Protocol,
    headers: &HeaderMap,
    body: &[u8],
    complete: bool,
) -> Option<Map<String, Value>> {
    let declared = header(headers, RESPONSE_VERSION);
    if declared == Some("v0") || (declared != Some("v1") && protocol == Protocol::V1) {
        return None;
    }
    let Value::Object(fields) = parse(body, complete)? else { return None };
    let has = |name| fields.contains_key(name);
    let is_one = if declared == Some("v1") {
        has("result") || has("status")
    } else {
        let known = ["request_id", "result", "log", "status"];
        has("result")
            && fields.get("status").is_some_and(Value::is_number)
            && fields.keys().all(|name| known.contains(&name.as_str()))
            && header(headers, INVOCATION_ID)
                .is_none_or(|id| body::text(&fields, "request_id").as_deref() == Some(id))
    };
    is_one.then_some(fields)
}

/// The JSON of a body. Of a cut one the string in which the cut is counts as far as it came: it is the long one.
fn parse(body: &[u8], complete: bool) -> Option<Value> {
    if let Ok(value) = serde_json::from_slice(body) {
        return Some(value);
    }
    // The cut may have gone through a character or an escape.
    let ends = (0..=LONGEST_PIECE).filter(|_| !complete).filter_map(|piece| body.len().checked_sub(piece));
    ends.into_iter().find_map(|end| serde_json::from_slice(&[body.get(..end)?, b"\"}"].concat()).ok())
}

/// What the function returned, out of an envelope. The service writes it as a string.
fn result(envelope: &Map<String, Value>) -> Cow<'_, str> {
    match envelope.get("result") {
        Some(Value::String(text)) => text.into(),
        None | Some(Value::Null) => "".into(),
        Some(other) => other.to_string().into(),
    }
}

/// Code of the function's error, empty if it has none: a header says so, or the status in the envelope.
fn function_error(headers: &HeaderMap, envelope: Option<&Map<String, Value>>) -> Option<String> {
    let code = header(headers, ERROR_CODE).filter(|code| !code.is_empty() && code.parse() != Ok(0_i64));
    let status = envelope
        .and_then(|fields| body::text(fields, "status"))
        .filter(|status| status.parse::<f64>().is_ok_and(|status| status >= 400.0));
    let is_error = header(headers, IS_ERROR).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if !is_error && code.is_none() && status.is_none() {
        return None;
    }
    Some(code.map(str::to_owned).or(status).unwrap_or_default())
}

/// The log: of the header, which is encoded, else of the envelope, which is not.
fn log(headers: &HeaderMap, envelope: Option<&Map<String, Value>>) -> Option<String> {
    let encoded = header(headers, FUNCTION_LOG).and_then(|log| STANDARD.decode(log).ok());
    let from_header = encoded.map(|log| String::from_utf8_lossy(&log).into_owned());
    let from_envelope = || envelope?.get("log")?.as_str().map(str::to_owned);
    from_header.filter(|log| !log.is_empty()).or_else(from_envelope)
}

fn summary(headers: &HeaderMap) -> Option<Summary> {
    let fields: Map<String, Value> = serde_json::from_str(header(headers, INVOKE_SUMMARY)?).ok()?;
    let number = |name| fields.get(name).and_then(Value::as_f64).filter(|number| *number >= 0.0);
    Some(Summary {
        duration_ms: number("duration"),
        billing_duration_ms: number("billingDuration"),
        memory_size_mb: number("memorySize"),
        memory_used_mb: number("memoryUsed"),
    })
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

// === impl SyncResult ===

/// Shows how long log and result are, and nothing of them.
impl fmt::Debug for SyncResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { function_error, summary, log, body, truncated } = self;
        f.debug_struct("SyncResult")
            .field("function_error", function_error)
            .field("summary", summary)
            .field("log_bytes", &log.as_deref().map(str::len))
            .field("body_bytes", &body.len())
            .field("truncated", truncated)
            .finish()
    }
}

#[cfg(test)]
mod tests;
