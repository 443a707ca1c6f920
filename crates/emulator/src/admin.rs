//! The admin API: tests and users control a running emulator with plain HTTP and JSON.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State as Extract};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use http::{StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{ConfigError, Function};
use crate::fault::Fault;
use crate::rate_limit::RateLimit;
use crate::request::pairs;
use crate::state::State;

type Shared = Extract<Arc<State>>;

/// Serves the admin API until `stop`.
pub(crate) async fn run(listener: TcpListener, state: Arc<State>, stop: CancellationToken) {
    let router = Router::new()
        .route("/admin/ledger", get(ledger).delete(clear_ledger))
        .route("/admin/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/admin/rate-limit", put(set_rate_limit))
        .route("/admin/functions", get(functions))
        .route("/admin/functions/{name}", put(put_function))
        .with_state(state);
    // Do not stop gracefully: an idle curl would keep the emulator running.
    stop.run_until_cancelled(axum::serve(listener, router).into_future()).await;
}

async fn ledger(Extract(state): Shared, RawQuery(query): RawQuery) -> Response {
    let query: BTreeMap<String, String> =
        query.map(|query| pairs(&query).into_iter().collect()).unwrap_or_default();
    let mut entries = state.ledger.entries();
    if let Some(function) = query.get("function") {
        entries.retain(|entry| is_function(&entry.function, function));
    }
    json(&entries)
}

/// Whether a name, `package:name` or a URN means the function of this ledger entry.
fn is_function(urn: &str, wanted: &str) -> bool {
    let fields: Vec<&str> = urn.split(':').collect();
    match fields.as_slice() {
        [_, _, _, _, _, package, name, ..] => {
            *name == wanted || format!("{package}:{name}") == wanted || urn == wanted
        }
        _ => false,
    }
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

/// Changes the given fields and keeps the others. A new function gets the defaults.
async fn put_function(
    Extract(state): Shared,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, BadRequest> {
    let changes: Map<String, Value> = read(&body)?;
    let (package, bare) = match name.split_once(':') {
        Some((package, bare)) => (Some(package), bare),
        None => (None, name.as_str()),
    };
    let present = state.functions.get(&name).and_then(|function| serde_json::to_value(&*function).ok());
    let mut declared = match present {
        Some(Value::Object(present)) => present,
        _ => Map::new(),
    };
    // What runs on this machine is up to the configuration file alone.
    for name in ["run", "forward"] {
        if changes_code(&changes, &declared, name) {
            return Err(BadRequest(format!("`{name}` can be set in the configuration file only")));
        }
    }
    declared.extend(changes);
    // Name and package come from the path. A different name in the body would mean another function.
    declared.insert("name".to_owned(), bare.into());
    match package {
        Some(package) => declared.insert("package".to_owned(), package.into()),
        None => declared.remove("package"),
    };
    let function: Function = serde_json::from_value(Value::Object(declared))?;
    state.put_function(function.clone())?;
    Ok(json(&function))
}

/// Whether a field of the code would become another.
fn changes_code(changes: &Map<String, Value>, declared: &Map<String, Value>, name: &str) -> bool {
    changes.get(name).is_some_and(|new| *new != declared.get(name).cloned().unwrap_or_default())
}

/// Reads JSON whatever the content type is, because `curl -d` sends that of a form.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, BadRequest> {
    Ok(serde_json::from_slice(body)?)
}

/// A body that cannot be used, and the reason.
struct BadRequest(String);

impl IntoResponse for BadRequest {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, self.0 + "\n").into_response()
    }
}

impl From<serde_json::Error> for BadRequest {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
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
