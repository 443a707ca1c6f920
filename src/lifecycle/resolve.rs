//! A person's word on a request in doubt: the annotation `functiongraph.io/resolve`.

use super::{State, View};
use crate::api::invocation::{AttemptState, Outcome};

/// The longest id that a person can give; the service's own limit.
const LONGEST_ID: usize = 64;

/// What a person says of a request in doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// It was not accepted: send it again.
    Retry,
    /// It counts as failed.
    Fail,
    /// It was accepted as this request.
    Accepted(String),
}

impl Resolution {
    /// Reads the annotation; `None` if it is neither a word that is known nor an id.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let is_id = !text.is_empty()
            && text.len() <= LONGEST_ID
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
        match text {
            "Retry" => Some(Self::Retry),
            "Fail" => Some(Self::Fail),
            // Words in another case are slips, not ids.
            _ if text.eq_ignore_ascii_case("retry") || text.eq_ignore_ascii_case("fail") => None,
            id => is_id.then(|| Self::Accepted(id.into())),
        }
    }

    /// As the annotation says it, and the status remembers it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Retry => "Retry",
            Self::Fail => "Fail",
            Self::Accepted(id) => id,
        }
    }
}

/// What to do about the annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Act upon it.
    New(Resolution),
    /// It was taken away after it had been acted upon: it may be given again.
    Withdrawn,
}

/// The word that is to be heard, if there is one: only on a request in doubt, and each only once.
#[must_use]
pub fn heard(view: &View<'_>) -> Option<Word> {
    let attempt = view.status.attempt.as_ref().and_then(|attempt| attempt.state);
    let in_doubt = match State::of(view.status) {
        State::Doubtful { .. } => true,
        // With a last attempt that was refused, it is an earlier one that is in doubt.
        State::Settled(Outcome::Unknown) => attempt.is_some_and(|state| state != AttemptState::Accepted),
        State::Settled(Outcome::Accepted | Outcome::Executed | Outcome::Failed | Outcome::Cancelled)
        | State::Fresh
        | State::Claimed { .. }
        | State::Open { .. }
        | State::Accepted => false,
    };
    if !in_doubt || view.deleting {
        return None;
    }
    let known = view.status.resolution.as_deref();
    match view.resolve {
        None => known.map(|_| Word::Withdrawn),
        Some(text) if known == Some(text) => None,
        Some(text) => Resolution::read(text).map(Word::New),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_or_an_id_is_understood_and_nothing_else() {
        assert_eq!(Resolution::read("Retry"), Some(Resolution::Retry));
        assert_eq!(Resolution::read("Fail"), Some(Resolution::Fail));
        let id = "1167bf8c-87b0-43ab-8f5f-26b16c64f252";
        assert_eq!(Resolution::read(id), Some(Resolution::Accepted(id.into())));
        for odd in ["", "retry", "FAIL", "two words", "a\nb", &"x".repeat(65)] {
            assert_eq!(Resolution::read(odd), None, "{odd:?}");
        }
    }
}
