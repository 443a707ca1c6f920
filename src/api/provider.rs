//! `FunctionGraphProvider` and the fields that it shares with `ClusterFunctionGraphProvider`: endpoint and
//! credential.

use super::{Condition, lenient, lenient_list};
use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::apply;

mod cluster;
mod credentials;
mod either;
mod key;

pub use cluster::{AllowedNamespaces, ClusterFunctionGraphProvider, ClusterFunctionGraphProviderSpec};
pub use credentials::{Credentials, ObjectName, Oidc, OidcMode, OwnIdentity, SecretSource, Sts};
pub(crate) use either::{AnyProvider, Edition, edition_of};
pub(crate) use key::ProviderKey;

/// An id of the cloud.
const ID: &str = "self.matches('^[A-Za-z0-9_-]+$')";

/// The beginning of an endpoint. The operator checks the rest, because it knows the allowed hosts.
const HTTPS: &str = "self.startsWith('https://')";

/// The schema's message for anything else.
const NO_HTTPS: &str =
    "expected an https URL with only host and port, such as https://functiongraph.example.com";

/// Endpoint and credential for the invocations of its namespace.
#[derive(CustomResource, KubeSchema, Clone, Debug, Serialize, Deserialize)]
#[kube(
    group = "functiongraph.io",
    version = "v1alpha1",
    kind = "FunctionGraphProvider",
    doc = "Endpoint and credential for the invocations of its namespace. A user who may only create invocations cannot change either of them.",
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
    validation = Rule::new("!has(self.spec.credentials.oidc) || !has(self.spec.credentials.oidc.projectedTokenFile)").message("oidc.projectedTokenFile is only for a ClusterFunctionGraphProvider: use oidc.serviceAccountRef")
)]
#[serde(rename_all = "camelCase")]
pub struct FunctionGraphProviderSpec {
    /// The region, for example `eu-de`. The operator derives the endpoint from it, unless you set `endpoint`.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9-]+$')").message("expected the name of a region, such as eu-de or cn-north-4"))]
    pub region: String,

    /// The project id of that region: 32 hexadecimal digits in most accounts. If absent, the operator takes it from
    /// the token, or looks it up by the region's name.
    #[serde(default, rename = "projectID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new(ID).message("expected a project id: letters, digits, '_' and '-'"))]
    pub project_id: Option<String>,

    /// The version of the invocation API: `v2`, or `v1.0` for an endpoint without v2. Default: `v2`.
    #[serde(default)]
    pub protocol_version: ProtocolVersion,

    /// Another endpoint than the region's: an https URL with only host and port. The operator's list of allowed hosts
    /// must allow the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new(HTTPS).message(NO_HTTPS))]
    pub endpoint: Option<String>,

    /// Another endpoint of the identity service (IAM) than the region's, for example
    /// `https://iam.eu-de.otc.t-systems.com`, with the same rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new(HTTPS).message(NO_HTTPS))]
    pub iam_endpoint: Option<String>,

    /// Another endpoint of the security token service (STS) than the region's, with the same rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new(HTTPS).message(NO_HTTPS))]
    pub sts_endpoint: Option<String>,

    /// Certificate authorities (PEM) to trust for this provider's endpoints, in addition to the public ones. You cannot
    /// switch off the verification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub ca_bundle: Option<String>,

    /// A forward proxy for all requests of this provider. Set it if the cluster reaches the cloud only through one. The
    /// operator ignores the proxy variables of its environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ForwardProxy>,

    /// The credential. Set exactly one of the fields.
    pub credentials: Credentials,

    /// Limits on the use of this provider. The replicas of the operator divide them.
    #[serde(default)]
    pub limits: Limits,

    /// Functions that invocations may use through this provider, as `package:name:qualifier` with `*` for any
    /// characters, for example `default:resize:*`. Empty: every function of the project.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 200)))]
    pub allowed_functions: Vec<String>,

    /// Whether the operator may cancel accepted invocations in FunctionGraph. This ends the instance, and everything
    /// else that runs on it, if the function allows several executions on one instance. Default: false.
    #[serde(default)]
    pub allow_cancel: bool,

    /// Whether the operator may read FunctionGraph's list of invocations.
    #[serde(default)]
    pub lookup: Lookup,
}

impl FunctionGraphProviderSpec {
    /// Drops the text of the CA bundle and leaves an empty one. What is watched is kept in memory, and this is large.
    pub fn empty_ca_bundle(&mut self) {
        self.ca_bundle = self.ca_bundle.take().map(|_| String::new());
    }
}

/// A forward proxy. The operator opens tunnels through it with `CONNECT`, so the proxy sees hosts and ports, and no part
/// of a request.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardProxy {
    /// The proxy's URL with scheme, host and port, for example `http://proxy.example.com:3128`. The operator's list of
    /// allowed hosts must allow the host. The proxy resolves the names of the provider's endpoints.
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new("self.startsWith('http://') || self.startsWith('https://')").message("expected an http or https URL with only host and port, such as http://proxy.example.com:3128"))]
    #[x_kube(validation = Rule::new("!self.contains('@')").message("a user and password of a proxy are not supported"))]
    pub url: String,
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
    /// A value that this version does not know. The schema refuses it.
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

/// Whether the operator may read FunctionGraph's list of invocations.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lookup {
    /// The operator reads the list of asynchronous invocations after an ambiguous attempt, and shows the result in
    /// status. It does not decide by it. Default: false.
    #[serde(default)]
    pub enabled: bool,
}

/// Limits on the use of a provider. The replicas of the operator divide them.
#[derive(KubeSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Maximum number of requests per second. If FunctionGraph throttles the account, the operator sends fewer. Default: 200.
    #[serde(default = "two_hundred")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_requests_per_second: i64,

    /// Maximum number of requests that wait for an answer at the same time. Through a ClusterFunctionGraphProvider, no
    /// namespace has more of them than it leaves free. Default: 32.
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

/// State of the provider.
#[apply(Option => #[serde(default, deserialize_with = "lenient")])]
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = {"observedGeneration": -1}, "x-kubernetes-map-type" = "atomic"))]
pub struct FunctionGraphProviderStatus {
    /// The generation of the spec that this status describes; -1 before the first reconcile.
    pub observed_generation: Option<i64>,

    /// The endpoint in use.
    #[schemars(length(max = 512))]
    pub endpoint: Option<String>,

    /// The project in use.
    #[serde(rename = "projectID")]
    #[schemars(length(max = 64))]
    pub project_id: Option<String>,

    /// When the credential in use expires, if known. The operator renews it earlier.
    pub credential_expiration_time: Option<Timestamp>,

    /// The refused credential, for the other replicas of the operator. No replica tries it again within five minutes
    /// (a password: 16 minutes), so that FunctionGraph does not lock it.
    pub credential_refusal: Option<CredentialRefusal>,

    /// `Ready`, and `Reconciling` or `Stalled` while they are true.
    #[serde(default, deserialize_with = "lenient_list")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub conditions: Vec<Condition>,
}

/// The refused credential and the time of the refusal. Nothing here is derived from the content of the Secret.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialRefusal {
    /// The `metadata.resourceVersion` of the Secret.
    #[schemars(length(max = 128))]
    pub secret_resource_version: String,

    /// When FunctionGraph refused it.
    pub time: Timestamp,
}
