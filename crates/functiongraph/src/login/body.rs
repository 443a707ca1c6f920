//! Builds JSON with secrets in memory that never moves. The memory is wiped when the last copy is dropped.

use bytes::Bytes;
use secrecy::zeroize::Zeroizing;

/// Bytes that one byte of text may need in JSON: `\u001f`.
const LONGEST_ESCAPE: usize = 6;

/// A JSON text from alternating punctuation and values: `[r#"{"name":"#, name, r#","password":"#, password, "}"]`
/// becomes `{"name":"…","password":"…"}`.
pub(super) fn json(pieces: &[&str]) -> Bytes {
    let mut json = Zeroizing::new(Vec::with_capacity(capacity(pieces)));
    for pair in pieces.chunks(2) {
        let [punctuation, value @ ..] = pair else { continue };
        json.extend_from_slice(punctuation.as_bytes());
        for text in value {
            push_text(&mut json, text);
        }
    }
    Bytes::from_owner(json)
}

/// Capacity for the worst case. A buffer that grows leaves a copy behind that nobody wipes.
fn capacity(pieces: &[&str]) -> usize {
    pieces.iter().map(|piece| piece.len() * LONGEST_ESCAPE + 2).sum()
}

/// Writes a JSON string.
fn push_text(json: &mut Vec<u8>, text: &str) {
    json.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => json.extend([b'\\', byte]),
            0..=0x1f => {
                let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
                json.extend([b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            }
            _ => json.push(byte),
        }
    }
    json.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json as expected;

    use super::*;

    #[test]
    fn punctuation_and_values_alternate() {
        assert_eq!(json(&[r#"{"a":"#, "x\"y", r#","b":"#, "", "}"]), r#"{"a":"x\"y","b":""}"#);
    }

    proptest! {
        #[test]
        fn every_text_arrives_as_it_is_and_nothing_moves(text in "\\PC*|[\\x00-\\x7f]*") {
            let pieces = [r#"{"a":"#, &text, "}"];
            let bytes = json(&pieces);
            let read: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(read, expected!({ "a": text }));
            prop_assert!(bytes.len() <= capacity(&pieces));
        }
    }
}
