//! What the fuzz targets share: answers written as text, and what must hold of every text that is kept.

use functiongraph::fuzzing::Raw;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Says what a target does with an input: a program of libFuzzer where it searches, else a function `run` for the test of
/// the inputs that are kept.
#[macro_export]
macro_rules! fuzz_target {
    (|$input:ident: &[u8]| $body:block) => {
        #[cfg(feature = "search")]
        libfuzzer_sys::fuzz_target!(|$input: &[u8]| $body);

        /// Holds one input against what is promised.
        #[cfg(not(feature = "search"))]
        pub fn run($input: &[u8]) $body
    };
}

/// A secret that the caller sent. Dictionary and seeds hold it too, so that answers repeat it.
pub const CANARY: &str = "canary-0123456789";

/// An input that reads like an answer: one line of words, headers, an empty line, a body.
#[derive(Debug)]
pub struct Exchange {
    /// The words of the first line, such as `Sync V2 200`.
    pub words: Vec<String>,
    /// The rest.
    pub raw: Raw,
}

// === impl Exchange ===

impl Exchange {
    /// Takes an input apart; a header that could not be on the wire is left out. The status is the first number among
    /// the words, and 200 without one; the word `cut` says that the body is not all there was.
    #[must_use]
    pub fn read(input: &[u8]) -> Self {
        let (first, mut rest) = line(input);
        let words: Vec<String> =
            String::from_utf8_lossy(first).split_ascii_whitespace().map(str::to_owned).collect();
        let mut headers = HeaderMap::new();
        loop {
            let (header, after) = line(rest);
            rest = after;
            if header.is_empty() {
                break;
            }
            let mut parts = header.splitn(2, |byte| *byte == b':');
            let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let pair = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value.trim_ascii()));
            if let (Ok(name), Ok(value)) = pair {
                headers.append(name, value);
            }
        }
        let status = words.iter().find_map(|word| word.parse().ok()).unwrap_or(200);
        let complete = !words.iter().any(|word| word == "cut");
        Self { words, raw: Raw { status, headers, body: rest.to_vec(), complete } }
    }

    /// Whether a word stands in the first line.
    #[must_use]
    pub fn says(&self, word: &str) -> bool {
        self.words.iter().any(|known| known == word)
    }
}

/// The first line without its end, and what follows.
#[must_use]
pub fn line(input: &[u8]) -> (&[u8], &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (line, rest) = input.split_at(end);
    (line.strip_suffix(b"\r").unwrap_or(line), rest.get(1..).unwrap_or_default())
}

/// Asserts that a text is on one line, short, and shows what it says.
///
/// # Panics
/// If it is not.
pub fn assert_fit_to_be_shown(text: &str, longest: usize) {
    assert!(text.chars().count() <= longest, "{} characters: {text:?}", text.chars().count());
    assert!(!text.chars().any(char::is_control), "control characters: {text:?}");
    assert_obeyed_by_no_terminal(text);
}

/// Asserts that a text of several lines, which may be a function's, moves no cursor, turns no line, hides nothing and
/// repeats no secret.
///
/// # Panics
/// If it does.
pub fn assert_obeyed_by_no_terminal(text: &str) {
    const HIDDEN: [char; 10] = [
        '\u{61c}',
        '\u{180e}',
        '\u{200b}',
        '\u{2028}',
        '\u{202e}',
        '\u{2800}',
        '\u{3164}',
        '\u{feff}',
        '\u{e0001}',
        '\u{e0041}',
    ];
    let lines = text.replace("\r\n", "\n");
    assert!(
        !lines.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')),
        "control characters: {text:?}"
    );
    assert!(!text.contains(HIDDEN), "invisible characters: {text:?}");
    assert!(!text.contains(CANARY), "a secret: {text:?}");
}

/// Asserts that a text is an id or a code and nothing else.
///
/// # Panics
/// If it is not.
pub fn assert_is_id(text: &str) {
    assert!((1..=64).contains(&text.len()), "{text:?}");
    assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{text:?}");
    assert!(!text.contains(CANARY), "a secret: {text:?}");
}
