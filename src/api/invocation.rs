//! `FunctionInvocation`: one invocation of one function, submitted once, with its result in `.status`.

use super::names::{NO_OBJECT_NAME, OBJECT_NAME};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod execution;
mod function;
mod payload;
mod status;

pub use execution::{Execution, ExecutionStatus, InvocationResult, Summary};
pub use function::FunctionRef;
pub use payload::{EventDigest, Payload, event_version, unescaped};
pub use status::{
    Attempt, AttemptError, AttemptState, ErrorClass, FunctionInvocationStatus, Outcome, RequestIdSource,
};

/// The annotation with which you resolve an ambiguous attempt: `Retry`, `Fail`, or the id of a request that you
/// found.
pub const RESOLVE: &str = "functiongraph.io/resolve";

/// The annotation with the uid of the object, written before the first claim under `--restore-guard`. A restored or
/// copied object keeps the annotation and has another uid.
pub const SUBMITTED_AS: &str = "functiongraph.io/submitted-as";

/// The label that Velero sets on everything that it restores: the name of the restore.
pub const VELERO_RESTORE: &str = "velero.io/restore-name";

/// The holder of an attempt that may have been made for the original of a restored or copied object.
pub const BEFORE_THE_RESTORE: &str = "before-the-restore";

/// One invocation of one function.
#[derive(CustomResource, KubeSchema, Clone, Debug, Serialize, Deserialize)]
#[kube(
    group = "functiongraph.io",
    version = "v1alpha1",
    kind = "FunctionInvocation",
    doc = "One invocation of one FunctionGraph function. The operator submits it once, and keeps the request id or the error in status.",
    namespaced,
    status = "FunctionInvocationStatus",
    shortname = "fninv",
    category = "functiongraph",
    selectable = ".status.outcome",
    selectable = ".status.requestID",
    selectable = ".spec.providerRef.name",
    selectable = ".spec.ttlSecondsAfterFinished",
    printcolumn(name = "Function", type_ = "string", json_path = ".status.function"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Request-ID", type_ = "string", json_path = ".status.requestID"),
    printcolumn(name = "Attempts", type_ = "integer", json_path = ".status.attempts"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Provider", type_ = "string", json_path = ".spec.providerRef.name", priority = 1),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.outcome", priority = 1),
    printcolumn(name = "HTTP", type_ = "integer", json_path = ".status.error.httpStatus", priority = 1),
    printcolumn(name = "Error-Code", type_ = "string", json_path = ".status.error.code", priority = 1),
    printcolumn(name = "Next-Attempt", type_ = "string", json_path = ".status.nextAttemptTime", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1),
    // A null in an update removes the status.
    validation = Rule::new("has(self.status) || !has(oldSelf.status)").message("status cannot be removed"),
    // An object that is stored with a null has no status in spite of the default, and must stay writable. The rules of `attempt`
    // hold the rest.
    validation = Rule::new("oldSelf.?status.?attempt.?state.orValue('') != 'Ambiguous' || self.spec.deliveryPolicy == 'AtLeastOnce' || !has(self.status) || !has(self.status.attempt) || self.status.attempt.number == oldSelf.status.attempt.number").message("a new attempt may follow only an attempt that was certainly not accepted, or an ambiguous one under deliveryPolicy AtLeastOnce"),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.payloadFrom) || !has(self.payload)").message("set at most one of payload and payloadFrom"))]
#[x_kube(validation = Rule::new("has(self.payloadFrom) == has(oldSelf.payloadFrom)").message("payloadFrom is immutable: create a new FunctionInvocation"))]
#[x_kube(validation = Rule::new("!has(self.sync) || self.invocationType == 'Sync'").message("sync needs invocationType Sync"))]
#[x_kube(validation = Rule::new("!has(self.sync) || !has(self.payloadFrom) || !has(self.payloadFrom.secretKeyRef) || !(self.sync.logTail || self.sync.captureResult)").message("sync.logTail and sync.captureResult are not possible with payloadFrom.secretKeyRef, because the function's log or result may repeat the Secret"))]
#[x_kube(validation = Rule::new("self.completionPolicy != 'Executed' || self.invocationType == 'Async'").message("completionPolicy Executed needs invocationType Async: a Sync invocation always ends with its execution, and the operator cannot follow a Reserved one"))]
#[x_kube(validation = Rule::new("self.requestTimeoutSeconds <= self.activeDeadlineSeconds").message("activeDeadlineSeconds must be at least requestTimeoutSeconds (30 unless given)").field_path(".activeDeadlineSeconds"))]
pub struct FunctionInvocationSpec {
    /// The function: either `urn`, or `name` with an optional `package` and `qualifier`.
    pub function: FunctionRef,

    /// The event, a JSON object. Without this and `payloadFrom` the operator sends `{}`. The API server re-encodes
    /// the event: it sorts keys, and rounds decimals and very large integers. The operator sends the stored text
    /// without the API server's HTML escapes. If you need every byte unchanged, use `payloadFrom`. At most 262,144
    /// bytes; for `Sync` at most 1,400,000 bytes as stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    // Immutable through the admission policy: a CRD rule would compare only sizes and common keys.
    pub payload: Option<Payload>,

