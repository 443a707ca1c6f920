//! A status that does not fit into its object: what is left out of it, in steps.

use crate::api::invocation::FunctionInvocationStatus;

/// What is kept of a status that does not fit into its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// All of it.
    Enough,
    /// Neither the function's result and log, nor long messages.
    Little,
    /// What decides, and nothing to read.
    Least,
}

impl Room {
    /// What to try next, when a status did not fit.
    #[must_use]
    pub fn less(self) -> Option<Self> {
        match self {
            Self::Enough => Some(Self::Little),
            Self::Little => Some(Self::Least),
            Self::Least => None,
        }
    }
}

/// Says in a status that something was left out of it.
const SHORTENED: &str =
    " (Shortened, because the object is near the largest size that the API server stores.)";

/// Characters of a message that are kept where there is little room.
const SHORT: usize = 200;

/// `status`, as much as there is room for.
#[must_use]
pub fn fitted(mut status: FunctionInvocationStatus, room: Room) -> FunctionInvocationStatus {
    let cut = |text: &mut String, kept: usize| {
        if let Some((at, _)) = text.char_indices().nth(kept) {
            text.truncate(at);
        }
    };
    let kept = match room {
        Room::Enough => return status,
        Room::Little => SHORT,
        Room::Least => 0,
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
        if room == Room::Little {
            condition.message.push_str(SHORTENED);
        }
    }
    if room == Room::Least {
        (status.result, status.error, status.execution) = (None, None, None);
        (status.candidate_request_ids, status.function) = (None, None);
    }
    status
}
