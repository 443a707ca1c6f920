//! Shortens a status that does not fit into its object, in steps.

use crate::api::invocation::FunctionInvocationStatus;

/// How much of a status is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Everything.
    Full,
    /// Everything except the function's result and log, and long messages.
    Short,
    /// Only the fields that decisions need.
    Minimal,
}

impl Length {
    /// The next shorter length, if the status still does not fit.
    pub fn shorter(self) -> Option<Self> {
        match self {
            Self::Full => Some(Self::Short),
            Self::Short => Some(Self::Minimal),
            Self::Minimal => None,
        }
    }
}

/// A note in a shortened status.
const SHORTENED_NOTE: &str =
    " (Shortened, because the object is near the largest size that the API server stores.)";

/// Maximum length of a message in a short status, in characters.
const SHORT_CHARS: usize = 200;

/// `status` at this length.
pub fn shortened(mut status: FunctionInvocationStatus, length: Length) -> FunctionInvocationStatus {
    let cut = |text: &mut String, kept: usize| {
        if let Some((at, _)) = text.char_indices().nth(kept) {
            text.truncate(at);
        }
    };
    let kept = match length {
        Length::Full => return status,
        Length::Short => SHORT_CHARS,
        Length::Minimal => 0,
    };
    if let Some(result) = &mut status.result {
        let had_body = result.body.take().is_some();
        (result.log_tail, result.truncated) = (None, had_body.then_some(true).or(result.truncated));
    }
    let error = status.error.as_mut().and_then(|error| error.message.as_mut());
    let execution = status.execution.as_mut().and_then(|execution| execution.error_message.as_mut());
    error.into_iter().chain(execution).for_each(|message| cut(message, kept));
    for condition in &mut status.conditions {
        cut(&mut condition.message, kept);
        if length == Length::Short {
            condition.message.push_str(SHORTENED_NOTE);
        }
    }
    if length == Length::Minimal {
        (status.result, status.error, status.execution) = (None, None, None);
        (status.candidate_request_ids, status.function) = (None, None);
    }
    status
}