    /// The event from another object in the same namespace, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_from: Option<PayloadSource>,

    /// The provider that the operator sends the invocation with. Default: the provider `default` of the
    /// namespace.
    #[serde(default)]
    pub provider_ref: ProviderRef,

    /// How the function is invoked. Default: `Async`.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("invocationType is immutable: create a new FunctionInvocation"))]
    pub invocation_type: InvocationType,

    /// When the invocation is finished: `Accepted` ends with FunctionGraph's answer 202. `Executed` follows the
    /// request until it succeeded, failed or was discarded. (`Sync` always ends with the answer.) Default:
    /// `Accepted`.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("completionPolicy is immutable: create a new FunctionInvocation"))]
    pub completion_policy: CompletionPolicy,

    /// What to do if an attempt is ambiguous, so that FunctionGraph may have accepted it: `AtMostOnce` never sends
    /// again and ends as `Unknown`, `AtLeastOnce` sends again. Default: `AtMostOnce`.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("deliveryPolicy is immutable: create a new FunctionInvocation"))]
    pub delivery_policy: DeliveryPolicy,

    /// How failed attempts are retried.
    #[serde(default)]
    pub retry_policy: RetryPolicy,

    /// How long one attempt may take, headers and body together. For `Sync` this includes the execution, for which
    /// FunctionGraph waits 90 seconds. If the endpoint does not accept a connection within 5 seconds, or within half
    /// of this time if that is less, the attempt counts as not sent. Default: 30.
    #[serde(default = "thirty")]
    #[schemars(range(min = 1, max = 90))]
    pub request_timeout_seconds: i64,

    /// How long the operator tries: from the creation of the object, its latest resume or `Retry`, until the last
    /// attempt. At least `requestTimeoutSeconds`. Default: 3600.
    #[serde(default = "an_hour")]
    #[schemars(range(min = 1, max = 604_800))]
    pub active_deadline_seconds: i64,

    /// The operator deletes the object this long after it finished. If absent, it never does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub ttl_seconds_after_finished: Option<i64>,

    /// While true, the operator sends nothing. It does not recall a request that it has already sent.
    #[serde(default)]
    pub suspend: bool,

    /// Cancels the invocation. Before it is sent, the operator never sends it. While the operator follows it
    /// (`completionPolicy: Executed`), it asks FunctionGraph to stop the execution, if the provider has
    /// `allowCancel`. You cannot undo this.
    #[serde(default)]
    #[x_kube(validation = Rule::new("!oldSelf || self").message("cancel cannot be undone: create a new FunctionInvocation"))]
    pub cancel: bool,

    /// Memory of the instance that executes it, in MB, instead of the function's own: 128, 256, 512, 768, 1024, 1280,
    /// 1536, 1792, 2048, 2560, 3072, 3584, 4096, 8192 or 10240. Needs dynamic memory switched on for the function;
    /// otherwise FunctionGraph ignores it.
    #[serde(default, rename = "instanceMemoryMB", skip_serializing_if = "Option::is_none")]
    // Not an enum: the API server refuses null for one, whatever the enum lists.
    #[x_kube(validation = Rule::new("self in [128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096, 8192, 10240]").message("FunctionGraph has no instances with this much memory: kubectl explain fninv.spec.instanceMemoryMB lists the sizes"))]
    pub instance_memory_mb: Option<i64>,

    /// Parts of the answer to a `Sync` invocation to keep in status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<SyncOptions>,
}

/// Parts of the answer to a `Sync` invocation to keep in status, in addition to its metrics.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncOptions {
    /// The last 4 KB of the function's log, in `status.result.logTail`.
    #[serde(default)]
    pub log_tail: bool,
    /// Up to 8 KiB of the function's result, in `status.result.body`. Everybody who may read the object can read it.
    #[serde(default)]
    pub capture_result: bool,
}

impl FunctionInvocationSpec {
    /// Whether the event is from a Secret. Then the status must not keep anything that may repeat the event.
    pub fn has_secret_event(&self) -> bool {
        self.payload_from.as_ref().is_some_and(|source| source.secret_key_ref.is_some())
    }
}

fn thirty() -> i64 {
    30
}

fn an_hour() -> i64 {
    3600
}

/// An object that holds the event. Set exactly one of the fields.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.configMapKeyRef) != has(self.secretKeyRef)").message("set exactly one of payloadFrom.configMapKeyRef and payloadFrom.secretKeyRef"))]
#[x_kube(validation = Rule::new("has(self.configMapKeyRef) == has(oldSelf.configMapKeyRef) && has(self.secretKeyRef) == has(oldSelf.secretKeyRef)").message("payloadFrom is immutable: create a new FunctionInvocation"))]
pub struct PayloadSource {
    /// A key of a ConfigMap in the same namespace: a JSON object of at most 262,144 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyRef>,

    /// A key of a Secret in the same namespace, with the same limits. The Secret must have type `Opaque`, and its
    /// owner must label it `functiongraph.io/allow-payload: "true"`. Otherwise everybody who may create invocations
    /// could read Secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyRef>,
}

