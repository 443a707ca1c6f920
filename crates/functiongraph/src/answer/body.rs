//! Reads bodies in every format that the service, its gateway and proxies in front of them are known to send.

use serde_json::{Map, Value};

use crate::text::is_id;

/// Names of the invocation's id in API v2, in v1.0, and in the open-source kernel. One body may hold several of them.
const IDS: [&str; 3] = ["request_id", "request-id", "requestId"];

/// Names of the reserved instance's id: the documented one, and the spellings used for other ids.
const INSTANCES: [&str; 3] = ["instance_id", "instance-id", "instanceId"];

/// Names of the error code. The last one is from the identity service.
const CODES: [&str; 3] = ["error_code", "errorCode", "code"];

/// Names of the error message, in the order of [`CODES`].
const MESSAGES: [&str; 3] = ["error_msg", "errorMsg", "message"];

/// The only object that is known to wrap an error: IAM writes `{"error":{"code":401,"message":"…"}}`.
const WRAPPER: &str = "error";

/// Fields of a body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Body {
    /// Id of the invocation or of the request.
    pub id: Option<String>,
    /// Id of a reserved instance.
    pub instance: Option<String>,
    /// Error code.
    pub code: Option<String>,
    /// Error message.
    pub message: Option<String>,
}

// === impl Body ===

impl Body {
    /// Reads a body. A body that is not a JSON object has no fields. The JSON parser limits the depth.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let Ok(Value::Object(fields)) = serde_json::from_slice(bytes) else { return Self::default() };
        let id = |names: [&str; 3]| names.iter().filter_map(|name| text(&fields, name)).find(|id| is_id(id));
        let (code, message) = match error(&fields) {
            (None, None) => fields.get(WRAPPER).and_then(Value::as_object).map(error).unwrap_or_default(),
            found => found,
        };
        Self { id: id(IDS), instance: id(INSTANCES), code, message }
    }
}

/// Code and message of an error, from the top level only. An error page may repeat the event deeper down, and the
/// author of the event must not decide how the operator reads the answer.
fn error(fields: &Map<String, Value>) -> (Option<String>, Option<String>) {
    let first = |names: [&str; 3]| names.iter().find_map(|name| text(fields, name));
    (first(CODES), first(MESSAGES))
}

/// A text field, or a number as text.
pub(crate) fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    match fields.get(name)? {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
