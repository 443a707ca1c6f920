//! The admin API: tests and users control a running emulator with plain HTTP and JSON.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, Request, State as Extract};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post, put};
use functiongraph::urn::DEFAULT_PACKAGE;
use http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{ConfigError, Function};
use crate::fault::Fault;
use crate::functions::full_name;
use crate::ledger::is_function;
use crate::rate_limit::RateLimit;
use crate::request::pairs;
use crate::state::State;

mod executions;

/// The page that shows all of this.
const PAGE: &str = include_str!("admin/page.html");

type Shared = Extract<Arc<State>>;

/// Serves the admin API until `stop`.
pub(crate) async fn run(listener: TcpListener, state: Arc<State>, stop: CancellationToken) {
    let router = Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route("/admin/executions", get(executions::list))
        .route("/admin/ledger", get(ledger).delete(clear_ledger))
        .route("/admin/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/admin/rate-limit", put(set_rate_limit))
        .route("/admin/functions", get(functions))
        .route("/admin/functions/{name}", put(put_function).delete(delete_function))
        .route("/admin/deliveries", get(deliveries))
        .route("/admin/reset", post(reset))
        .route("/admin/ca.crt", get(authority))
        .route("/health", get(|| async { "ok\n" }))
        .layer(middleware::from_fn(same_origin))
        .with_state(state);
    // Do not stop gracefully: an idle curl would keep the emulator running.
    stop.run_until_cancelled(axum::serve(listener, router).into_future()).await;
}

/// Refuses what another page in the user's browser sends.
async fn same_origin(request: Request, next: Next) -> Response {
    if is_foreign(request.headers()) {
        return (StatusCode::FORBIDDEN, "the page of another origin may not use the admin API\n")
            .into_response();
    }
    next.run(request).await
}

fn is_foreign(headers: &HeaderMap) -> bool {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let own = header(header::HOST).map(|host| format!("http://{host}"));
    header(header::ORIGIN).is_some_and(|origin| Some(origin) != own.as_deref())
}

/// The decoded pairs of a query.
fn query(text: Option<String>) -> BTreeMap<String, String> {
    text.map(|text| pairs(&text).into_iter().collect()).unwrap_or_default()
}

async fn ledger(Extract(state): Shared, RawQuery(query): RawQuery) -> Response {
    let query = self::query(query);
    let mut entries = state.ledger.entries();
    if let Some(function) = query.get("function") {
        entries.retain(|entry| is_function(&entry.function, function));
    }
    json(&entries)
}

async fn clear_ledger(Extract(state): Shared) -> StatusCode {
    state.ledger.clear();
    StatusCode::NO_CONTENT
}

async fn faults(Extract(state): Shared) -> Response {
    json(&state.faults.list())
}

async fn add_fault(Extract(state): Shared, body: Bytes) -> Result<Response, BadRequest> {
    let fault: Fault = read(&body)?;
    state.faults.add(fault);
    Ok(json(&state.faults.list()))
}

async fn clear_faults(Extract(state): Shared) -> StatusCode {
    state.faults.clear();
    StatusCode::NO_CONTENT
}

async fn set_rate_limit(Extract(state): Shared, body: Bytes) -> Result<StatusCode, BadRequest> {
    let limit: Option<RateLimit> = read(&body)?;
    state.set_rate_limit(limit);
    Ok(StatusCode::NO_CONTENT)
}

async fn functions(Extract(state): Shared) -> Response {
    let functions = state.functions.list();
    json(&functions.iter().map(|function| &**function).collect::<Vec<_>>())
}

/// Deletes a function with everything that belongs to it.
async fn delete_function(Extract(state): Shared, Path(name): Path<String>) -> Result<StatusCode, BadRequest> {
    let deleted = state.delete_function(&full_name(&name));
    deleted
        .then_some(StatusCode::NO_CONTENT)
        .ok_or_else(|| BadRequest(format!("there is no function {name:?}")))
}

async fn deliveries(Extract(state): Shared) -> Response {
    let mut deliveries = state.deliveries.list();
    if state.hide_events {
        for delivery in &mut deliveries {
            delivery.event = Value::Null;
        }
    }
    json(&deliveries)
}

async fn reset(Extract(state): Shared) -> StatusCode {
    state.reset();
    StatusCode::NO_CONTENT
}

async fn authority(Extract(state): Shared) -> Response {
    ([(header::CONTENT_TYPE, "application/x-pem-file")], state.ca_pem.clone()).into_response()
}

/// Changes the given fields and keeps the others. A new function gets the defaults.
async fn put_function(
    Extract(state): Shared,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, BadRequest> {
    let changes: Map<String, Value> = read(&body)?;
    let function = state.put_function(&full_name(&name), |present| changed(&name, present, changes))?;
    Ok(json(&*function))
}

/// The function of this name with the given fields.
fn changed(
    name: &str,
    present: Option<&Function>,
    changes: Map<String, Value>,
) -> Result<Function, BadRequest> {
    let mut declared = match present.map(serde_json::to_value) {
        Some(Ok(Value::Object(present))) => present,
        _ => Map::new(),
    };
    // What runs on this machine is up to the configuration file alone.
    for code in ["run", "forward"] {
        if changes_code(&changes, &declared, code) {
            return Err(BadRequest(format!("`{code}` can be set in the configuration file only")));
        }
    }
    declared.extend(changes);
    // Name and package come from the path. A different name in the body would mean another function.
    let (package, bare) = name.split_once(':').unwrap_or((DEFAULT_PACKAGE, name));
    declared.insert("name".to_owned(), bare.into());
    declared.insert("package".to_owned(), package.into());
    Ok(serde_path_to_error::deserialize(Value::Object(declared))?)
}

/// Whether a field of the code would become another.
fn changes_code(changes: &Map<String, Value>, declared: &Map<String, Value>, name: &str) -> bool {
    changes.get(name).is_some_and(|new| *new != declared.get(name).cloned().unwrap_or_default())
}

/// Reads JSON whatever the content type is, because `curl -d` sends that of a form.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, BadRequest> {
    Ok(serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_slice(body))?)
}

/// A body that cannot be used, and the reason.
struct BadRequest(String);

impl IntoResponse for BadRequest {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, self.0 + "\n").into_response()
    }
}

/// Names the field.
impl From<serde_path_to_error::Error<serde_json::Error>> for BadRequest {
    fn from(error: serde_path_to_error::Error<serde_json::Error>) -> Self {
        let (path, error) = (error.path().to_string(), error.into_inner());
        Self(if path == "." { error.to_string() } else { format!("`{path}`: {error}") })
    }
}

impl From<ConfigError> for BadRequest {
    fn from(error: ConfigError) -> Self {
        let cause = error.source().map(|cause| format!(": {cause}"));
        Self(error.to_string() + &cause.unwrap_or_default())
    }
}

fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec_pretty(value) {
        Ok(mut body) => {
            body.push(b'\n');
            ([(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
