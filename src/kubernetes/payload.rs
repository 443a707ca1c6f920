//! Fetches an event that stands in another object, and checks what can be checked before it is sent.

use super::{Error, bounded, found};
use crate::api::invocation::KeyRef;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use serde_json::value::RawValue;

/// The largest asynchronous event: 256 KB, read as 262,144 bytes (FunctionGraph, notes and constraints).
pub const MOST: usize = 262_144;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A JSON object of a size that can be sent.
    Event(Vec<u8>),
    /// Nothing there yet; says what is missing.
    Missing(String),
    /// Something that can never be sent; says why.
    Unfit(String),
}

/// Reads the key of a ConfigMap, byte for byte.
///
/// # Errors
/// When the API server did not answer, had trouble of its own, or does not allow it.
pub async fn from_config_map(client: &Client, namespace: &str, source: &KeyRef) -> Result<Found, Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let KeyRef { name, key } = source;
    let Some(map) = found(bounded(api.get(name)).await)? else {
        return Ok(Found::Missing(format!(
            "ConfigMap {name} does not exist in namespace {namespace}: create it"
        )));
    };
    let text = map.data.and_then(|mut data| data.remove(key)).map(String::into_bytes);
    let binary = || map.binary_data.and_then(|mut data| data.remove(key)).map(|bytes| bytes.0);
    Ok(match text.or_else(binary) {
        None => Found::Missing(format!("ConfigMap {name} has no key {key}: add it")),
        Some(bytes) => check(bytes, &format!("key {key} of ConfigMap {name}")),
    })
}

/// Whether bytes can be sent as an event.
fn check(bytes: Vec<u8>, what: &str) -> Found {
    if bytes.len() > MOST {
        return Found::Unfit(format!("{what} has {} bytes, and an event may have {MOST}", bytes.len()));
    }
    // The parser's own words may quote the text, which must not reach a status: only the place is told.
    match serde_json::from_slice::<&RawValue>(&bytes) {
        Ok(json) if json.get().starts_with('{') => Found::Event(bytes),
        Ok(_) => Found::Unfit(format!("{what} is not a JSON object")),
        Err(error) => Found::Unfit(format!(
            "{what} is not valid JSON (line {}, column {})",
            error.line(),
            error.column()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Found {
        check(text.as_bytes().to_vec(), "it")
    }

    #[test]
    fn an_object_passes_byte_for_byte() {
        let text = "{ \"b\": 1e3,\n \"a\": 12345678901234567890123 }";
        assert_eq!(checked(text), Found::Event(text.as_bytes().to_vec()));
    }

    #[test]
    fn what_is_not_an_object_is_refused_without_quoting_it() {
        for text in ["", "[1]", "\"secret\"", "{\"secret\"", "{} secret", "secret"] {
            let Found::Unfit(why) = checked(text) else { unreachable!("{text} passed") };
            assert!(!why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn the_size_limit_is_exact() {
        let event = |n: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(n - 8));
        assert!(matches!(checked(&event(MOST)), Found::Event(_)));
        assert!(matches!(checked(&event(MOST + 1)), Found::Unfit(_)));
    }
}
