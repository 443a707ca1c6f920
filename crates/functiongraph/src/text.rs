//! Cleans texts of other parties: every text of an answer passes through [`Shown`] and becomes [`Clean`].

mod readings;

use std::fmt::{self, Write};
use std::ops::Deref;
use std::sync::Arc;

use http::Request;
use http::header::AUTHORIZATION;
use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup};
use icu_properties::{CodePointMapData, CodePointSetData};
use secrecy::SecretString;

use crate::credentials::Credential;
use readings::Readings;

/// Replaces a text that repeats a credential.
pub const WITHHELD: &str = "withheld, because it repeats a credential";

/// Characters of a message that are kept.
pub const MAX_MESSAGE: usize = 1024;

/// Longest id: the API's own limit for a request id as a parameter.
const MAX_ID: usize = 64;

/// Additional characters that are searched beyond the kept ones, because half of a short secret is not recognised.
const MARGIN: usize = 256;

/// A text of another party that is safe to keep and show. It has no control characters for terminals and no invisible
/// characters, and repeats nothing of the credentials that the other party received.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Clean(String);

/// Secrets that an exchange sent to the other party. No kept text may repeat them.
#[derive(Clone, Default)]
pub(crate) struct Shown(Arc<[SecretString]>);

// === impl Clean ===

impl Clean {
    /// A text from a party that received no secret, on one line and at most [`MAX_MESSAGE`] characters long.
    #[must_use]
    pub fn line(text: &str) -> Self {
        Shown::default().line(text)
    }
}

impl Deref for Clean {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<&str> for Clean {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for Clean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl From<Clean> for String {
    fn from(Clean(text): Clean) -> Self {
        text
    }
}

// === impl Shown ===

impl Shown {
    /// These secrets.
    pub(crate) fn secrets<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        Self(secrets.into_iter().cloned().collect())
    }

    /// The secrets of a credential; see [`and_signature`](Self::and_signature).
    pub(crate) fn credential(credential: &Credential) -> Self {
        Self::secrets(credential.secrets())
    }

    /// Adds the signature of a request: a copy of the signature allows a copy of the request.
    pub(crate) fn and_signature<B>(self, request: &Request<B>) -> Self {
        let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        match header.and_then(|header| header.rsplit_once("Signature=")) {
            Some((_, signature)) => {
                Self(self.0.iter().cloned().chain([SecretString::from(signature)]).collect())
            }
            None => self,
        }
    }

    /// `text` on one line, at most [`MAX_MESSAGE`] characters of it.
    pub(crate) fn line(&self, text: &str) -> Clean {
        let text = one_line(text, MAX_MESSAGE + MARGIN);
        if self.is_in(&text) { withheld() } else { Clean(cut(&text, MAX_MESSAGE).to_owned()) }
    }

    /// The beginning of `text`, at most `limit` bytes of it. Invisible characters and those that control a terminal
    /// are escaped as in JSON, so a JSON document keeps its meaning.
    pub(crate) fn beginning(&self, text: &str, limit: usize) -> Clean {
        let searched = &text[..text.floor_char_boundary(limit + MARGIN)];
        if self.is_in(searched) {
            return withheld();
        }
        let mut escaped = escaped(&searched[..searched.floor_char_boundary(limit)]);
        escaped.truncate(escaped.floor_char_boundary(limit));
        Clean(escaped)
    }

    /// The end of `text`, at most `limit` characters of it, escaped as in [`beginning`](Self::beginning).
    pub(crate) fn end(&self, text: &str, limit: usize) -> Clean {
        let searched = tail(text, limit + MARGIN);
        if self.is_in(searched) {
            return withheld();
        }
        Clean(tail(&escaped(tail(searched, limit)), limit).to_owned())
    }

    /// A text that is an id or a code, and repeats no secret.
    pub(crate) fn id(&self, text: String) -> Option<String> {
        (is_id(&text) && !self.is_in(&text)).then_some(text)
    }

    /// Whether a text repeats a part of a secret.
    fn is_in(&self, text: &str) -> bool {
        !self.0.is_empty() && !text.is_empty() && Readings::of(text).any_repeats(&self.0)
    }
}

fn withheld() -> Clean {
    Clean(WITHHELD.to_owned())
}

/// Whether a text has only the characters of an id or an error code.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=MAX_ID).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// `text` on one line, at most `limit` characters of it. Runs of spaces and invisible characters become one space.
fn one_line(text: &str, limit: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || is_hidden(c)).filter(|word| !word.is_empty());
    let mut line = String::new();
    let mut remaining = limit;
    for word in words {
        if remaining == 0 {
            break;
        }
        if !line.is_empty() {
            line.push(' ');
            remaining -= 1;
        }
        let word = cut(word, remaining);
        remaining -= word.chars().count();
        line.push_str(word);
    }
    line
}

/// `text` with JSON's escapes for invisible characters; line breaks and tabs stay.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let is_plain = matches!(c, '\n' | '\t') || (c == '\r' && rest.peek() == Some(&'\n'));
        if is_plain || !is_hidden(c) {
            escaped.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a `String` does not fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        }
    }
    escaped
}

/// Whether a character is a command for a terminal or invisible: control and format characters (including those that
/// change the direction of writing), fillers, tags, variation selectors, characters without a public meaning, and the
/// empty Braille pattern.
fn is_hidden(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    GeneralCategoryGroup::Other.contains(category)
        || matches!(category, GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator)
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        || c == '\u{2800}'
}

/// The first `limit` characters of `text`.
fn cut(text: &str, limit: usize) -> &str {
    text.char_indices().nth(limit).map_or(text, |(end, _)| text.split_at(end).0)
}

/// The last `limit` characters of `text`.
fn tail(text: &str, limit: usize) -> &str {
    match limit.checked_sub(1) {
        Some(last) => text.char_indices().nth_back(last).map_or(text, |(start, _)| text.split_at(start).1),
        None => "",
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) mod variants;
