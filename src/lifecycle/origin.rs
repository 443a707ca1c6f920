//! The origin of an object: one that was restored from a backup or copied may have been submitted before.
//!
//! A restored object has a new uid and usually no status. Only its labels and annotations tell.

use super::State;
use crate::api::FunctionInvocation;
use crate::api::invocation::{SUBMITTED_AS, VELERO_RESTORE};

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
pub fn mark(object: &FunctionInvocation) -> Option<&str> {
    object.metadata.annotations.as_ref()?.get(SUBMITTED_AS).map(String::as_str)
}

/// Whether the object is to be marked: it was never claimed, and does not have its own uid as its mark.
pub fn is_unmarked(object: &FunctionInvocation) -> bool {
    let fresh = object.status.as_ref().is_none_or(|status| State::of(status) == State::Fresh);
    fresh && mark(object) != object.metadata.uid.as_deref()
}
