//! `GET …/config`, `…/versions` and `…/functions`: the metadata of one version, of all versions, or of all functions.

use std::iter;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

use crate::answer::{Answer, zoned};
use crate::config::Function;
use crate::functions::{LATEST, Target};
use crate::refusal::Refusal;
use crate::service::page::Page;
use crate::service::{Call, Work, done};

/// Default and maximum number of functions on a page.
const FUNCTIONS: usize = 400;

/// Timeouts above this make a function a long-running one: the limit of a synchronous run, in seconds.
const LONG: u64 = 900;

/// `GET …/config`: the metadata of the called version.
pub(super) fn show<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let target = call.target()?;
    Ok(done(Answer::json(StatusCode::OK, &of(call, target, target.version()))))
}

/// `GET …/versions`: the metadata of `latest` and of all published versions.
pub(super) fn versions<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let target = call.target()?;
    let page = Page::read(call.request, "maxitems", usize::MAX, usize::MAX)?;
    let published = target.function.versions.iter().map(String::as_str);
    let all: Vec<&str> = iter::once(LATEST).chain(published).collect();
    let shown = page.of(&all);
    let versions: Vec<Value> = shown.iter().map(|version| of(call, target, version)).collect();
    let body = json!({ "versions": versions, "next_marker": page.next(shown.len()), "count": all.len() });
    Ok(done(Answer::json(StatusCode::OK, &body)))
}

/// `GET …/functions`: the metadata of all functions, in version `latest`.
pub(super) fn list<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    call.project()?;
    let page = Page::read(call.request, "maxitems", FUNCTIONS, FUNCTIONS)?;
    let mut all = call.state.functions.targets();
    if let Some(package) = call.request.parameter("package_name") {
        all.retain(|target| target.function.package == package);
    }
    let shown = page.of(&all);
    let mut functions: Vec<Value> = shown.iter().map(|target| of(call, target, LATEST)).collect();
    // No document names this field of `…/config` for the list.
    functions.iter_mut().filter_map(Value::as_object_mut).for_each(|fields| {
        fields.remove("enable_dynamic_memory");
    });
    let body = json!({ "functions": functions, "next_marker": page.next(shown.len()), "count": all.len() });
    Ok(done(Answer::json(StatusCode::OK, &body)))
}

/// The metadata of one version. Fields that the emulator does not know are as the API set them, or empty. A declared
/// function has no code, so its digest is that of an empty file.
pub(super) fn of(call: &Call<'_>, target: &Target, version: &str) -> Value {
    let mut fields = json!({
        "domain_id": "",
        "handler": "index.handler",
        "code_type": "inline",
        "code_size": 0,
        "digest": digest_of_nothing(),
    });
    let shown = target.attributes.iter().filter(|(name, _)| !name.contains(':') && *name != "func_code");
    let shown: Vec<_> = shown.map(|(name, value)| (name.clone(), value.clone())).collect();
    let interpreted = interpreted(call, target, version);
    if let (Value::Object(fields), Value::Object(interpreted)) = (&mut fields, interpreted) {
        fields.extend(shown);
        fields.extend(interpreted);
    }
    fields
}

/// The fields whose values the emulator itself knows.
fn interpreted(call: &Call<'_>, target: &Target, version: &str) -> Value {
    let functions = &call.state.functions;
    let Target { function, modified, .. } = target;
    let Function { name, package, runtime, timeout, memory, .. } = &**function;
    let concurrency = if function.is_disabled() { 0 } else { function.concurrency };
    json!({
        "func_urn": functions.urn_of(function, version),
        "func_name": name,
        "package": package,
        "version": version,
        "namespace": functions.project_id(),
        "project_name": functions.region(),
        "runtime": runtime,
        "timeout": timeout.as_secs(),
        "long_time": timeout.as_secs() > LONG,
        "memory_size": memory,
        // A tenth of a core for the smallest size, in proportion for the others.
        "cpu": memory * 100 / 128,
        "enable_dynamic_memory": function.dynamic_memory,
        "strategy_config": { "concurrency": concurrency, "concurrent_num": function.concurrent_num },
        "type": "v2",
        "image_name": format!("{version}@emulator"),
        "last_modified": zoned(*modified),
    })
}

fn digest_of_nothing() -> String {
    format!("{:x}", Bytes::copy_from_slice(&Sha512::digest([])))
}
