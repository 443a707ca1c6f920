//! The inline event of an invocation: its bytes, or its digest once the bytes are dropped.

use schemars::JsonSchema;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use std::fmt::{self, Write as _};

/// An inline event. `Debug` shows only its size.
#[derive(Clone)]
pub enum Payload {
    /// The JSON text as the API server encodes it.
    Text(Box<RawValue>),
    /// The digest that stays in memory without the text.
    Digest(Box<EventDigest>),
}

/// Digest of an event whose text is not in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventDigest {
    /// Identifies the bytes to send: `sha256:` and 64 hexadecimal digits.
    pub version: String,
    /// Number of bytes to send.
    pub sent_bytes: usize,
    /// Number of bytes that the API server stores.
    pub stored_bytes: usize,
}

// === impl Payload ===

impl Payload {
    /// The digest, computed from the text or remembered.
    pub fn digest(&self) -> EventDigest {
        match self {
            Self::Text(text) => {
                let stored_bytes = text.get().len();
                let sent = unescaped(text.get().as_bytes().to_vec());
                EventDigest { version: event_version(&sent), sent_bytes: sent.len(), stored_bytes }
            }
            Self::Digest(digest) => (**digest).clone(),
        }
    }

    /// Number of bytes that the API server stores.
    pub fn stored_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.get().len(),
            Self::Digest(digest) => digest.stored_bytes,
        }
    }

    /// The same event without its text, so that users' events do not fill the memory.
    pub fn without_text(self) -> Self {
        self.into_event().1
    }

    /// The bytes to send, none if only the digest is left; and the same event without its text. Moves the text and
    /// does not copy it, because this runs for each object of a watch.
    pub fn into_event(self) -> (Option<Vec<u8>>, Self) {
        let Self::Text(text) = self else { return (None, self) };
        let text: Box<str> = text.into();
        let stored_bytes = text.len();
        let event = unescaped(text.into_string().into_bytes());
        let digest = EventDigest { version: event_version(&event), sent_bytes: event.len(), stored_bytes };
        (Some(event), Self::Digest(Box::new(digest)))
    }
}

/// Identifies an event: `sha256:` and the hash of its bytes.
pub fn event_version(event: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(event) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Removes the HTML escapes that the API server adds: `<`, `>`, `&` and two line separators become six bytes each.
/// All other bytes stay unchanged.
pub fn unescaped(mut json: Vec<u8>) -> Vec<u8> {
    let (mut read, mut written) = (0, 0);
    while read < json.len() {
        let rest = json.get(read..).unwrap_or_default();
        let run = rest.iter().position(|byte| *byte == b'\\').unwrap_or(rest.len());
        let (plain, length): (&[u8], usize) = match rest.get(run..) {
            Some([b'\\', b'u', b'0', b'0', b'3', b'c' | b'C', ..]) => (b"<", 6),
            Some([b'\\', b'u', b'0', b'0', b'3', b'e' | b'E', ..]) => (b">", 6),
            Some([b'\\', b'u', b'0', b'0', b'2', b'6', ..]) => (b"&", 6),
            Some([b'\\', b'u', b'2', b'0', b'2', b'8', ..]) => ("\u{2028}".as_bytes(), 6),
            Some([b'\\', b'u', b'2', b'0', b'2', b'9', ..]) => ("\u{2029}".as_bytes(), 6),
            // A backslash takes the next character with it: `\\u003c` is a backslash and text.
            Some([b'\\', _, ..]) => (&[], 2),
            rest => (&[], rest.map_or(0, <[u8]>::len)),
        };
        // The unchanged part moves as one piece, followed by the replacement.
        let kept = run + if plain.is_empty() { length } else { 0 };
        json.copy_within(read..read + kept, written);
        json[written + kept..written + kept + plain.len()].copy_from_slice(plain);
        written += kept + plain.len();
        read += run + length;
    }
    json.truncate(written);
    json
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => text.serialize(serializer),
            Self::Digest(_) => Err(S::Error::custom("the text of the payload is not held in memory")),
        }
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self::Text)
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.stored_bytes())
    }
}

impl JsonSchema for Payload {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Payload".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": true,
            // Atomic, because there is one writer: otherwise managedFields lists every key, a third of the object's
            // size.
            "x-kubernetes-map-type": "atomic",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(json: &str) -> Payload {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn html_escapes_are_taken_back_and_other_escapes_stay() {
        for (stored, sent) in [
            (r#"{"a":"\u003cb\u003E \u0026"}"#, r#"{"a":"<b> &"}"#),
            (r#"{"a":"\\u003c"}"#, r#"{"a":"\\u003c"}"#),
            (r#"{"a":"\\\u003c\n\""}"#, r#"{"a":"\\<\n\""}"#),
            (r#"{"a":"\u0000\u001f\ud83d\ude00"}"#, r#"{"a":"\u0000\u001f\ud83d\ude00"}"#),
            (r#"{"a":"\u2028\u2029"}"#, "{\"a\":\"\u{2028}\u{2029}\"}"),
        ] {
            assert_eq!(String::from_utf8(text(stored).into_event().0.unwrap()).unwrap(), sent);
        }
    }

    #[test]
    fn the_digest_is_that_of_the_bytes_that_are_sent_and_outlives_the_text() {
        let payload = text(r#"{"a":"\u003c"}"#);
        let digest = payload.digest();
        assert_eq!((digest.sent_bytes, digest.stored_bytes), (9, 14));
        assert_eq!(digest.version, event_version(br#"{"a":"<"}"#));
        let slim = payload.without_text();
        assert_eq!(slim.digest(), digest);
        assert_eq!(slim.into_event().0, None);
    }

    #[test]
    fn t08_an_event_is_not_shown_by_debug() {
        assert_eq!(format!("{:?}", text(r#"{"a":"secret"}"#)), "Payload(14 bytes)");
    }

    proptest! {
        #[test]
        fn what_is_sent_means_what_is_stored(words in proptest::collection::vec("[<>&\\\\\"nu03c\u{2028}\u{2029}ä]{0,12}", 0..6)) {
            let value = serde_json::json!({ "words": words });
            // The API server's Go encoder escapes these five.
            let mut stored = value.to_string();
            for (plain, escaped) in
                [("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("\u{2028}", "\\u2028"), ("\u{2029}", "\\u2029")]
            {
                stored = stored.replace(plain, escaped);
            }
            let sent = text(&stored).into_event().0.unwrap();
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&sent).unwrap(), value.clone());
            prop_assert_eq!(String::from_utf8(sent).unwrap(), value.to_string());
        }
    }
}
