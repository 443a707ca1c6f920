//! T20: whatever a server says is fit to be shown, and repeats no credential in any form.
#![cfg_attr(feature = "search", no_main)]

use functiongraph::fuzzing::Text;
use functiongraph::text::{MAX_MESSAGE, WITHHELD};
use functiongraph_fuzz::{assert_fit_to_be_shown, assert_obeyed_by_no_terminal, fuzz_target, line};

/// What is kept of a result here.
const KEPT: usize = 512;

/// Characters in a row that no text shares with a secret.
const SHINGLE: usize = 10;

// First line: the secret. The rest is what the server says.
fuzz_target!(|input: &[u8]| {
    let (secret, said) = line(input);
    let (secret, said) = (String::from_utf8_lossy(secret), String::from_utf8_lossy(said));
    let kept = Text::shown(&secret, &said, KEPT);

    assert_fit_to_be_shown(&kept.line, MAX_MESSAGE);
    assert!(kept.beginning.len() <= KEPT.max(WITHHELD.len()), "{:?}", kept.beginning);
    assert!(kept.end.chars().count() <= KEPT, "{:?}", kept.end);
    for text in [&kept.line, &kept.beginning, &kept.end] {
        assert_obeyed_by_no_terminal(text);
        assert_repeats_nothing(text, &secret);
    }
    let again = Text::shown(&secret, &kept.line, KEPT).line;
    assert_eq!(again, kept.line, "what is fit to be shown stays as it is");
});

/// Asserts that no part of the secret is in the text, however it is written: plainly, by other means than the product's.
fn assert_repeats_nothing(text: &str, secret: &str) {
    if text == WITHHELD {
        return;
    }
    let plain = |text: &str| -> Vec<u8> {
        text.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase()).collect()
    };
    // Both are reduced in another way where they are no ASCII.
    if !(text.is_ascii() && secret.is_ascii()) {
        return;
    }
    let (text, secret) = (plain(text), plain(secret.trim()));
    let reversed: Vec<u8> = text.iter().rev().copied().collect();
    for part in secret.windows(SHINGLE) {
        let mut known = part.to_vec();
        known.sort_unstable();
        known.dedup();
        let is_in = |text: &[u8]| text.windows(SHINGLE).any(|window| window == part);
        assert!(
            known.len() < 4 || !(is_in(&text) || is_in(&reversed)),
            "{:?}",
            String::from_utf8_lossy(part)
        );
    }
}
