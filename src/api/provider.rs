//! `FunctionGraphProvider`: where invocations go and as whom.

use super::{Condition, lenient, lenient_list};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Where invocations of this namespace go, and with which credential.
#[expect(clippy::duplicated_attributes, reason = "columns have types and paths in common")]
#[derive(CustomResource, KubeSchema, Clone, Debug, Serialize, Deserialize)]
#[kube(
    group = "functiongraph.io",
    version = "v1alpha1",
    kind = "FunctionGraphProvider",
    doc = "Where the invocations of this namespace go, and with which credential. Whoever may write invocations cannot change either: endpoints and credentials live here only.",
    namespaced,
    status = "FunctionGraphProviderStatus",
    shortname = "fgp",
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
    printcolumn(name = "Project", type_ = "string", json_path = ".spec.projectID", priority = 1),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoint", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct FunctionGraphProviderSpec {
    /// The region, for example `eu-de`. The endpoint is derived from it unless `endpoint` is given.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[a-z0-9-]+$"))]
    pub region: String,

    /// The project id of that region: 32 hexadecimal digits in most accounts.
    #[serde(rename = "projectID")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_-]+$"))]
    pub project_id: String,

    /// Another endpoint than the region's: an https URL with nothing but host and port. The host must be
    /// on the operator's list of allowed hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = "^https://"))]
    pub endpoint: Option<String>,

    /// Certificate authorities (PEM) that are trusted beside the public ones. Verification itself cannot
    /// be switched off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub ca_bundle: Option<String>,

    /// The credential: exactly one kind.
    pub credentials: Credentials,

    /// How much this provider may be used, by each replica of the operator.
    #[serde(default)]
    pub limits: Limits,

    /// Functions that may be invoked through this provider, as `package:name:qualifier` with `*` for any
    /// run of characters, for example `default:resize:*`. Empty: every function of the project.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 200)))]
    pub allowed_functions: Vec<String>,
}

/// The credential: exactly one of its fields.
#[derive(KubeSchema, Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.accessKey) != has(self.token)").message("give exactly one kind of credential: accessKey or token"))]
pub struct Credentials {
    /// An access key: the Secret's keys `accessKeyID`, `secretAccessKey` and, if temporary, `securityToken`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key: Option<SecretSource>,

    /// An IAM token of the project: the Secret's key `token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretSource>,
}

/// Where a secret value comes from.
#[derive(KubeSchema, Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretSource {
    /// A Secret in the provider's own namespace.
    pub secret_ref: SecretRef,
}

/// A Secret of the same namespace.
#[derive(KubeSchema, Clone, Debug, Serialize, Deserialize)]
pub struct SecretRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// How much a provider may be used, by each replica of the operator.
#[derive(KubeSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Ceiling on requests per second. The pace falls below it by itself when the service throttles.
    #[serde(default = "two_hundred")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_requests_per_second: i64,

    /// Ceiling on requests that wait for their answer at the same time.
    #[serde(default = "thirty_two")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_in_flight: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_requests_per_second: two_hundred(), max_in_flight: thirty_two() }
    }
}

fn two_hundred() -> i64 {
    200
}

fn thirty_two() -> i64 {
    32
}

/// Whether the provider can be used.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = {"observedGeneration": -1}, "x-kubernetes-map-type" = "atomic"))]
pub struct FunctionGraphProviderStatus {
    /// The generation of the spec that this status was judged from; −1 before the first look.
    #[serde(default, deserialize_with = "lenient")]
    pub observed_generation: Option<i64>,

    /// The endpoint in use.
    #[serde(default, deserialize_with = "lenient")]
    #[schemars(length(max = 512))]
    pub endpoint: Option<String>,

    /// `Ready`, and `Reconciling` or `Stalled` while they hold.
    #[serde(default, deserialize_with = "lenient_list")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub conditions: Vec<Condition>,
}
