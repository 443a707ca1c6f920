//! The one way in which a reconcile ends early: every step returns `Result<_, Halt>` and uses `?`.

use super::Error;
use crate::api::Reason;
use kube::runtime::controller::Action;
use std::time::Duration;

/// Why a reconcile does not get to its last step.
#[derive(Debug)]
pub enum Halt {
    /// There is nothing more to do now. The action says when to reconcile again.
    Rest(Action),
    /// It cannot go on yet. The status gets this reason and this message.
    Wait(Reason, String),
    /// It can never go on. The object ends with this reason and this message.
    Fail(Reason, String),
    /// The controller could not do its work.
    Error(Error),
}

impl Halt {
    /// There is nothing more to do before `delay` has passed.
    pub fn rest(delay: Duration) -> Self {
        Self::Rest(Action::requeue(delay))
    }
}

impl<E: Into<Error>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}
