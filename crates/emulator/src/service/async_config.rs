//! `…/async-invoke-config` and `…/async-invoke-configs`: retries, maximum age and destinations of asynchronous
//! events.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::answer::{Answer, zoned};
use crate::config::AsyncInvokeConfig;
use crate::functions::Target;
use crate::refusal::Refusal;
use crate::service::page::Page;
use crate::service::{Call, Work, done};
use crate::settings::Setting;

/// Default number of settings on a page.
const DEFAULT_LIMIT: usize = 10;

/// Maximum number of settings on a page.
const MAX_LIMIT: usize = 100;

/// The fields of settings.
const FIELDS: [&str; 8] = [
    "max_async_event_age_in_seconds",
    "max_async_retry_attempts",
    "destination_config",
    "enable_async_status_log",
    "log_group_id",
    "log_group_name",
    "log_stream_id",
    "log_stream_name",
];

/// `GET`: the settings of one URN.
pub(super) fn show<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let urn = call.target()?.urn.to_string();
    let setting = call.state.settings.get(&urn).ok_or(Refusal::NothingThere)?;
    Ok(done(Answer::json(StatusCode::OK, &written(&urn, &setting))))
}

/// `PUT`: creates or replaces the settings.
pub(super) fn set<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let urn = call.target()?.urn.to_string();
    let config = serde_json::from_value(known(call.object()?)).map_err(|_| Refusal::InvalidParameter)?;
    AsyncInvokeConfig::check(&config).map_err(|_| Refusal::InvalidParameter)?;
    Ok(Box::pin(async move {
        let setting = call.state.settings.put(urn.clone(), config, call.now);
        Answer::json(StatusCode::OK, &written(&urn, &setting))
    }))
}

/// The fields that the API has. It ignores others, and a destination without a service is none.
fn known(mut body: Map<String, Value>) -> Value {
    body.retain(|name, _| FIELDS.contains(&name.as_str()));
    if let Some(Value::Object(destinations)) = body.get_mut("destination_config") {
        destinations.retain(|name, destination| {
            let service = destination["destination"].as_str().unwrap_or_default();
            ["on_success", "on_failure"].contains(&name.as_str())
                && !(destination.is_null() || destination.is_object() && service.is_empty())
        });
        for destination in destinations.values_mut().filter_map(Value::as_object_mut) {
            destination.retain(|name, _| ["destination", "param"].contains(&name.as_str()));
        }
    }
    Value::Object(body)
}

/// `DELETE`: removes the settings, so that the defaults apply.
pub(super) fn delete<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let urn = call.target()?.urn.to_string();
    call.state.settings.get(&urn).ok_or(Refusal::NothingThere)?;
    Ok(Box::pin(async move {
        // Another call may have removed them in between.
        if call.state.settings.remove(&urn) {
            Answer::no_content()
        } else {
            Refusal::NothingThere.answer(call.now)
        }
    }))
}

/// `GET …/async-invoke-configs`: the settings of all versions and aliases.
pub(super) fn list<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let Target { function, .. } = call.target()?;
    let page = Page::read(call.request, "limit", DEFAULT_LIMIT, MAX_LIMIT)?;
    let all = call.state.settings.list(&call.state.functions.urn_of(function, ""));
    let shown = page.of(&all);
    let configs: Vec<Value> = shown.iter().map(|(urn, setting)| written(urn, setting)).collect();
    let body = json!({
        "async_invoke_configs": configs,
        "count": all.len(),
        "page_info": page.info(shown.len()),
    });
    Ok(done(Answer::json(StatusCode::OK, &body)))
}

/// Settings in an answer: with the defaults, and without the log stream.
fn written(urn: &str, setting: &Setting) -> Value {
    let Setting { config, created, modified } = setting;
    json!({
        "func_urn": urn,
        "max_async_event_age_in_seconds": config.event_age().as_secs(),
        "max_async_retry_attempts": config.retries(),
        "destination_config": config.destination_config.clone().unwrap_or_default(),
        "enable_async_status_log": config.logs_status(),
        "created_time": zoned(*created),
        "last_modified": zoned(*modified),
    })
}
