//! The settings of a function that matter for its invocations.

use http::Method;
use serde_json::{Map, Value};

use crate::answer::{self, Answer};
use crate::invocation::Protocol;
use crate::request::Draft;
use crate::text::Shown;
use crate::urn::FunctionUrn;

/// Answer to a call that reads settings.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one for a call, and it is taken apart at once")]
pub enum Fetched<T> {
    /// The settings.
    Settings(T),
    /// Any other answer: a refusal, or a success whose body is no JSON object. [`Answer::is_success`] tells the two
    /// apart. For the settings of asynchronous invocations, 404 may also mean that nobody has set any.
    Answer(Answer),
}

/// Settings for asynchronous invocations of a function. An absent field is unknown, because the documents disagree
/// about defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AsyncInvokeConfig {
    /// Whether the status of every invocation is logged.
    pub status_log_enabled: bool,
    /// Seconds after which the service discards an event that is still queued.
    pub max_event_age_seconds: Option<i64>,
    /// How often the service itself retries an event after a failure.
    pub max_retry_attempts: Option<i64>,
    /// The service that is notified of a success, such as `OBS`.
    pub on_success: Option<String>,
    /// The service that is notified of a failure.
    pub on_failure: Option<String>,
}

/// The limits of a function.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FunctionConfig {
    /// Maximum number of concurrent executions: 0 for a function that is switched off, -1 for no limit.
    pub concurrency: Option<i64>,
    /// Events that one instance executes at a time. If you cancel one of them by force, all of them end.
    pub events_per_instance: Option<i64>,
    /// Maximum duration of an execution, in seconds.
    pub timeout_seconds: Option<i64>,
    /// Memory of an instance, in MB.
    pub memory_size_mb: Option<i64>,
    /// Whether an invocation may ask for another size of memory.
    pub dynamic_memory: Option<bool>,
    /// Name of the version.
    pub version: Option<String>,
}

/// Settings with a call of their own.
pub(crate) trait Settings: Sized {
    /// Last part of the path.
    const CALL: &'static str;

    /// Reads the fields that it can.
    fn read(fields: &Map<String, Value>, shown: &Shown) -> Self;

    /// The request, unsigned.
    fn draft(urn: &FunctionUrn) -> Draft {
        Draft::new(Method::GET, Protocol::V2.path(urn, Self::CALL))
    }
}

// === impl AsyncInvokeConfig ===

impl Settings for AsyncInvokeConfig {
    const CALL: &'static str = "async-invoke-config";

    fn read(fields: &Map<String, Value>, shown: &Shown) -> Self {
        let destination = |case: &str| {
            let destination = fields.get("destination_config")?.get(case)?.as_object()?;
            answer::text(destination, "destination").and_then(|name| shown.id(name))
        };
        Self {
            status_log_enabled: fields
                .get("enable_async_status_log")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            max_event_age_seconds: number(fields, "max_async_event_age_in_seconds"),
            max_retry_attempts: number(fields, "max_async_retry_attempts"),
            on_success: destination("on_success"),
            on_failure: destination("on_failure"),
        }
    }
}

// === impl FunctionConfig ===

impl FunctionConfig {
    /// Whether the function is switched off. This is reliable; an answer of 429 gives only a message.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.concurrency == Some(0)
    }
}

impl Settings for FunctionConfig {
    const CALL: &'static str = "config";

    fn read(fields: &Map<String, Value>, shown: &Shown) -> Self {
        let strategy = |name| number(fields.get("strategy_config")?.as_object()?, name);
        Self {
            concurrency: strategy("concurrency"),
            events_per_instance: strategy("concurrent_num"),
            timeout_seconds: number(fields, "timeout"),
            memory_size_mb: number(fields, "memory_size"),
            dynamic_memory: fields.get("enable_dynamic_memory").and_then(Value::as_bool),
            version: answer::text(fields, "version").and_then(|name| shown.id(name)),
        }
    }
}

/// A whole number, perhaps written as a string.
fn number(fields: &Map<String, Value>, name: &str) -> Option<i64> {
    answer::text(fields, name)?.parse().ok()
}

#[cfg(test)]
mod tests;
