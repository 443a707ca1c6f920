//! The annotation `functiongraph.io/resolve`: its value, and when it counts.
//!
//! A value counts once, and only for the ambiguous attempt that it was set for. A value that is there at the claim,
//! or when the attempt becomes ambiguous, is recorded in `status.resolution` as handled. The same value counts again
//! after you have removed it.

use super::{State, View};
use crate::api::condition::{Condition, ConditionStatus, ConditionType, Reason};
use crate::api::invocation::{AttemptState, FunctionInvocationStatus, Outcome};

/// Maximum length of an id, as in the service.
const MAX_ID_CHARS: usize = 64;

/// Prefix of an id that is not a UUID.
const ACCEPTED_AS: &str = "Accepted:";

/// How many characters of a value are recorded: more than any valid value has.
const MAX_RECORDED_CHARS: usize = ACCEPTED_AS.len() + MAX_ID_CHARS;

/// The value of the annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The attempt was not accepted: send again.
    Retry,
    /// The attempt counts as failed.
    Fail,
    /// It was accepted as this request.
    Accepted(String),
}

impl Resolution {
    /// Reads the annotation; `None` if the value is invalid. A bare id must be a UUID, as FunctionGraph's own ids
    /// are, so that no typo counts as an id. The case of a UUID does not matter.
    pub fn read(text: &str) -> Option<Self> {
        match text {
            "Retry" => Some(Self::Retry),
            "Fail" => Some(Self::Fail),
            _ => match text.strip_prefix(ACCEPTED_AS).unwrap_or(text) {
                id if is_uuid(id) => Some(Self::Accepted(id.to_ascii_lowercase())),
                id => (id.len() < text.len() && is_id(id)).then(|| Self::Accepted(id.into())),
            },
        }
    }

    /// A name for logs.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Retry => "Retry",
            Self::Fail => "Fail",
            Self::Accepted(id) => id,
        }
    }
}

fn is_id(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=MAX_ID_CHARS).contains(&text.len()) && text.bytes().all(is_part)
}

fn is_uuid(text: &str) -> bool {
    text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
        && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// A value as recorded in `status.resolution`.
pub(super) fn remembered(value: &str) -> &str {
    &value[..value.floor_char_boundary(MAX_RECORDED_CHARS)]
}

/// Whether the annotation's value has been handled.
pub(super) fn is_handled(value: &str, status: &FunctionInvocationStatus) -> bool {
    status.resolution.as_deref() == Some(remembered(value))
}

/// The consequence of the annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Resolve the attempt.
    Act(Resolution),
    /// Report that the annotation changes nothing.
    Refuse,
    /// Remove the recorded value: you removed the annotation, and may set it again.
    Forget,
}

/// The consequence of the annotation, if there is one.
pub fn call(view: &View<'_>) -> Option<Call> {
    let subject = subject(view.status)?;
    if view.deleting {
        return None;
    }
    let Some(value) = view.resolve else { return view.status.resolution.as_ref().map(|_| Call::Forget) };
    if is_handled(value, view.status) {
        return None;
    }
    Some(match (subject, Resolution::read(value)) {
        (Subject::Ambiguous, Some(resolution)) => Call::Act(resolution),
        (Subject::Lost, Some(resolution @ (Resolution::Fail | Resolution::Accepted(_)))) => {
            Call::Act(resolution)
        }
        (Subject::Lost, Some(Resolution::Retry)) | (Subject::Nothing, _) | (_, None) => Call::Refuse,
    })
}

/// What an annotation can resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// Nothing.
    Nothing,
    /// An attempt that may have been accepted.
    Ambiguous,
    /// An accepted attempt whose execution has an unknown result.
    Lost,
}

/// `None` if the annotation is not read: during an attempt, and after a known final result.
pub(super) fn subject(status: &FunctionInvocationStatus) -> Option<Subject> {
    let was_accepted =
        status.attempt.as_ref().and_then(|attempt| attempt.state) == Some(AttemptState::Accepted);
    match State::of(status) {
        State::Finished(Outcome::Unknown) if was_accepted => Some(Subject::Lost),
        // If the last attempt was refused, an earlier one is ambiguous.
        State::Finished(Outcome::Unknown) | State::Ambiguous { .. } => Some(Subject::Ambiguous),
        State::Accepted if leads_elsewhere(status) => Some(Subject::Lost),
        State::Accepted | State::Fresh | State::Open { .. } => Some(Subject::Nothing),
        State::Claimed { .. }
        | State::Finished(Outcome::Accepted | Outcome::Executed | Outcome::Failed | Outcome::Cancelled) => {
            None
        }
    }
}