/// A key of another object in the same namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRef {
    /// The object's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(OBJECT_NAME).message(NO_OBJECT_NAME))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("payloadFrom is immutable: create a new FunctionInvocation"))]
    pub name: String,
    /// The key in its data.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("this is not a key of a Secret or a ConfigMap: use letters, digits, '-', '_' and '.'"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("payloadFrom is immutable: create a new FunctionInvocation"))]
    pub key: String,
}

/// A provider in the same namespace, or a cluster-scoped provider.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderRef {
    /// The kind of the provider. Default: `FunctionGraphProvider`.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("providerRef is immutable: create a new FunctionInvocation"))]
    pub kind: ProviderKind,
    /// The provider's name. Default: `default`.
    #[serde(default = "default_name")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(OBJECT_NAME).message(NO_OBJECT_NAME))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("providerRef is immutable: create a new FunctionInvocation"))]
    pub name: String,
}

impl Default for ProviderRef {
    fn default() -> Self {
        Self { kind: ProviderKind::default(), name: default_name() }
    }
}

fn default_name() -> String {
    "default".into()
}

/// A kind of provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProviderKind {
    /// A provider in the same namespace.
    #[default]
    FunctionGraphProvider,
    /// A cluster-scoped provider, if it allows the namespace.
    ClusterFunctionGraphProvider,
    /// A value that this version does not know. The schema refuses it.
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

/// How a function is invoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InvocationType {
    /// `POST …/invocations-async`: accepted at once, executed later.
    #[default]
    Async,
    /// `POST …/invocations`: the answer comes when the function has ended.
    Sync,
    /// `POST …/reserved-invocations`: accepted at once; the answer has the id of the instance that executes it. The
    /// clouds have withdrawn it except for listed accounts.
    Reserved,
    /// A value that this version does not know. The schema refuses it.
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

/// When an invocation is finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CompletionPolicy {
    /// With FunctionGraph's answer 202.
    #[default]
    Accepted,
    /// With the end of the execution.
    Executed,
    /// A value that this version does not know. The schema refuses it.
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

/// What to do if an attempt is ambiguous.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeliveryPolicy {
    /// Never send again.
    #[default]
    AtMostOnce,
    /// Send again.
    AtLeastOnce,
    /// A value that this version does not know. The schema refuses it.
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

/// How the operator retries failed attempts. It waits for a random time between 0 and `min(maxDelaySeconds,
/// initialDelaySeconds · 2^n)` before each.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.initialDelaySeconds <= self.maxDelaySeconds").message("initialDelaySeconds must not exceed maxDelaySeconds"))]
pub struct RetryPolicy {
    /// How many failed attempts the operator may retry. Answers 429 and 503 do not count: the operator retries them
    /// until the deadline. Default: 6.
    #[serde(default = "six")]
    #[schemars(range(min = 0, max = 1000))]
    pub backoff_limit: i64,

    /// Maximum of the first pause. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 86_400))]
    pub initial_delay_seconds: i64,

    /// Maximum of every pause. Default: 300.
    #[serde(default = "five_minutes")]
    #[schemars(range(min = 1, max = 86_400))]
    pub max_delay_seconds: i64,

    /// Maximum of a server's `Retry-After` that this object waits for. The account or the function that the answer speaks
    /// of may pause for longer. Default: 900.
    #[serde(default = "fifteen_minutes")]
    #[schemars(range(min = 0, max = 86_400))]
    pub retry_after_max_seconds: i64,

    /// Overrides for single answers; the first match wins. For an answer that leaves open whether the invocation was
    /// accepted, `Fail` is always possible, and `Retry` only under `AtLeastOnce`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub rules: Vec<RetryRule>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            backoff_limit: six(),
            initial_delay_seconds: one(),
            max_delay_seconds: five_minutes(),
            retry_after_max_seconds: fifteen_minutes(),
            rules: Vec::new(),
        }
    }
}

fn six() -> i64 {
    6
}

fn one() -> i64 {
    1
}

fn five_minutes() -> i64 {
    300
}

fn fifteen_minutes() -> i64 {
    900
}

/// One override. It matches if the status is in its list or it lists none, and the same for the code.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.httpStatuses) && size(self.httpStatuses) > 0) || (has(self.errorCodes) && size(self.errorCodes) > 0)").message("a rule needs httpStatuses or errorCodes"))]
pub struct RetryRule {
    /// HTTP statuses, for example `404`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(range(min = 300, max = 599)))]
    pub http_statuses: Vec<i64>,
    /// FunctionGraph's error codes, for example `FSS.1051`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 64)))]
    pub error_codes: Vec<String>,
    /// The action for a matching answer.
    pub action: RetryAction,
}

/// Action of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RetryAction {
    /// Retry; counts against `backoffLimit`.
    Retry,
    /// Fail without a retry.
    Fail,
    /// A value that this version does not know. The schema refuses it.
    #[serde(other)]
    #[schemars(skip)]
    Other,
}
