//! The shell: observe, decide, claim, send, record, requeue. It alone knows all the worlds.
//!
//! An [`Error`] in here means that the controller could not do its work. An invocation that fails is a
//! state, not an error.

mod drain;
mod exchange;
mod expiry;
pub mod follow;
mod halt;
mod invocation;
mod lookup;
mod object;
mod prepare;
mod provider;

pub use drain::drain;
pub use expiry::{acknowledge, expire};
pub use invocation::{reconcile, resolve};
pub use provider::{inspect, key_of};

use crate::clock;
use crate::context::Context;
use crate::kubernetes;
use futures::FutureExt;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// No run takes longer: the longest request (90 s), its record (300 s), and the calls around them.
const RUN: Duration = Duration::from_mins(10);

/// What kept a run from doing its work. It is taken up again after a pause.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call to the API server.
    #[error(transparent)]
    Kubernetes(#[from] kubernetes::Error),
    /// An answer is in hand and could not be written yet.
    #[error("the answer could not be written yet; it is kept in memory and tried again")]
    Unwritten(#[source] kubernetes::Error),
    /// The run took longer than any run may.
    #[error("it took longer than {} s", RUN.as_secs())]
    Stuck,
    /// A defect: the run panicked. Other objects are not affected.
    #[error("a defect in the operator: the run panicked; please report it with the log lines above")]
    Panicked,
}

/// Runs one reconcile within its bounds, so that neither a hang nor a panic in it reaches other objects.
async fn guarded(
    context: &Context,
    run: impl Future<Output = Result<Action, Error>>,
) -> Result<Action, Error> {
    let started = clock::monotonic();
    let result = match tokio::time::timeout(RUN, AssertUnwindSafe(run).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(_panic)) => Err(Error::Panicked),
        Err(_elapsed) => Err(Error::Stuck),
    };
    context.metrics.reconciled(clock::monotonic().duration_since(started), result.is_err());
    result
}

/// Why, to the last cause.
fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// What to do when a run could not do its work: try again, ever more slowly.
pub fn retry_later<K: Resource>(object: &Arc<K>, error: &Error, context: &Context) -> Action {
    let uid = object.meta().uid.as_deref().unwrap_or_default();
    let pause = context.failures.count(uid, clock::chance(), clock::monotonic());
    let name = object.name_any();
    let namespace = object.namespace().unwrap_or_default();
    let cause = causes(error);
    tracing::warn!(namespace, name, %error, cause, retry_in = ?pause, "could not work on an object");
    Action::requeue(pause)
}
