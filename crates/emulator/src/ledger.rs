//! The ledger: one entry for each accepted submission. Tests compare with it.

use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::api::Api;

/// A submission that was accepted, whatever answer the caller got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// When it was accepted.
    pub time: Timestamp,
    /// The API that accepted it.
    pub api: Api,
    /// Full URN of the function, with the qualifier of the call.
    pub function: String,
    /// The request id, even if the caller did not receive it. A reserved invocation returns `instance_id` instead.
    pub request_id: String,
    /// The id of the reserved instance, for `reserved-invocations`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// `X-Cff-Instance-Memory` of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_memory: Option<String>,
    /// SHA-256 of the event, in hexadecimal; the event itself is not kept.
    pub body_sha256: String,
    /// Length of the event.
    pub body_bytes: usize,
    /// The top-level field `tag` of the event, if it is a string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

impl LedgerEntry {
    /// The entry of an event that is accepted now.
    pub(crate) fn of(time: Timestamp, api: Api, function: String, request_id: String, event: &[u8]) -> Self {
        Self {
            time,
            api,
            function,
            request_id,
            instance_id: None,
            instance_memory: None,
            body_sha256: format!("{:x}", Bytes::copy_from_slice(&Sha256::digest(event))),
            body_bytes: event.len(),
            tag: tag(event),
        }
    }
}

/// Whether a name, `package:name` or a URN means the function with this URN.
pub(crate) fn is_function(urn: &str, wanted: &str) -> bool {
    let fields: Vec<&str> = urn.split(':').collect();
    match fields.as_slice() {
        [_, _, _, _, _, package, name, ..] => {
            *name == wanted || format!("{package}:{name}") == wanted || urn == wanted
        }
        _ => false,
    }
}

/// The tag of an event; none unless the event is an object with a string in `tag`.
pub(crate) fn tag(event: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Tagged {
        tag: String,
    }
    // Serde reads a struct also from an array, whose first value would then be the tag.
    event.trim_ascii_start().starts_with(b"{").then_some(())?;
    serde_json::from_slice::<Tagged>(event).ok().map(|event| event.tag)
}

/// All entries, in the order of acceptance.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Vec<LedgerEntry>>);

impl Ledger {
    pub(crate) fn add(&self, entry: LedgerEntry) {
        self.0.lock().push(entry);
    }

    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }

    pub(crate) fn entries(&self) -> Vec<LedgerEntry> {
        self.0.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_top_level_string_is_a_tag() {
        assert_eq!(tag(br#"{"k":{"tag":"no"},"tag":"yes"}"#), Some("yes".to_owned()));
        assert_eq!(tag(br#"{"tag":1}"#), None);
        assert_eq!(tag(br#"{"k":{"tag":"no"}}"#), None);
        assert_eq!(tag(br#"["tag"]"#), None);
        assert_eq!(tag(br#"["tag", "x"]"#), None);
    }

    #[test]
    fn an_entry_keeps_the_digest_and_not_the_event() {
        let entry = LedgerEntry::of(Timestamp::UNIX_EPOCH, Api::Invoke, "f".into(), "i".into(), b"{}");
        assert_eq!(entry.body_sha256, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
        assert_eq!(entry.body_bytes, 2);
    }
}
