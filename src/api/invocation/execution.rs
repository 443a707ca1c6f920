//! What the service tells of an execution, as the status keeps it.

use crate::api::lenient;
use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The execution, as far as the service has told.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Execution {
    /// Where it stands.
    #[serde(default, deserialize_with = "lenient")]
    pub status: Option<ExecutionStatus>,
    /// When it began, by the service's clock.
    #[serde(default, deserialize_with = "lenient")]
    pub start_time: Option<Timestamp>,
    /// When it ended, by the service's clock.
    #[serde(default, deserialize_with = "lenient")]
    pub end_time: Option<Timestamp>,
    /// The code of its error, for example `4208` for one that was cancelled.
    #[serde(default, deserialize_with = "lenient")]
    #[schemars(length(max = 64))]
    pub error_code: Option<String>,
    /// The message of its error.
    #[serde(default, deserialize_with = "lenient")]
    #[schemars(length(max = 1024))]
    pub error_message: Option<String>,
}

/// Where an execution stands; the service's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ExecutionStatus {
    /// It waits for an instance.
    Wait,
    /// It runs.
    Running,
    /// It ended well.
    Success,
    /// It failed.
    Fail,
    /// It was thrown away before it ran: it waited for too long.
    Discard,
}

/// What a `Sync` invocation brought back.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvocationResult {
    /// Key figures.
    #[serde(default, deserialize_with = "lenient")]
    pub summary: Option<Summary>,
    /// The end of the function's log, if `spec.sync.logTail` asks for it. Characters that cannot be seen, or that a
    /// terminal would obey, are written as in JSON, for example `\u001b`; line breaks and tabs are kept. A log that repeats
    /// the provider's credential is withheld.
    #[serde(default, deserialize_with = "lenient")]
    #[schemars(length(max = 4096))]
    pub log_tail: Option<String>,
    /// What the function returned, if `spec.sync.captureResult` asks for it. It is written as `logTail` is, so a JSON
    /// document stays the same document. A result that repeats the provider's credential is withheld.
    #[serde(default, deserialize_with = "lenient")]
    #[schemars(length(max = 8192))]
    pub body: Option<String>,
    /// Whether `body` is only the beginning.
    #[serde(default, deserialize_with = "lenient")]
    pub truncated: Option<bool>,
}

/// Key figures of an execution.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Run time in milliseconds.
    #[serde(default, deserialize_with = "lenient")]
    pub duration: Option<f64>,
    /// Billed time in milliseconds.
    #[serde(default, deserialize_with = "lenient")]
    pub billing_duration: Option<f64>,
    /// Configured memory in MB.
    #[serde(default, deserialize_with = "lenient")]
    pub memory_size: Option<f64>,
    /// Used memory in MB.
    #[serde(default, deserialize_with = "lenient")]
    pub memory_used: Option<f64>,
}
