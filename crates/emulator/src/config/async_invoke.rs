//! The settings of a function's asynchronous invocations, with the names of the API.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The settings of a function's asynchronous invocations: the body of `PUT …/async-invoke-config`.
///
/// The service logs nothing here: the status log has no content.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AsyncInvokeConfig {
    /// Seconds after which an event that is still queued is discarded, 1 to 86,400; absent: 3,600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_async_event_age_in_seconds: Option<i64>,
    /// How often the service retries an event after a failure, 0 to 3. Absent: once, and only after an error of its
    /// own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_async_retry_attempts: Option<i64>,
    /// Where the service sends the results of executions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_config: Option<DestinationConfig>,
    /// Whether the service logs the states of invocations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_async_status_log: Option<bool>,
    /// Log group of the states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_group_id: Option<String>,
    /// Log group of the states, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_group_name: Option<String>,
    /// Log stream of the states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_stream_id: Option<String>,
    /// Log stream of the states, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_stream_name: Option<String>,
}

/// Where the service sends the results of executions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DestinationConfig {
    /// After a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_success: Option<Destination>,
    /// After a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<Destination>,
}

/// One destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// The service of the destination.
    pub destination: Receiver,
    /// Parameters for that service, as JSON.
    #[serde(default)]
    pub param: String,
}

/// The services that can be a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Receiver {
    /// Object storage.
    #[serde(rename = "OBS")]
    Obs,
    /// Notifications.
    #[serde(rename = "SMN")]
    Smn,
    /// Streams.
    #[serde(rename = "DIS")]
    Dis,
    /// Another function.
    FunctionGraph,
}

/// A setting that is out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AsyncInvokeError {
    /// The event age is out of range.
    #[error("max_async_event_age_in_seconds is {0}, not 1 to 86400")]
    EventAge(i64),
    /// The number of retries is out of range.
    #[error("max_async_retry_attempts is {0}, not 0 to 3")]
    Retries(i64),
}

impl AsyncInvokeConfig {
    /// Checks that all settings are in range.
    pub(crate) fn check(&self) -> Result<(), AsyncInvokeError> {
        match (self.max_async_event_age_in_seconds, self.max_async_retry_attempts) {
            (Some(age), _) if !(1..=86_400).contains(&age) => Err(AsyncInvokeError::EventAge(age)),
            (_, Some(retries)) if !(0..=3).contains(&retries) => Err(AsyncInvokeError::Retries(retries)),
            _ => Ok(()),
        }
    }

    /// How long an event may be queued.
    pub(crate) fn event_age(&self) -> Duration {
        let seconds = self.max_async_event_age_in_seconds.and_then(|seconds| seconds.try_into().ok());
        Duration::from_secs(seconds.unwrap_or(3600))
    }

    /// Whether the states of invocations are logged; off by default.
    pub(crate) fn logs_status(&self) -> bool {
        self.enable_async_status_log.unwrap_or_default()
    }

    /// How often an event is retried.
    pub(crate) fn retries(&self) -> u32 {
        self.max_async_retry_attempts.and_then(|retries| retries.try_into().ok()).unwrap_or(1)
    }
}
