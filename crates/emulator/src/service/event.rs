//! The event of an invocation: the checks of every invocation, and the only code that accepts it.

use bytes::Bytes;

use crate::api::Api;
use crate::executions::Event;
use crate::functions::Target;
use crate::ledger::LedgerEntry;
use crate::refusal::Refusal;
use crate::service::Call;

/// The memory sizes in MB that `X-Cff-Instance-Memory` accepts.
const MEMORY_SIZES: [&str; 15] = [
    "128", "256", "512", "768", "1024", "1280", "1536", "1792", "2048", "2560", "3072", "3584", "4096",
    "8192", "10240",
];

/// The function of an invocation, if it can accept an event of at most `max_bytes`.
pub(super) fn check<'a>(call: &'a Call<'_>, max_bytes: usize) -> Result<&'a Target, Refusal> {
    let Call { request, route, .. } = call;
    if request.body.len() > max_bytes {
        return Err(Refusal::EventTooLarge);
    }
    let target = call.target()?;
    if route.api == Api::InvokeReserved && !target.function.reserved {
        return Err(Refusal::UnknownFunction);
    }
    if target.function.is_disabled() {
        return Err(Refusal::Disabled);
    }
    if request.body.is_empty() {
        return Err(Refusal::EmptyEvent);
    }
    // The documents name only objects. The emulator accepts any JSON, because nobody knows whether the service does.
    let text = std::str::from_utf8(&request.body).map_err(|_| Refusal::NotJson)?;
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|_| Refusal::NotJson)?;
    let size = memory_header(call).filter(|_| target.function.dynamic_memory);
    if size.is_some_and(|size| !MEMORY_SIZES.contains(&size)) {
        return Err(Refusal::InvalidMemory);
    }
    Ok(target)
}

/// The memory of an execution, in MB.
pub(super) fn memory(call: &Call<'_>, target: &Target) -> u32 {
    let asked = memory_header(call).filter(|_| target.function.dynamic_memory);
    asked.and_then(|size| size.parse().ok()).unwrap_or(target.function.memory)
}

fn memory_header<'a>(call: &'a Call<'_>) -> Option<&'a str> {
    call.request.header("x-cff-instance-memory")
}

/// Most bytes of an event that are kept for being shown.
const SHOWN: usize = 4096;

/// An event that the function accepts now, under its id.
pub(super) fn of(call: &Call<'_>, target: &Target, request_id: &str) -> Event {
    let Target { urn, function, .. } = target;
    let event = Event::of(function, urn.to_string(), request_id.to_owned(), call.now);
    let body = &call.request.body;
    let length = if event.latency.is_none() { body.len() } else { body.len().min(SHOWN) };
    Event {
        // A copy, because a part of it would keep the buffer of the connection alive.
        body: Bytes::copy_from_slice(&body[..length]),
        body_bytes: body.len(),
        api: call.route.api,
        caller: call.state.auth.caller(call.request),
        version: target.version().to_owned(),
        memory: memory(call, target),
        ..event
    }
}

/// Accepts an event under its id, and under an instance id for a reserved instance. From here on it is in the ledger,
/// whatever answer the caller gets.
pub(super) fn accept(call: &Call<'_>, target: &Target, request_id: &str, instance_id: Option<&str>) {
    let Call { state, route, request, now, .. } = call;
    state.ledger.add(LedgerEntry {
        instance_id: instance_id.map(str::to_owned),
        instance_memory: memory_header(call).map(str::to_owned),
        ..LedgerEntry::of(*now, route.api, target.urn.to_string(), request_id.to_owned(), &request.body)
    });
    state.stats.accepted();
}
