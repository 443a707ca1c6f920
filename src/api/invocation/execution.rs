//! The execution, as FunctionGraph reports it.

use crate::api::lenient;
use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::apply;

/// The execution, as far as FunctionGraph has reported it.
#[apply(Option => #[serde(default, deserialize_with = "lenient")])]
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Execution {
    /// State of the execution.
    pub status: Option<ExecutionStatus>,
    /// When the execution started, by FunctionGraph's clock.
    pub start_time: Option<Timestamp>,
    /// When the execution ended, by FunctionGraph's clock.
    pub end_time: Option<Timestamp>,
    /// The error code, for example `4208` for a cancelled execution.
    #[schemars(length(max = 64))]
    pub error_code: Option<String>,
    /// The error message.
    #[schemars(length(max = 1024))]
    pub error_message: Option<String>,
}

/// State of an execution, in FunctionGraph's spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ExecutionStatus {
    /// Waits for an instance.
    Wait,
    /// Runs.
    Running,
    /// Succeeded.
    Success,
    /// Failed.
    Fail,
    /// Discarded before it ran, because it waited for too long.
    Discard,
}

/// The result of a `Sync` invocation.
#[apply(Option => #[serde(default, deserialize_with = "lenient")])]
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvocationResult {
    /// Metrics of the execution.
    pub summary: Option<Summary>,
    /// The end of the function's log, if `spec.sync.logTail` is true. Invisible characters and those that control a
    /// terminal are escaped as in JSON, for example `\u001b`; line breaks and tabs are kept. A log that repeats the
    /// provider's credential is withheld.
    #[schemars(length(max = 4096))]
    pub log_tail: Option<String>,
    /// The function's result, if `spec.sync.captureResult` is true. Escaped like `logTail`, so a JSON document keeps
    /// its meaning. A result that repeats the provider's credential is withheld.
    #[schemars(length(max = 8192))]
    pub body: Option<String>,
    /// Whether `body` holds only the beginning of the result.
    pub truncated: Option<bool>,
}

/// Metrics of an execution.
#[apply(Option => #[serde(default, deserialize_with = "lenient")])]
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Run time in milliseconds.
    pub duration: Option<f64>,
    /// Billed time in milliseconds.
    pub billing_duration: Option<f64>,
    /// Configured memory in MB.
    pub memory_size: Option<f64>,
    /// Used memory in MB.
    pub memory_used: Option<f64>,
}
