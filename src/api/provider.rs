//! `FunctionGraphProvider`: where invocations go and as whom; and its sibling for several namespaces.

use super::{Condition, lenient, lenient_list};
use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod cluster;
mod credentials;
mod either;

pub use cluster::{AllowedNamespaces, ClusterFunctionGraphProvider, ClusterFunctionGraphProviderSpec};
pub use credentials::{Credentials, ObjectName, Oidc, OidcMode, OwnIdentity, SecretSource, Sts};
pub use either::{AnyProvider, Edition};

/// Where invocations of this namespace go, and with which credential.
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
    ),
    validation = Rule::new("!has(self.spec.credentials.oidc) || !has(self.spec.credentials.oidc.projectedTokenFile)").message("oidc.projectedTokenFile is for cluster providers only: use oidc.serviceAccountRef")
)]
#[serde(rename_all = "camelCase")]
pub struct FunctionGraphProviderSpec {
    /// The region, for example `eu-de`. The endpoint is derived from it unless `endpoint` is given.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[a-z0-9-]+$"))]
    pub region: String,

    /// The project id of that region: 32 hexadecimal digits in most accounts. If absent, it is taken from the
    /// token, or looked up by the region's name.
    #[serde(default, rename = "projectID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_-]+$"))]
    pub project_id: Option<String>,

    /// The version of the invocation API: `v2`, or `v1.0` where an endpoint knows no other.
    #[serde(default)]
    pub protocol_version: ProtocolVersion,

    /// Another endpoint than the region's: an https URL with nothing but host and port. The host must be
    /// on the operator's list of allowed hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = "^https://"))]
    pub endpoint: Option<String>,

    /// Another endpoint of the identity service (IAM) than the region's, under the same rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = "^https://"))]
    pub iam_endpoint: Option<String>,

    /// Another endpoint of the security token service (STS) than the region's, under the same rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = "^https://"))]
    pub sts_endpoint: Option<String>,

    /// Certificate authorities (PEM) that are trusted beside the public ones: those of this provider's endpoints, a few.
    /// Verification itself cannot be switched off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
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

    /// Whether invocations may be cancelled in FunctionGraph after they were accepted. Cancelling ends the
    /// instance, and with it whatever else runs on it where the function allows several at a time.
    #[serde(default)]
    pub allow_cancel: bool,

    /// Whether FunctionGraph may be asked what it accepted.
    #[serde(default)]
    pub lookup: Lookup,
}

impl FunctionGraphProviderSpec {
    /// Drops the text of the CA bundle and leaves an empty one. What is watched is kept in memory, and this is large.
    pub fn empty_ca_bundle(&mut self) {
        self.ca_bundle = self.ca_bundle.take().map(|_| String::new());
    }
}

/// A version of the invocation API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProtocolVersion {
    /// `/v2/{project}/fgs/…`.
    #[default]
    #[serde(rename = "v2")]
    V2,
    /// `/v1.0/{project}/fss/…`.
    #[serde(rename = "v1.0")]
    V1,
    /// One that this version does not know; the schema refuses it.
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

/// Whether FunctionGraph may be asked what it accepted.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lookup {
    /// The operator may read the list of asynchronous invocations, to say in status what it shows around an ambiguous
    /// attempt. Nothing is concluded from it.
    #[serde(default)]
    pub enabled: bool,
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

    /// The project in use.
    #[serde(default, rename = "projectID", deserialize_with = "lenient")]
    #[schemars(length(max = 64))]
    pub project_id: Option<String>,

    /// When the credential in use ends, if that is known. It is renewed before.
    #[serde(default, deserialize_with = "lenient")]
    pub credential_expiration_time: Option<Timestamp>,

    /// The credential that was refused, for the other replicas of the operator: none of them tries it again within five
    /// minutes (a password: 16), so that it is not locked.
    #[serde(default, deserialize_with = "lenient")]
    pub credential_refusal: Option<CredentialRefusal>,

    /// `Ready`, and `Reconciling` or `Stalled` while they hold.
    #[serde(default, deserialize_with = "lenient_list")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub conditions: Vec<Condition>,
}

/// Which credential was refused, and when. Nothing in it is derived from what the Secret holds.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialRefusal {
    /// The `metadata.resourceVersion` of the Secret.
    #[schemars(length(max = 128))]
    pub secret_resource_version: String,

    /// When the service said so.
    pub time: Timestamp,
}
