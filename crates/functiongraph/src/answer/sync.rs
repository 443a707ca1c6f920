//! Reads the answer to a synchronous invocation: bare or in an envelope, with or without a log.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde_json::{Map, Value};

use super::{INVOCATION_ID, body};
use crate::invocation::Protocol;
use crate::text::{Clean, Shown};

/// Bytes of a synchronous answer that are read. The service sends up to 6 MB, which is too much memory for a caller
/// that needs only the result's status.
pub const MAX_RESULT: usize = 256 * 1024;

/// Bytes of a result that are kept.
pub const MAX_KEPT: usize = 64 * 1024;

/// Characters of a log that are kept, from its end. The service sends 4 KB or less.
const MAX_LOG: usize = 4096;

/// Replaces a missing error code.
const UNKNOWN_CODE: &str = "unknown";

/// Longest incomplete escape at a cut: `\ud83d\ude00` without its last byte.
const LONGEST_PIECE: usize = 11;

const FUNCTION_LOG: &str = "x-cff-function-log";
const INVOKE_SUMMARY: &str = "x-cff-invoke-summary";
const RESPONSE_VERSION: &str = "x-cff-response-version";
const ERROR_CODE: &str = "x-func-err-code";
const IS_ERROR: &str = "x-is-func-err";

/// Result of a function that was executed synchronously.
#[derive(Clone, PartialEq)]
pub struct SyncResult {
    /// Code of the function's error; `unknown` if the error has none. `None` means success.
    pub function_error: Option<String>,
    /// Duration, cost and memory of the execution.
    pub summary: Option<Summary>,
    /// The end of the function's log, if you asked for it: at most 4096 characters, escaped like `body`.
    pub log: Option<Clean>,
    /// What the function returned, as text without the service's envelope; at most [`MAX_KEPT`] bytes. Line breaks
    /// and tabs are kept. Other invisible characters are escaped as in JSON, such as `\u001b`, so a JSON document
    /// keeps its meaning.
    pub body: Clean,
    /// Whether `body` is cut: it was too long, or the connection ended early.
    pub truncated: bool,
}

/// Duration, cost and memory of an execution, as the service reports them.
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

/// The parts of a synchronous answer.
pub(super) struct Read {
    /// Id of the invocation, if the body is an envelope that holds one.
    pub id: Option<String>,
    pub result: SyncResult,
}

// === impl Read ===

impl Read {
    /// Reads an answer of one API edition. `complete` says whether `body` is the whole body.
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
/// The service usually says whether it is. If it does not, the body is an envelope if the request asked for one and
/// the body has exactly an envelope's fields. A body with another request id than the header's is not an envelope: a
/// function may return an object that looks like one, for example its own event.
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

/// Parses the JSON of a body. If the body is cut inside a string, the string ends at the cut: the long string is the
/// result.
fn parse(body: &[u8], complete: bool) -> Option<Value> {
    if let Ok(value) = serde_json::from_slice(body) {
        return Some(value);
    }
    // The cut may have gone through a character or an escape.
    let ends = (0..=LONGEST_PIECE).filter(|_| !complete).filter_map(|piece| body.len().checked_sub(piece));
    ends.into_iter().find_map(|end| serde_json::from_slice(&[body.get(..end)?, b"\"}"].concat()).ok())
}

/// The function's result from an envelope. The service writes it as a string.
fn result(envelope: &Map<String, Value>) -> Cow<'_, str> {
    match envelope.get("result") {
        Some(Value::String(text)) => text.into(),
        None | Some(Value::Null) => "".into(),
        Some(other) => other.to_string().into(),
    }
}

/// Code of the function's error, empty if it has none. A header or the status in the envelope tells of an error.
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

/// The log: from the header, which is base64, or from the envelope, which is plain.
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

/// Shows only the lengths of log and result.
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
