//! Terminal controls are removed or escaped, and texts that repeat a secret are withheld.

use proptest::prelude::*;

use super::*;

/// One of each kind of invisible or controlling character.
const HIDDEN: &str = "\0\u{7}\u{8}\u{1b}\r\u{7f}\u{85}\u{90}\u{9b}\u{9d}\u{ad}\u{34f}\u{61c}\u{115f}\u{1160}\u{17b4}\
    \u{180b}\u{180e}\u{200b}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2060}\u{2066}\u{2069}\u{2800}\u{3164}\
    \u{e000}\u{fe0f}\u{feff}\u{ffa0}\u{fff9}\u{1bca0}\u{1d173}\u{e0001}\u{e0041}\u{e007f}\u{e0100}\u{10ffff}";

fn shown(secret: &str) -> Shown {
    Shown::secrets([&secret.into()])
}

#[test]
fn t20_a_message_holds_no_terminal_controls() {
    assert_eq!(&*Clean::line("\u{1b}[31mred\r\n\t and\0 more \u{85}\u{202e}txt "), "[31mred and more txt");
    assert_eq!(&*Clean::line(&format!("a{HIDDEN}b")), "a b");
    assert_eq!(&*Clean::line("Grüße, 你好, สวัสดี, 👍 – “x”"), "Grüße, 你好, สวัสดี, 👍 – “x”");
}

#[test]
fn t20_a_result_is_kept_with_escaped_terminal_controls() {
    for c in HIDDEN.chars() {
        let text = format!("a{c}b");
        let kept = Shown::default().beginning(&text, 100);
        assert!(!kept.contains(is_hidden), "{c:?}");
        let read: String = serde_json::from_str(&format!("\"{}\"", &*kept)).unwrap();
        assert_eq!(read, text, "as JSON it is the same text");
        assert_eq!(kept, Shown::default().end(&text, 100));
    }
    let osc = "\u{1b}]0;title\u{7}\u{9b}31m";
    assert_eq!(&*Shown::default().end(osc, 100), r"\u001b]0;title\u0007\u009b31m");
    for plain in ["{\"a\": \"ä 👍\"}\r\n\t[1]\n", "", "C:\\dir\\u001b"] {
        assert_eq!(&*Shown::default().beginning(plain, 100), plain);
    }
}

#[test]
fn a_cut_never_splits_a_character() {
    assert_eq!((cut("aäöü", 2), cut("aä", 2), cut("", 0), cut("ä", 0)), ("aä", "aä", "", ""));
    assert_eq!((tail("aäöü", 2), tail("aä", 9), tail("ä", 0), tail("", 3)), ("öü", "aä", "", ""));
    assert_eq!(&*Shown::default().beginning("aäö", 4), "aä");
    assert_eq!(&*Shown::default().end("a\u{7}", 3), "007");
    assert_eq!(Clean::line(&"ü ".repeat(2000)).chars().count(), MAX_MESSAGE);
}

#[test]
fn t20_no_form_of_a_secret_is_kept() {
    for secret in ["dX9qTz+3vRb/7LkWm2NcYh8JsGf4PaE6uV1oKxQi", "correct horse+battery/stapleSomewhere11"] {
        for (name, form) in variants::of(secret) {
            for text in [format!("who is {form}?"), form.clone(), format!("x{form}x")] {
                assert_eq!(&*shown(secret).line(&text), WITHHELD, "{name}: {text}");
                assert_eq!(&*shown(secret).beginning(&text, 8192), WITHHELD, "{name}: {text}");
                assert_eq!(&*shown(secret).end(&text, 4096), WITHHELD, "{name}: {text}");
            }
        }
    }
}

#[test]
fn t20_a_short_secret_is_found_as_a_whole() {
    for (secret, text) in [
        ("hunter2", "the password hunter2 is wrong"),
        ("hunter2", "the password aHVudGVyMg== is wrong"),
        ("hunter2", "2retnuh"),
        ("!\"§$%&/()=", "you said !\"§$%&/()=?"),
        ("pässwörd", "P\u{c4}SSW\u{d6}RD"),
        (" padded ", "padded"),
    ] {
        assert_eq!(&*shown(secret).line(text), WITHHELD, "{secret}: {text}");
    }
}

#[test]
fn t20_a_secret_of_a_few_characters_takes_no_message_away() {
    let text = "The token is invalid: eeeee, 0000000000, 1167bf8c-87b0-43ab-8f5f-26b16c64f252";
    for secret in ["e", "to", "the", "oken", "token", "0000000000000000", ""] {
        assert_eq!(&*shown(secret).line(text), text, "{secret}");
    }
    assert_eq!(
        &*shown("Password-2026-winter").line("The user name or password is wrong."),
        "The user name or password is wrong."
    );
}

#[test]
fn t20_an_id_that_repeats_a_secret_is_none() {
    let shown = shown("dX9qTz+3vRb/7LkWm2NcYh8JsGf4PaE6uV1oKxQi");
    for id in ["dX9qTz-3vRb", "iQxKo1Vu6EaP", "64583971547a", "a b", ""] {
        assert_eq!(shown.id(id.to_owned()), None, "{id}");
    }
    let id = "1167bf8c-87b0-43ab-8f5f-26b16c64f252".to_owned();
    assert_eq!(shown.id(id.clone()), Some(id));
}

#[test]
fn t20_the_search_goes_beyond_the_cut_by_the_length_of_a_secret() {
    let text = format!("{} hunter2", "x".repeat(MAX_MESSAGE - 4));
    assert_eq!(&*shown("hunter2").line(&text), WITHHELD);
}

proptest! {
    #[test]
    fn t20_every_text_is_fit_to_be_shown(text in any::<String>(), secret in "[ -~]{0,40}") {
        let shown = shown(&secret);
        prop_assert!(!shown.line(&text).contains(is_hidden));
        for kept in [shown.beginning(&text, 64), shown.end(&text, 64)] {
            prop_assert!(!kept.replace("\r\n", "").contains(|c| is_hidden(c) && !matches!(c, '\n' | '\t')));
        }
    }

    #[test]
    fn t20_ten_characters_of_a_secret_are_enough(
        secret in "[A-Za-z0-9]{32}",
        at in 0_usize..22,
        before in "[ -~]{0,20}",
    ) {
        let part = &secret[at..at + 10];
        prop_assume!(part.to_ascii_lowercase().bytes().collect::<std::collections::BTreeSet<_>>().len() > 3);
        prop_assert_eq!(&*shown(&secret).line(&format!("{before} {part}")), WITHHELD);
    }
}
