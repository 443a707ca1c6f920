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
    let value = Option::<serde_json::Value>::deserialize(deserializer)?;
    Ok(value.map(|value| serde_json::from_value(value).unwrap_or_default()))
}

/// Reads a list, and leaves out elements of an unexpected form.
fn lenient_list<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let value: Option<Vec<serde_json::Value>> = lenient(deserializer)?;
    Ok(value.unwrap_or_default().into_iter().filter_map(|v| serde_json::from_value(v).ok()).collect())
}
