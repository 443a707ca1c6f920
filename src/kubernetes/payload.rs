//! Reads an event from another object, and validates it before it is sent.

use super::{Error, named};
use crate::api::invocation::{KeyRef, PayloadSource, event_version};
use bytes::Bytes;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use secrecy::zeroize::{Zeroize, Zeroizing};
use serde_json::value::RawValue;
use std::fmt;

/// Maximum size of an asynchronous event: 256 KB, taken as 262,144 bytes (FunctionGraph, notes and constraints).
pub const MAX_EVENT_BYTES: usize = 262_144;

/// The label with which the owner of a Secret allows it to be sent as an event.
const ALLOW_LABEL: &str = "functiongraph.io/allow-payload";

/// An event. It may be from a Secret, so its memory is wiped when it is dropped, and `Debug` does not show it.
#[derive(PartialEq, Eq)]
pub struct Event(Zeroizing<Vec<u8>>);

impl Event {
    pub(crate) fn inline(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The bytes to send. They are moved, and wiped like this value.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self.0)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({} bytes)", self.0.len())
    }
}

/// Result of the read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A valid JSON object that can be sent, and its version.
    Event {
        event: Event,
        /// For a ConfigMap the hash of the event. For a Secret its uid and resourceVersion, because nothing may be
        /// derived from its content.
        version: String,
    },
    /// The object or key is missing; the text says which one.
    Missing(String),
    /// The event can never be sent; the text says why.
    Unfit(String),
    /// A source that only a newer version of the operator supports.
    Unsupported,
}

/// Reads the event from its source, byte for byte. A source that the operator may not read counts as missing.
pub(crate) async fn fetch(client: &Client, namespace: &str, source: &PayloadSource) -> Result<Found, Error> {
    let PayloadSource { config_map_key_ref, secret_key_ref } = source;
    let (result, kind, resource, name) = match (config_map_key_ref, secret_key_ref) {
        (Some(map), None) => {
            (from_config_map(client, namespace, map).await, "ConfigMap", "configmaps", &map.name)
        }
        (None, Some(secret)) => {
            (from_secret(client, namespace, secret).await, "Secret", "secrets", &secret.name)
        }
        (None, None) | (Some(_), Some(_)) => return Ok(Found::Unsupported),
    };
    match result {
        Err(error) if error.is_forbidden() => Ok(Found::Missing(format!(
            "The operator may not read {kind} {name} in namespace {namespace}: grant it get on {resource}"
        ))),
        result => result,
    }
}

async fn from_config_map(client: &Client, namespace: &str, source: &KeyRef) -> Result<Found, Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let KeyRef { name, key } = source;
    let Some(map) = named(&api, name).await? else {
        return Ok(Found::Missing(format!(
            "ConfigMap {name} does not exist in namespace {namespace}: create it"
        )));
    };
    let text = map.data.and_then(|mut data| data.remove(key)).map(String::into_bytes);
    let binary = || map.binary_data.and_then(|mut data| data.remove(key)).map(|bytes| bytes.0);
    Ok(match text.or_else(binary) {
        None => Found::Missing(format!("ConfigMap {name} has no key {key}: add it")),
        Some(bytes) => match check(bytes, &format!("key {key} of ConfigMap {name}")) {
            Ok(event) => Found::Event { version: event_version(&event.0), event },
            Err(why) => Found::Unfit(why),
        },
    })
}

/// A user who creates invocations may have no permission to read Secrets. So a Secret without the label looks the
/// same as a missing one, and a message says nothing about the content of a labelled one: no size, no position in the
/// text.
async fn from_secret(client: &Client, namespace: &str, source: &KeyRef) -> Result<Found, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let KeyRef { name, key } = source;
    let secret = named(&api, name).await?.filter(may_be_sent);
    let Some(secret) = secret else {
        return Ok(Found::Missing(format!(
            "Namespace {namespace} has no Secret {name} that may be sent as an event: create it with type Opaque, and have its owner label it {ALLOW_LABEL}: \"true\""
        )));
    };
    let identity = [&secret.metadata.uid, &secret.metadata.resource_version];
    let identity = identity.map(|part| part.clone().unwrap_or_default()).join("/");
    let mut data = secret.data.unwrap_or_default();
    let event = data.remove(key);
    for value in data.values_mut() {
        value.0.zeroize();
    }
    Ok(match event {
        None => Found::Missing(format!("Secret {name} has no key {key}: add it")),
        Some(bytes) => match check(bytes.0, "") {
            Ok(event) => Found::Event { event, version: format!("secret:{identity}") },
            Err(_) => Found::Unfit(format!(
                "key {key} of Secret {name} is not a JSON object of at most {MAX_EVENT_BYTES} bytes"
            )),
        },
    })
}

/// Whether its owner allows it to be sent.
fn may_be_sent(secret: &Secret) -> bool {
    let labels = secret.metadata.labels.as_ref();
    // The API server treats a missing type as Opaque.
    secret.type_.as_deref().is_none_or(|type_| type_ == "Opaque")
        && labels.and_then(|labels| labels.get(ALLOW_LABEL)).is_some_and(|value| value == "true")
}

/// Makes an event of bytes. `what` names them in the error.
///
/// # Errors
/// A sentence with the reason. It quotes none of the bytes.
pub fn check(bytes: Vec<u8>, what: &str) -> Result<Event, String> {
    let bytes = Zeroizing::new(bytes);
    if bytes.len() > MAX_EVENT_BYTES {
        return Err(format!("{what} has {} bytes, and an event may have {MAX_EVENT_BYTES}", bytes.len()));
    }
    // The parser's own message may quote the text, which must not reach a status, so only give the position.
    match serde_json::from_slice::<&RawValue>(&bytes) {
        Ok(json) if json.get().starts_with('{') => Ok(Event(bytes)),
        Ok(_) => Err(format!("{what} is not a JSON object")),
        Err(error) => {
            Err(format!("{what} is not valid JSON (line {}, column {})", error.line(), error.column()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<Event, String> {
        check(text.as_bytes().to_vec(), "it")
    }

    #[test]
    fn an_object_passes_byte_for_byte() {
        let text = "{ \"b\": 1e3,\n \"a\": 12345678901234567890123 }";
        assert_eq!(checked(text).unwrap().into_bytes(), text.as_bytes());
    }

    #[test]
    fn t08_an_event_is_not_shown_by_debug() {
        assert_eq!(format!("{:?}", checked(r#"{"a":"secret"}"#)), "Ok(Event(14 bytes))");
    }

    #[test]
    fn what_is_not_an_object_is_refused_without_quoting_it() {
        for text in ["", "[1]", "\"secret\"", "{\"secret\"", "{} secret", "secret"] {
            let why = checked(text).unwrap_err();
            assert!(!why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn the_size_limit_is_exact() {
        let event = |n: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(n - 8));
        assert!(checked(&event(MAX_EVENT_BYTES)).is_ok());
        assert!(checked(&event(MAX_EVENT_BYTES + 1)).is_err());
    }
}
