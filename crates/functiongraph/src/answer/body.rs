//! Reads bodies in every shape the service, its gateway and the proxies before them are known to send.

use serde_json::{Map, Value};

use super::is_id;

/// Names of the invocation's id: of API v2, of v1.0, and of the open-source kernel. Several may arrive at once.
const IDS: [&str; 3] = ["request_id", "request-id", "requestId"];

/// Names of the reserved instance's id: the documented one, and how other ids are spelled.
const INSTANCES: [&str; 3] = ["instance_id", "instance-id", "instanceId"];

/// Names of the error code; the last one is the identity service's.
const CODES: [&str; 3] = ["error_code", "errorCode", "code"];

/// Names of the error message, in the order of [`CODES`].
const MESSAGES: [&str; 3] = ["error_msg", "errorMsg", "message"];

/// How deep an error may be wrapped; one level is what is known.
const MAX_DEPTH: usize = 4;

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
    /// The body as text.
    pub raw: String,
}

// === impl Body ===

impl Body {
    /// Reads a body; what is not JSON is text. The JSON parser limits how deep it goes by itself.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let raw = String::from_utf8_lossy(bytes).into_owned();
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => {
                let id = |names: [&str; 3]| {
                    names.iter().filter_map(|name| text(&fields, name)).find(|id| is_id(id))
                };
                let (code, message) = error(&fields, MAX_DEPTH);
                Self { id: id(IDS), instance: id(INSTANCES), code, message, raw }
            }
            _ => Self { raw, ..Self::default() },
        }
    }
}

/// Code and message of an error, from the outermost object that has one of them.
fn error(fields: &Map<String, Value>, depth: usize) -> (Option<String>, Option<String>) {
    let code = CODES.iter().find_map(|name| text(fields, name));
    let message = MESSAGES.iter().find_map(|name| text(fields, name));
    if depth == 0 || code.is_some() || message.is_some() {
        return (code, message);
    }
    let inner = fields.values().filter_map(Value::as_object).map(|inner| error(inner, depth - 1));
    inner.into_iter().find(|found| *found != (None, None)).unwrap_or_default()
}

/// A field that is a text, or a number written as one.
pub(crate) fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    match fields.get(name)? {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
