//! `ClusterFunctionGraphProvider`: a provider for several namespaces.

use super::{FunctionGraphProviderSpec, FunctionGraphProviderStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// A provider for the namespaces that it allows. Its Secrets are in the operator's own namespace.
#[expect(clippy::duplicated_attributes, reason = "columns have types and paths in common")]
#[derive(CustomResource, KubeSchema, Clone, Debug, Serialize, Deserialize)]
#[kube(
    group = "functiongraph.io",
    version = "v1alpha1",
    kind = "ClusterFunctionGraphProvider",
    doc = "Endpoint and credential for the invocations of several namespaces. Only allowed namespaces may use it. Its Secrets are in the operator's own namespace.",
    status = "FunctionGraphProviderStatus",
    shortname = "cfgp",
    category = "functiongraph",
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.region"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Project", type_ = "string", json_path = ".status.projectID", priority = 1),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoint", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    ),
    printcolumn(
        name = "Paused",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Paused")].status"#,
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterFunctionGraphProviderSpec {
    /// The fields shared with `FunctionGraphProvider`.
    #[serde(flatten)]
    pub provider: FunctionGraphProviderSpec,

    /// The namespaces whose invocations may use it. The operator checks this before every attempt.
    pub allowed_namespaces: AllowedNamespaces,
}

/// Namespaces, by name or by label.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.names) != has(self.selector)").message("set exactly one of allowedNamespaces.names and allowedNamespaces.selector"))]
pub struct AllowedNamespaces {
    /// Names of namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1000), inner(length(min = 1, max = 63)))]
    pub names: Option<Vec<String>>,

    /// A selector for the labels of namespaces. An empty selector allows every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}
