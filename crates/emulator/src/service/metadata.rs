//! `GET …/config`, `…/versions` and `…/functions`: what there is to know of a function, in one version or in all, and of
//! all functions.

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

/// Functions on a page, if the caller does not say and at most.
const FUNCTIONS: usize = 400;

/// Runs that may take longer than this are long ones: the limit of a synchronous run, in seconds.
const LONG: u64 = 900;

/// `GET …/config`: those of the version that is called.
pub(super) fn show<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let target = call.target()?;
    Ok(done(Answer::json(StatusCode::OK, &of(call, target, target.version()))))
}

/// `GET …/versions`: those of `latest` and of all that were published.
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

/// `GET …/functions`: those of all functions, in the version `latest`.
pub(super) fn list<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    call.project()?;
    let page = Page::read(call.request, "maxitems", FUNCTIONS, FUNCTIONS)?;
    let all = call.state.functions.targets();
    let shown = page.of(&all);
    let mut functions: Vec<Value> = shown.iter().map(|target| of(call, target, LATEST)).collect();
    // The one field of `…/config` that no document names for the list.
    functions.iter_mut().filter_map(Value::as_object_mut).for_each(|fields| {
        fields.remove("enable_dynamic_memory");
    });
    let body = json!({ "functions": functions, "next_marker": page.next(shown.len()), "count": all.len() });
    Ok(done(Answer::json(StatusCode::OK, &body)))
}

/// The metadata of one version. What no part of the emulator knows is empty; there is no code, so its digest is that of
/// nothing.
fn of(call: &Call<'_>, target: &Target, version: &str) -> Value {
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
        "domain_id": "",
        "runtime": runtime,
        "handler": "index.handler",
        "timeout": timeout.as_secs(),
        "long_time": timeout.as_secs() > LONG,
        "memory_size": memory,
        // A tenth of a core for the smallest size, and in proportion for the others.
        "cpu": memory * 100 / 128,
        "enable_dynamic_memory": function.dynamic_memory,
        "strategy_config": { "concurrency": concurrency, "concurrent_num": function.concurrent_num },
        "type": "v2",
        "code_type": "inline",
        "code_size": 0,
        "digest": digest_of_nothing(),
        "image_name": format!("{version}@emulator"),
        "last_modified": zoned(*modified),
    })
}

fn digest_of_nothing() -> String {
    format!("{:x}", Bytes::copy_from_slice(&Sha512::digest([])))
}
