//! The custom resources: Rust types, their schemas, and the rules that the API server enforces.
//!
//! The schema is strict and the Rust types are lenient. An unexpected field in one stored object must never stop a
//! whole list from decoding, so everything in `status` is optional here.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::sync::LazyLock;

pub mod condition;
pub mod invocation;
pub(crate) mod names;
pub mod provider;

pub use condition::{Condition, ConditionStatus, ConditionType, Reason};
pub use invocation::{FunctionInvocation, FunctionInvocationSpec, FunctionInvocationStatus};
pub(crate) use provider::{AnyProvider, ProviderKey};
pub use provider::{
    ClusterFunctionGraphProvider, FunctionGraphProvider, FunctionGraphProviderSpec,
    FunctionGraphProviderStatus,
};

/// The API group of all custom resources.
pub const GROUP: &str = "functiongraph.io";

/// All CRDs, as in `crds/`.
pub fn crds() -> &'static [CustomResourceDefinition] {
    static CRDS: LazyLock<Vec<CustomResourceDefinition>> = LazyLock::new(make_crds);
    &CRDS
}

fn make_crds() -> Vec<CustomResourceDefinition> {
    let mut crds =
        vec![FunctionInvocation::crd(), FunctionGraphProvider::crd(), ClusterFunctionGraphProvider::crd()];
    let versions = crds.iter_mut().flat_map(|crd| &mut crd.spec.versions);
    versions.filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut()).for_each(join_lines);
    crds
}

/// Joins the lines of each description, because `kubectl explain` breaks them to the width of the terminal.
fn join_lines(schema: &mut JSONSchemaProps) {
    schema.description = schema.description.take().map(|text| text.replace('\n', " "));
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        join_lines(items);
    }
    schema.properties.iter_mut().flat_map(|fields| fields.values_mut()).for_each(join_lines);
}

/// Reads a value. Treats a value of an unexpected form as absent.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

/// Reads a value that must not count as absent. A value of an unexpected form becomes the default.
fn present<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let value = Option::<Box<RawValue>>::deserialize(deserializer)?;
    Ok(value.map(|value| serde_json::from_str(value.get()).unwrap_or_default()))
}

/// Reads a list, and leaves out elements of an unexpected form.
fn lenient_list<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    // As text, because each event of a watch is read, and a tree of its conditions would be thrown away.
    let list = Box::<RawValue>::deserialize(deserializer)?;
    let elements: Vec<&RawValue> = serde_json::from_str(list.get()).unwrap_or_default();
    Ok(elements.into_iter().filter_map(|element| serde_json::from_str(element.get()).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_another_version_wrote_is_read_as_far_as_possible() {
        let condition = |reason| json!({"type": "Ready", "status": "True", "reason": reason, "message": "", "observedGeneration": 1, "lastTransitionTime": "2026-12-01T00:00:00Z"});
        let status = json!({"outcome": "Postponed", "attempts": "two", "attempt": {"number": 1, "state": "Paused"},
            "conditions": [condition("NewReason"), condition("Accepted"), 7]});
        let [from_tree, from_text] = [
            serde_json::from_value::<FunctionInvocationStatus>(status.clone()).expect("a status"),
            serde_json::from_str(&status.to_string()).expect("a status"),
        ];
        assert_eq!(from_tree, from_text);
        assert_eq!((from_text.outcome, from_text.attempts), (None, None));
        let attempt = from_text.attempt.expect("an attempt");
        assert_eq!((attempt.number, attempt.state), (Some(1), None));
        assert_eq!(from_text.conditions.iter().map(|c| c.reason).collect::<Vec<_>>(), [Reason::Accepted]);
    }

    #[test]
    fn an_attempt_that_cannot_be_read_is_an_attempt() {
        for (status, attempted) in [
            (json!({"attempt": "lost", "conditions": null}), true),
            (json!({"attempt": [], "conditions": {}}), true),
            (json!({"attempt": null}), false),
        ] {
            let status = serde_json::from_value::<FunctionInvocationStatus>(status).expect("a status");
            assert_eq!((status.attempt.is_some(), status.conditions.len()), (attempted, 0));
        }
    }
}
