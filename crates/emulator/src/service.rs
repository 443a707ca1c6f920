//! One request from the gateway to its reply: route, authenticate, limit the rate, then the API itself.

use std::pin::Pin;

use functiongraph::sign::AUTHORIZATION;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::answer::{Answer, Reply};
use crate::api::{Api, Door, Route};
use crate::clock;
use crate::fault::FaultPlan;
use crate::functions::Target;
use crate::issued::Scope;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::state::State;

mod aliases;
mod async_config;
mod cancel;
mod disguise;
mod event;
mod identity;
mod invoke_async;
mod invoke_sync;
mod list_async;
mod metadata;
mod page;
mod quotas;
mod reserved;
mod status_log;

/// A request that was let in, and all that an API needs to answer it.
struct Call<'a> {
    state: &'a State,
    route: &'a Route,
    request: &'a Request,
    now: Timestamp,
    /// The function, unless the call is about the whole project.
    target: Result<Option<Target>, Refusal>,
}

/// What a call does once nothing speaks against it: it has no effect before it is awaited.
type Work<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// The reply to a request, and where it led to as far as that is known (for the log).
pub(crate) async fn serve(state: &State, request: &Request, door: Door) -> (Reply, Option<Route>) {
    let now = clock::now();
    let route = match door {
        Door::Cloud => Route::of(&request.method, &request.path),
        Door::Local => Route::local(&request.method, &request.path, state.identity.pod_path()),
    };
    let Some(route) = route else {
        return (Reply::Answer(Refusal::NoSuchApi.answer(now)), None);
    };
    state.stats.called(route.api);
    if let Api::Identity(api) = route.api {
        let reply = identity::serve(state, api, request, now).await;
        return (reply, Some(route));
    }
    if let Err(refusal) = admit(state, &route, request, now) {
        return (Reply::Answer(refusal.answer(now)), Some(route));
    }
    let target = state.functions.resolve(&route);
    let call = Call { state, route: &route, request, now, target };
    let reply = finish(&call.state.faults, route.api, call.function_name(), request, plan(&call), now).await;
    (reply, Some(route))
}

/// What the gateway checks before any API.
fn admit(state: &State, route: &Route, request: &Request, now: Timestamp) -> Result<(), Refusal> {
    let scope = state.auth.check(request, now).map_err(|failure| {
        state.stats.failed_authentication();
        Refusal::Unauthenticated(failure)
    })?;
    if !scope.covers(&route.project_id) {
        return Err(if scope == Scope::None { Refusal::NoProject } else { Refusal::OtherProject });
    }
    match state.rate_limit.lock().as_mut() {
        Some(bucket) => bucket.take(clock::instant()).map_err(Refusal::Throttled),
        None => Ok(()),
    }
}

/// Lets the API answer, or a fault.
async fn finish(
    faults: &FaultPlan,
    api: Api,
    function: &str,
    request: &Request,
    work: Result<Work<'_>, Refusal>,
    now: Timestamp,
) -> Reply {
    let mut fault = faults.pick(api, function, work.is_ok());
    if let Some(fault) = &mut fault {
        fault.repeat(request.header(AUTHORIZATION).unwrap_or_default());
    }
    if let Some(reply) = fault.as_ref().and_then(|fault| disguise::instead(fault, api)) {
        return reply;
    }
    let answer = match work {
        Ok(work) => work.await,
        Err(refusal) => return Reply::Answer(refusal.answer(now)),
    };
    match fault {
        Some(fault) => disguise::after(fault, api, answer).await,
        None => Reply::Answer(answer),
    }
}

/// Everything an API checks, in the order in which the service would notice, and what is left to do then.
fn plan<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    match call.route.api {
        Api::InvokeAsync | Api::InvokeAsyncV1 | Api::InvokeReserved => invoke_async::plan(call),
        Api::Invoke | Api::InvokeV1 => invoke_sync::plan(call),
        Api::ListAsync | Api::ListActive => list_async::plan(call),
        Api::Cancel => cancel::plan(call),
        Api::ShowAsyncConfig => async_config::show(call),
        Api::SetAsyncConfig => async_config::set(call),
        Api::DeleteAsyncConfig => async_config::delete(call),
        Api::ListAsyncConfigs => async_config::list(call),
        Api::ShowFunction => metadata::show(call),
        Api::ListVersions => metadata::versions(call),
        Api::ListAliases => aliases::list(call),
        Api::ShowAlias => aliases::show(call),
        Api::SetReserved => reserved::set(call),
        Api::ListReserved => reserved::list(call),
        Api::ListReservedConfigs => reserved::list_configs(call),
        Api::EnableStatusLog => status_log::enable(call),
        Api::ShowStatusLog => status_log::show(call),
        Api::ListQuotas => quotas::list(call),
        Api::ListFunctions | Api::ListFunctionsV1 => metadata::list(call),
        // Those have another entrance.
        Api::Identity(_) => Err(Refusal::NoSuchApi),
    }
}

impl Call<'_> {
    /// The function, or how this API says that there is none.
    fn target(&self) -> Result<&Target, Refusal> {
        let target = self.target.as_ref().map_err(|refusal| match (refusal, self.route.api) {
            (Refusal::UnknownName(_), Api::InvokeAsync | Api::InvokeAsyncV1 | Api::Invoke) => refusal.clone(),
            (Refusal::UnknownName(_), Api::InvokeV1) => Refusal::UnknownResource,
            (Refusal::UnknownName(_), Api::ListAsync | Api::ListActive | Api::Cancel) => Refusal::CannotFind,
            (Refusal::UnknownName(_), _) => Refusal::UnknownFunction,
            (other, _) => other.clone(),
        })?;
        target.as_ref().ok_or(Refusal::UnknownFunction)
    }

    /// Says no to a call that is about the whole of another project.
    fn project(&self) -> Result<(), Refusal> {
        self.target.as_ref().map(drop).map_err(Refusal::clone)
    }

    /// The body, which is an object. (From an array, too, a struct could be read.)
    fn object<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        let body: Value = serde_json::from_slice(&self.request.body).map_err(|_| Refusal::NotJson)?;
        let body = Some(body).filter(Value::is_object).ok_or(Refusal::InvalidParameter)?;
        serde_json::from_value(body).map_err(|_| Refusal::InvalidParameter)
    }

    /// The name of the function. One that does not exist is known by what the path says.
    fn function_name(&self) -> &str {
        match &self.target {
            Ok(Some(target)) => &target.function.name,
            Ok(None) | Err(_) => self.route.function.as_deref().unwrap_or_default(),
        }
    }
}

/// Work that is done already.
fn done(answer: Answer) -> Work<'static> {
    Box::pin(std::future::ready(answer))
}
