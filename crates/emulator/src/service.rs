//! Handles one request: routes it, authenticates it, limits the rate, and calls the API.

use std::pin::Pin;

use functiongraph::sign::AUTHORIZATION;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::answer::{Answer, Reply};
use crate::api::{Api, Port, Route};
use crate::clock;
use crate::config::Function;
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
mod manage;
mod metadata;
mod page;
mod quotas;
mod reserved;
mod status_log;
mod tags;

/// An authenticated request, and everything that an API needs to answer it.
struct Call<'a> {
    state: &'a State,
    route: &'a Route,
    request: &'a Request,
    now: Timestamp,
    /// The function, unless the call is for the whole project.
    target: Result<Option<Target>, Refusal>,
}

/// The effect of a call that has passed all checks. Nothing happens before it is awaited.
type Work<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// The reply to a request, and its route if known (for the log).
pub(crate) async fn serve(state: &State, request: &Request, port: Port) -> (Reply, Option<Route>) {
    let now = clock::now();
    let route = match port {
        Port::Cloud => Route::of(&request.method, &request.path),
        Port::Local => Route::local(&request.method, &request.path, state.identity.pod_path()),
    };
    let Some(route) = route else {
        return (Reply::Answer(Refusal::NoSuchApi.answer(now)), None);
    };
    state.stats.called(route.api);
    if let Api::Identity(api) = route.api {
        let reply = identity::serve(state, api, &route, request, now).await;
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

/// Checks that the gateway makes before any API.
fn admit(state: &State, route: &Route, request: &Request, now: Timestamp) -> Result<(), Refusal> {
    let scope = state.auth.check(request, now).map_err(|failure| {
        state.stats.failed_authentication();
        Refusal::Unauthenticated(failure)
    })?;
    if !scope.covers(route.project_id()) {
        return Err(if scope == Scope::None { Refusal::NoProject } else { Refusal::OtherProject });
    }
    match state.rate_limit.lock().as_mut() {
        Some(bucket) => bucket.take(clock::instant()).map_err(Refusal::Throttled),
        None => Ok(()),
    }
}

/// Answers with the API or with a fault.
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

/// Makes all checks of an API, in the order of the service, and returns the remaining work.
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
        Api::CreateFunction => manage::create(call),
        Api::ShowFunction => metadata::show(call),
        Api::UpdateFunction | Api::UpdateMaxInstances => manage::update(call),
        Api::DeleteFunction => manage::delete(call),
        Api::ShowCode => manage::show_code(call),
        Api::UpdateCode => manage::update_code(call),
        Api::ListVersions => metadata::versions(call),
        Api::CreateVersion => aliases::publish(call),
        Api::ListAliases => aliases::list(call),
        Api::CreateAlias => aliases::create(call),
        Api::ShowAlias => aliases::show(call),
        Api::UpdateAlias => aliases::update(call),
        Api::DeleteAlias => aliases::delete(call),
        Api::ListTags => tags::list(call),
        Api::CreateTags => tags::create(call),
        Api::DeleteTags => tags::delete(call),
        Api::SetReserved => reserved::set(call),
        Api::ListReserved => reserved::list(call),
        Api::ListReservedConfigs => reserved::list_configs(call),
        Api::EnableStatusLog => status_log::enable(call),
        Api::ShowStatusLog => status_log::show(call),
        Api::ListQuotas => quotas::list(call),
        Api::ListFunctions | Api::ListFunctionsV1 => metadata::list(call),
        // These APIs have another port.
        Api::Identity(_) => Err(Refusal::NoSuchApi),
    }
}

impl Call<'_> {
    /// The function, or this API's refusal if there is none.
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

    /// A change of the called function. It is tried first, so that a fault does not hit a call that is refused anyway. The
    /// work makes it again on what the function is then: another call may have changed the function in between.
    fn edit<'a>(
        &'a self,
        change: impl Fn(&mut Function, &mut Map<String, Value>) -> Result<(), Refusal> + Send + 'a,
        answer: impl FnOnce(&Target) -> Answer + Send + 'a,
    ) -> Result<Work<'a>, Refusal> {
        let target = self.target()?;
        change(&mut Function::clone(&target.function), &mut Map::clone(&target.attributes))?;
        Ok(Box::pin(async move {
            match self.state.functions.edit(&target.function.key(), change) {
                Ok(target) => answer(&target),
                Err(refusal) => refusal.answer(self.now),
            }
        }))
    }

    /// Refuses a call for another project.
    fn project(&self) -> Result<(), Refusal> {
        self.target.as_ref().map(drop).map_err(Refusal::clone)
    }

    /// The body, which must be an object. Serde could read a struct from an array, too.
    fn object<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        let body: Value = serde_json::from_slice(&self.request.body).map_err(|_| Refusal::NotJson)?;
        let body = Some(body).filter(Value::is_object).ok_or(Refusal::InvalidParameter)?;
        serde_json::from_value(body).map_err(|_| Refusal::InvalidParameter)
    }

    /// The name of the function. If it does not exist, the name from the path.
    fn function_name(&self) -> &str {
        match &self.target {
            Ok(Some(target)) => &target.function.name,
            Ok(None) | Err(_) => self.route.function().unwrap_or_default(),
        }
    }
}

/// Work that is already finished.
fn done(answer: Answer) -> Work<'static> {
    Box::pin(std::future::ready(answer))
}
