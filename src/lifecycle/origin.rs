//! Where an object comes from: one that was restored from a backup, or copied, may have been submitted before.
//!
//! Nothing in it says so by itself: a restored object has a new uid and, as a rule, no status. What stays are its
//! labels and annotations.

use super::{Conclusion, State, Step, View, later, resolve};
use crate::api::FunctionInvocation;
use crate::api::invocation::{Outcome, RESOLVE, SUBMITTED_AS, VELERO_RESTORE};
use jiff::Timestamp;
use std::time::Duration;

/// Velero makes the object first and writes its status, if it is told to restore that, right afterwards: it is given
/// this long, because the API server's rules would keep its status from replacing ours.
const ITS_STATUS: Duration = Duration::from_secs(10);

/// Where an object comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    /// Nothing says that it is anything but new, or it has been judged already.
    New,
    /// Velero restored it; the name of the restore.
    Restored(&'a str),
    /// It carries the mark of another object, or a status that was written for one; that one's uid.
    Copy(&'a str),
}

impl<'a> Origin<'a> {
    /// Reads it from an object.
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

/// The uid that stands in the object's mark, if it has one.
#[must_use]
pub fn mark(object: &FunctionInvocation) -> Option<&str> {
    object.metadata.annotations.as_ref()?.get(SUBMITTED_AS).map(String::as_str)
}

/// Whether the object is yet to be marked: it was never claimed, and does not carry its own uid.
#[must_use]
pub fn is_unmarked(object: &FunctionInvocation) -> bool {
    let fresh = object.status.as_ref().is_none_or(|status| State::of(status) == State::Fresh);
    fresh && mark(object) != object.metadata.uid.as_deref()
}

/// What to do about an object that may have been submitted before it was made; `None` if it may go its way.
pub(super) fn doubt(view: &View<'_>, now: Timestamp) -> Option<Step> {
    let whence = match view.origin {
        Origin::New => return None,
        Origin::Restored(name) => {
            format!("Velero restored this object (restore {name}), without what became of it")
        }
        Origin::Copy(uid) => {
            format!("This object was restored or copied: it says that it was submitted as object {uid}")
        }
    };
    let resolves = matches!(resolve::call(view), Some(resolve::Call::Act(_)));
    let open = match State::of(view.status) {
        State::Fresh | State::Claimed { .. } | State::Open { .. } | State::Ambiguous { .. } => true,
        // The annotation that it carries is older than the object.
        State::Finished(Outcome::Unknown) => resolves,
        State::Finished(Outcome::Accepted | Outcome::Executed | Outcome::Failed | Outcome::Cancelled)
        | State::Accepted => false,
    };
    if !open || view.deleting {
        return None;
    }
    let restored = later(view.created, ITS_STATUS);
    let fresh = matches!(view.origin, Origin::Restored(_)) && State::of(view.status) == State::Fresh;
    // A creation in the future is believed as far as clocks may differ.
    if fresh && restored > now && view.created <= later(now, ITS_STATUS) {
        return Some(Step::Wait(restored));
    }
    Some(Step::Conclude(Conclusion::Restored(format!(
        "{whence}. FunctionGraph may have accepted it before, so the operator does not send it by itself. Look for it in the function's logs, or where it was copied from. Then set the annotation {RESOLVE} to Retry (it is sent), Fail, or the request's id."
    ))))
}
