//! `POST …/functions`, `PUT …/config`, `…/code`, `…/config-max-instance` and `DELETE`: functions that come, change and go.
//!
//! Such a function behaves as declared functions do by default: its code is kept, but never run.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use functiongraph::urn::Qualifier;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha512};

use crate::answer::Answer;
use crate::config::{ConfigError, Function};
use crate::functions::{LATEST, Target};
use crate::refusal::Refusal;
use crate::service::metadata;
use crate::service::{Call, Work};

/// Fields that a new function must have.
const MANDATORY: [&str; 6] = ["func_name", "runtime", "timeout", "handler", "memory_size", "code_type"];

/// The parts of a body that have an effect. The emulator keeps the others and shows them.
#[derive(Debug, Default, Deserialize)]
struct Changes {
    func_name: Option<String>,
    package: Option<String>,
    runtime: Option<String>,
    timeout: Option<u64>,
    memory_size: Option<u32>,
    enable_dynamic_memory: Option<bool>,
    max_instance_num: Option<i32>,
    strategy_config: Option<Strategy>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// How many events run at the same time.
#[derive(Debug, Deserialize)]
struct Strategy {
    concurrency: Option<i32>,
    concurrent_num: Option<std::num::NonZeroU32>,
}

/// `POST …/functions`: creates a function.
pub(super) fn create<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    call.project()?;
    let fields: Map<String, Value> = call.object()?;
    if MANDATORY.iter().any(|name| fields.get(*name).is_none_or(Value::is_null)) {
        return Err(Refusal::InvalidParameter);
    }
    let changes: Changes = call.object()?;
    let mut function = Function::named(changes.func_name.as_deref().unwrap_or_default());
    function.package = changes.package.clone().unwrap_or(function.package);
    let mut attributes = Map::new();
    change(call, &changes, &mut function, &mut attributes)?;
    if call.state.functions.get(&function.key()).is_some() {
        return Err(Refusal::Exists);
    }
    Ok(Box::pin(async move {
        match call.state.functions.create(function.clone(), attributes) {
            Some(target) => answer(call, &target),
            // Another call may have created it in between.
            None => Refusal::Exists.answer(call.now),
        }
    }))
}

/// `PUT …/config` and `…/config-max-instance`: changes the given fields.
pub(super) fn update<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    edit(call, answer)
}

/// `PUT …/code`: replaces the code.
pub(super) fn update_code<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    edit(call, code_answer)
}

/// `GET …/code`: where the code is from.
pub(super) fn show_code<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let target = call.target()?;
    Ok(super::done(code_answer(call, target)))
}

/// `DELETE …/{function_urn}`: deletes a function, or only the version in the URN.
pub(super) fn delete<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let target = call.target()?;
    if let Qualifier::Alias(_) = target.urn.qualifier() {
        return Err(Refusal::InvalidUrn);
    }
    if let Qualifier::Version(version) = target.urn.qualifier() {
        let change = move |function: &mut Function, _: &mut _| {
            if !function.versions.contains(version) {
                return Err(Refusal::UnknownVersion);
            }
            function.versions.retain(|other| other != version);
            function.aliases.retain(|_, other| other != version);
            Ok(())
        };
        return call.edit(change, |_| Answer::no_content());
    }
    Ok(Box::pin(async move {
        if call.state.delete_function(&target.function.key()) {
            Answer::no_content()
        } else {
            // Another call has deleted it in between.
            Refusal::UnknownFunction.answer(call.now)
        }
    }))
}

fn edit<'a>(call: &'a Call<'_>, answer: fn(&Call<'_>, &Target) -> Answer) -> Result<Work<'a>, Refusal> {
    call.target()?;
    let changes: Changes = call.object()?;
    let change = move |function: &mut _, attributes: &mut _| change(call, &changes, function, attributes);
    call.edit(change, move |target| answer(call, target))
}

/// Makes the changes of a request to a function and to its fields that have no effect.
fn change(
    call: &Call<'_>,
    changes: &Changes,
    function: &mut Function,
    attributes: &mut Map<String, Value>,
) -> Result<(), Refusal> {
    let Changes { runtime, timeout, memory_size, strategy_config, others, .. } = changes;
    if let Some(runtime) = runtime {
        function.runtime.clone_from(runtime);
    }
    function.timeout = timeout.map_or(function.timeout, std::time::Duration::from_secs);
    function.memory = memory_size.unwrap_or(function.memory);
    function.dynamic_memory = changes.enable_dynamic_memory.unwrap_or(function.dynamic_memory);
    function.concurrency = changes.max_instance_num.unwrap_or(function.concurrency);
    if let Some(Strategy { concurrency, concurrent_num }) = strategy_config {
        function.concurrency = concurrency.unwrap_or(function.concurrency);
        function.concurrent_num = concurrent_num.unwrap_or(function.concurrent_num);
    }
    let functions = &call.state.functions;
    function.check(functions.region(), functions.project_id()).map_err(|error| match error {
        ConfigError::Name { .. } => Refusal::InvalidName,
        _ => Refusal::InvalidParameter,
    })?;
    attributes.extend(others.clone());
    if let Some(file) = others.get("func_code").and_then(|code| code["file"].as_str()) {
        let code = STANDARD.decode(file).map_err(|_| Refusal::InvalidParameter)?;
        attributes.insert("code_size".to_owned(), code.len().into());
        let digest = format!("{:x}", Bytes::copy_from_slice(&Sha512::digest(&code)));
        attributes.insert("digest".to_owned(), digest.into());
    }
    Ok(())
}

fn answer(call: &Call<'_>, target: &Target) -> Answer {
    Answer::json(StatusCode::OK, &metadata::of(call, target, LATEST))
}

fn code_answer(call: &Call<'_>, target: &Target) -> Answer {
    let metadata = metadata::of(call, target, target.version());
    let known = |name: &str| metadata[name].clone();
    let code = json!({
        "func_urn": known("func_urn"),
        "func_name": known("func_name"),
        "domain_id": known("domain_id"),
        "runtime": known("runtime"),
        "code_type": known("code_type"),
        "code_url": known("code_url"),
        "code_filename": known("code_filename"),
        "code_size": known("code_size"),
        "digest": known("digest"),
        "last_modified": known("last_modified"),
        "depend_version_list": known("depend_version_list"),
        "strategy_config": known("strategy_config"),
        "func_code": target.attributes.get("func_code"),
    });
    Answer::json(StatusCode::OK, &code)
}
