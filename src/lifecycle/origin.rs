//! The origin of an object: one that was restored from a backup or copied may have been submitted before.
//!
//! A restored object has a new uid and usually no status. Only its labels and annotations tell.

use super::{Conclusion, State, Step, View, later, resolve};
use crate::api::FunctionInvocation;
use crate::api::invocation::{Outcome, RESOLVE, SUBMITTED_AS, VELERO_RESTORE};
use jiff::Timestamp;
use std::time::Duration;

/// Velero creates the object first and writes its status right afterwards, if it restores the status. Wait this long
/// for it, because the API server's rules would keep the restored status from replacing the operator's.
const RESTORED_STATUS_DELAY: Duration = Duration::from_secs(10);

/// Origin of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    /// A new object, or one whose origin was already handled.
    New,
    /// Restored by Velero; the name of the restore.
    Restored(&'a str),
    /// It has the mark or the status of another object; the uid of that object.
    Copy(&'a str),
}

impl<'a> Origin<'a> {
    /// Reads the origin of an object.
    #[must_use]
    pub fn of(object: &'a FunctionInvocation) -> Self {
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        let written = object.status.as_ref().and_then(|status| status.submitted_as.as_deref());
        if let Some(author) = written.or_else(|| mark(object)) {
            return if author == uid { Self::New } else { Self::Copy(author) };
        }
        let restore = object.metadata.labels.as_ref().and_then(|all| all.get(VELERO_RESTORE));
        restore.map_or(Self::New, |name| Self::Restored(name))
    }
}

/// The uid in the object's mark, if it has one.
#[must_use]
pub fn mark(object: &FunctionInvocation) -> Option<&str> {
    object.metadata.annotations.as_ref()?.get(SUBMITTED_AS).map(String::as_str)
}

/// Whether the object is to be marked: it was never claimed, and does not have its own uid as its mark.
#[must_use]
pub fn is_unmarked(object: &FunctionInvocation) -> bool {
    let fresh = object.status.as_ref().is_none_or(|status| State::of(status) == State::Fresh);
    fresh && mark(object) != object.metadata.uid.as_deref()
}

/// The step for an object that may have been submitted before its creation; `None` if nothing prevents an attempt.
pub(super) fn unresolved(view: &View<'_>, now: Timestamp) -> Option<Step> {
    let origin = match view.origin {
        Origin::New => return None,
        Origin::Restored(name) => {
            format!("Velero restored this object (restore {name}) without its status")
        }
        Origin::Copy(uid) => {
            format!("This object was restored or copied, and was submitted before as object {uid}")
        }
    };
    let resolves = matches!(resolve::call(view), Some(resolve::Call::Act(_)));
    let open = match State::of(view.status) {
        State::Fresh | State::Claimed { .. } | State::Open { .. } | State::Ambiguous { .. } => true,
        // Its annotation is older than the object.
        State::Finished(Outcome::Unknown) => resolves,
        State::Finished(Outcome::Accepted | Outcome::Executed | Outcome::Failed | Outcome::Cancelled)
        | State::Accepted => false,
    };
    if !open || view.deleting {
        return None;
    }
    let restored = later(view.created, RESTORED_STATUS_DELAY);
    let fresh = matches!(view.origin, Origin::Restored(_)) && State::of(view.status) == State::Fresh;
    // Creation times in the future count within the clock skew.
    if fresh && restored > now && view.created <= later(now, RESTORED_STATUS_DELAY) {
        return Some(Step::Wait(restored));
    }
    Some(Step::Conclude(Conclusion::Restored(format!(
        "{origin}. FunctionGraph may have accepted it before, so the operator does not send it. Look for it in the function's logs, or where it was copied from. Then set the annotation {RESOLVE} to Retry (the operator sends it), Fail, or the request's id."
    ))))
}
