//! `…/async-invoke-config` and `…/async-invoke-configs`: retries, maximum age and destinations of asynchronous
//! events.

use http::StatusCode;
use serde_json::{Value, json};

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

/// `GET`: the settings of one URN.
pub(super) fn show<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let urn = call.target()?.urn.to_string();
    let setting = call.state.settings.get(&urn).ok_or(Refusal::NothingThere)?;
    Ok(done(Answer::json(StatusCode::OK, &written(&urn, &setting))))
}

/// `PUT`: creates or replaces the settings.
pub(super) fn set<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let urn = call.target()?.urn.to_string();
    let config: AsyncInvokeConfig = call.object()?;
    config.check().map_err(|_| Refusal::InvalidParameter)?;
    Ok(Box::pin(async move {
        let setting = call.state.settings.put(urn.clone(), config, call.now);
        Answer::json(StatusCode::OK, &written(&urn, &setting))
    }))
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