/// Whether the status says that the provider's endpoint, region or project has changed since the request.
fn leads_elsewhere(status: &FunctionInvocationStatus) -> bool {
    status.condition(ConditionType::Ready).is_some_and(|ready| ready.reason == Reason::DestinationChanged)
}

/// Why an annotation changes nothing for this status.
pub(super) fn refusal(value: &str, status: &FunctionInvocationStatus) -> (Reason, String) {
    let known = Resolution::read(value);
    match (subject(status), known) {
        (_, None) => (
            Reason::NotUnderstood,
            format!(
                "The annotation functiongraph.io/resolve changes nothing, because its value is not understood. Set it to Retry, Fail, {ACCEPTED_AS}<request id>, or a request id that is a UUID."
            ),
        ),
        (Some(Subject::Lost), Some(Resolution::Retry)) => (
            Reason::NothingToResolve,
            "The annotation functiongraph.io/resolve changes nothing: FunctionGraph accepted the invocation, so Retry would run it twice. To run the function again, create a new FunctionInvocation."
                .into(),
        ),
        (Some(Subject::Ambiguous | Subject::Lost), Some(_)) => (
            Reason::ResolvedTooEarly,
            "The annotation functiongraph.io/resolve changes nothing, because you set it before there was something to resolve. Remove it. When this condition is gone, set it again."
                .into(),
        ),
        (Some(Subject::Nothing) | None, Some(_)) => (
            Reason::NothingToResolve,
            "The annotation functiongraph.io/resolve changes nothing, because there is nothing to resolve. Remove it."
                .into(),
        ),
    }
}

/// Records the current annotation as handled, if it is older than the ambiguous attempt.
pub(super) fn note(view: &View<'_>, status: &mut FunctionInvocationStatus) {
    if !matches!(subject(view.status), Some(Subject::Ambiguous | Subject::Lost)) {
        note_copied(view, status);
    }
}

/// Records the annotation of a copy as handled. It is older than the copy, whatever the status says.
pub(super) fn note_copied(view: &View<'_>, status: &mut FunctionInvocationStatus) {
    if let Some(value) = view.resolve.filter(|value| !is_handled(value, status)) {
        status.resolution = Some(remembered(value).into());
        mark_refused(&mut status.conditions, (Reason::NothingToResolve, String::new()));
    }
}

/// Adds to `conditions` that the annotation changes nothing.
pub(super) fn mark_refused(conditions: &mut Vec<Condition>, (reason, message): (Reason, String)) {
    conditions.retain(|condition| condition.type_ != ConditionType::ResolutionRefused);
    let type_ = ConditionType::ResolutionRefused;
    conditions.push(Condition::new(type_, ConditionStatus::True, reason, &message));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_value_or_an_id_is_understood_and_no_typo_is_taken_for_an_id() {
        let id = "1167bf8c-87b0-43ab-8f5f-26b16c64f252";
        for (value, expected) in [
            ("Retry", Resolution::Retry),
            ("Fail", Resolution::Fail),
            (id, Resolution::Accepted(id.into())),
            (&id.to_uppercase(), Resolution::Accepted(id.into())),
            (&format!("Accepted:{id}"), Resolution::Accepted(id.into())),
            ("Accepted:3.14_x", Resolution::Accepted("3.14_x".into())),
        ] {
            assert_eq!(Resolution::read(value), Some(expected), "{value:?}");
        }
        let longest = format!("Accepted:{}", "x".repeat(65));
        let kept = format!("Accepted:{}", "x".repeat(64));
        assert_eq!(remembered(&kept), kept, "the longest valid value is recorded completely");
        for odd in [
            "",
            "retry",
            "FAIL",
            "Failed",
            "done",
            "true",
            "Accepted",
            "Accepted:",
            "Accepted:a b",
            "accepted:a",
            "1167bf8c",
            " Retry",
            "Retry\n",
            "1167bf8c-87b0-43ab-8f5f-26b16c64f25",
            &longest,
            "1167bf8c-87b0-43ab-8f5f-26b16c64f252\n",
            "1167bf8g-87b0-43ab-8f5f-26b16c64f252",
        ] {
            assert_eq!(Resolution::read(odd), None, "{odd:?}");
        }
    }
}
