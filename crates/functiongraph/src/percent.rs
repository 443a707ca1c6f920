//! Percent-encoding with the alphabet that the service signs with: everything except `A-Z a-z 0-9 - _ . ~`.

/// Upper-case digits, as the signature requires.
const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Encodes a path segment, or a key or value of a query.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        push(&mut encoded, byte);
    }
    encoded
}

/// Decodes a path and encodes it again, so that raw and encoded spellings of it become the same text.
///
/// As in the official signer, an encoded slash becomes a separator, and a `%` without two hexadecimal digits after it
/// is kept as a `%`.
pub(crate) fn normalize_path(path: &str) -> String {
    let mut normal = String::with_capacity(path.len() + 16);
    let mut rest = path.as_bytes();
    while let Some((byte, after)) = next_byte(rest) {
        match byte {
            b'/' => normal.push('/'),
            _ => push(&mut normal, byte),
        }
        rest = after;
    }
    normal
}

/// The next decoded byte of `encoded`, and the rest.
fn next_byte(encoded: &[u8]) -> Option<(u8, &[u8])> {
    if let [b'%', high, low, after @ ..] = encoded
        && let (Some(high), Some(low)) = (digit(*high), digit(*low))
    {
        return Some((high << 4 | low, after));
    }
    encoded.split_first().map(|(byte, after)| (*byte, after))
}

fn digit(hex: u8) -> Option<u8> {
    match hex {
        b'0'..=b'9' => Some(hex - b'0'),
        b'a'..=b'f' => Some(hex - b'a' + 10),
        b'A'..=b'F' => Some(hex - b'A' + 10),
        _ => None,
    }
}

fn push(encoded: &mut String, byte: u8) {
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
        encoded.push(char::from(byte));
    } else {
        encoded.push('%');
        encoded.push(char::from(HEX[usize::from(byte >> 4)]));
        encoded.push(char::from(HEX[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_unreserved_characters_stay_as_they_are() {
        assert_eq!(encode("aZ09-_.~"), "aZ09-_.~");
        assert_eq!(encode("a b+c/d:!%é"), "a%20b%2Bc%2Fd%3A%21%25%C3%A9");
    }

    #[test]
    fn a_percent_sign_that_encodes_nothing_is_kept() {
        assert_eq!(normalize_path("/a%/b%4/c%zz/d%3a"), "/a%25/b%254/c%25zz/d%3A");
        assert_eq!(normalize_path("%ff%2F%00"), "%FF/%00");
    }
}
