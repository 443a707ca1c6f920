//! Reads bodies in every shape the service, its gateway and the proxies before them are known to send.

use serde_json::{Map, Value};

use crate::text::is_id;

/// Names of the invocation's id: of API v2, of v1.0, and of the open-source kernel. Several may arrive at once.
const IDS: [&str; 3] = ["request_id", "request-id", "requestId"];

/// Names of the reserved instance's id: the documented one, and how other ids are spelled.
const INSTANCES: [&str; 3] = ["instance_id", "instance-id", "instanceId"];

/// Names of the error code; the last one is the identity service's.
const CODES: [&str; 3] = ["error_code", "errorCode", "code"];

/// Names of the error message, in the order of [`CODES`].
const MESSAGES: [&str; 3] = ["error_msg", "errorMsg", "message"];

/// The one object that an error is known to be wrapped in: IAM writes `{"error":{"code":401,"message":"…"}}`.
const WRAPPER: &str = "error";

/// What a body says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Body {
    /// An id, of the invocation or of the exchange.
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
    /// Reads a body; what is not a JSON object says nothing. The JSON parser limits how deep it goes by itself.
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

/// Code and message of an error, from these fields and none below them: an error page may repeat the event, and the
/// author of the event must not decide what the answer means.
fn error(fields: &Map<String, Value>) -> (Option<String>, Option<String>) {
    let first = |names: [&str; 3]| names.iter().find_map(|name| text(fields, name));
    (first(CODES), first(MESSAGES))
}

/// A field that is a text, or a number written as one.
pub(crate) fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    match fields.get(name)? {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
