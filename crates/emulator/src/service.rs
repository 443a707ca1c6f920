//! One request from the gateway to its reply: route, authenticate, limit the rate, then the API itself.

use jiff::Timestamp;

use crate::answer::Reply;
use crate::clock;
use crate::refusal::Refusal;
use crate::request::{Api, Request, Route};
use crate::state::State;

mod invoke_async;
mod list_async;

/// The reply to a request, and the function it named as far as that is known (for the log).
pub(crate) async fn serve(state: &State, request: &Request) -> (Reply, String) {
    let now = clock::now();
    let Some(route) = Route::of(&request.method, &request.path) else {
        return (Reply::Answer(Refusal::NoSuchApi.answer(now)), String::new());
    };
    let reply = match admit(state, request, now) {
        Err(refusal) => Reply::Answer(refusal.answer(now)),
        Ok(()) => match route.api {
            Api::InvokeAsync => invoke_async::serve(state, &route, request, now).await,
            Api::ListAsync => Reply::Answer(list_async::serve(state, &route, request, now)),
        },
    };
    (reply, route.function)
}

/// What the gateway checks before any API.
fn admit(state: &State, request: &Request, now: Timestamp) -> Result<(), Refusal> {
    state.auth.check(request, now).map_err(|failure| {
        state.stats.failed_authentication();
        Refusal::Unauthenticated(failure)
    })?;
    match state.rate_limit.lock().as_mut() {
        Some(bucket) => bucket.take(clock::instant()).map_err(Refusal::Throttled),
        None => Ok(()),
    }
}
