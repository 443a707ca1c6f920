//! The encodings in which a server may repeat a secret.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

/// `secret` in 34 forms, each with its name.
pub(crate) fn of(secret: &str) -> Vec<(&'static str, String)> {
    let bytes = secret.as_bytes();
    let encode = |prefix: &str| STANDARD.encode(format!("{prefix}{secret}"));
    let each = |form: &dyn Fn(u8) -> String| bytes.iter().map(|byte| form(*byte)).collect::<String>();
    let join = |with: &str| secret.chars().map(String::from).collect::<Vec<_>>().join(with);
    let folded = |text: &str, width: usize| {
        let lines = text.as_bytes().chunks(width).map(|line| str::from_utf8(line).unwrap());
        lines.collect::<Vec<_>>().join("\n ")
    };
    let reversed = |text: &str| text.chars().rev().collect::<String>();
    let (third, half) = (secret.len() / 3, secret.len() / 2);
    vec![
        ("as it is", secret.to_owned()),
        ("lower case", secret.to_lowercase()),
        ("upper case", secret.to_uppercase()),
        (
            "mixed case",
            each(&|b| {
                if b % 3 == 0 { b.to_ascii_lowercase() } else { b.to_ascii_uppercase() }
                    .escape_ascii()
                    .to_string()
            }),
        ),
        ("reversed", reversed(secret)),
        ("base64", encode("")),
        ("base64 after one byte", encode(":")),
        ("base64 after two bytes", encode("a:")),
        ("base64 without padding", STANDARD_NO_PAD.encode(secret)),
        ("base64url", URL_SAFE.encode(secret)),
        ("base64url without padding", URL_SAFE_NO_PAD.encode(secret)),
        ("base64 twice", STANDARD.encode(encode("user:"))),
        ("base64, folded", folded(&encode("user:"), 20)),
        ("base64, reversed", reversed(&encode(""))),
        ("base64 of it reversed", STANDARD.encode(reversed(secret))),
        ("hex", each(&|b| format!("{b:02x}"))),
        ("hex in capitals", each(&|b| format!("{b:02X}"))),
        ("hex with colons", each(&|b| format!("{b:02x}:"))),
        ("hex with 0x", each(&|b| format!("0x{b:02x}, "))),
        ("hex as a string's escapes", each(&|b| format!("\\x{b:02x}"))),
        ("base64 of hex", STANDARD.encode(each(&|b| format!("{b:02x}")))),
        ("URL encoding of everything", each(&|b| format!("%{b:02X}"))),
        (
            "URL encoding of every third",
            each(&|b| if b % 3 == 0 { format!("%{b:02x}") } else { char::from(b).into() }),
        ),
        ("URL encoding twice", each(&|b| format!("%25{b:02X}"))),
        ("HTML entities", each(&|b| format!("&#{b};"))),
        (
            "HTML entities in hex, every third",
            each(&|b| if b % 3 == 0 { format!("&#x{b:x};") } else { char::from(b).into() }),
        ),
        ("JSON escapes", each(&|b| format!("\\u{b:04x}"))),
        ("numbers", each(&|b| format!("{b}, "))),
        ("folded", folded(secret, 7)),
        ("spaced", join(" ")),
        ("a list of characters", join("\",\"")),
        ("with zero-width spaces", join("\u{200b}")),
        ("full width", secret.chars().map(|c| char::from_u32(u32::from(c) + 0xfee0).unwrap()).collect()),
        ("its beginning", secret[..half].to_owned()),
        ("its end", secret[secret.len() - half..].to_owned()),
        ("its middle", format!("…{}…", &secret[third..2 * third])),
    ]
}
