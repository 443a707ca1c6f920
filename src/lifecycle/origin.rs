//! Where an object comes from: one that was restored from a backup, or copied, may have been submitted before.
//!
//! Nothing in it says so by itself: a restored object has a new uid and, as a rule, no status. What stays are its
//! labels and annotations.

use super::State;
use crate::api::FunctionInvocation;
use crate::api::invocation::{SUBMITTED_AS, VELERO_RESTORE};

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
