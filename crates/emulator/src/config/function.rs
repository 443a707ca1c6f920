//! A function: what is declared of it, and how it behaves.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use functiongraph::urn::{FunctionUrn, Qualifier};
use serde::{Deserialize, Serialize};

use super::{AsyncInvokeConfig, ConfigError};

/// One function, as it is declared and as it behaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Function {
    /// Its name; letters, digits, `_`, `-`.
    pub name: String,
    /// The package (group) it belongs to.
    #[serde(default = "default_package")]
    pub package: String,
    /// Its published versions, beside `latest`, which always exists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
    /// Its aliases and the version each one points at.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<String, String>,
    /// How long an accepted event waits (`WAIT`) before it runs.
    #[serde(default, with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub queue_latency: Duration,
    /// How long an execution takes (`RUNNING`); a synchronous caller waits for it.
    #[serde(default, with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub latency: Duration,
    /// How long the HTTP answer to a submission is held back, after the event was accepted.
    #[serde(default, with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub answer_latency: Duration,
    /// What an execution returns: a string as it is, anything else as JSON; absent: `null`. An asynchronous caller
    /// never sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<serde_json::Value>,
    /// What an execution writes into its log.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log: String,
    /// The language it is said to be written in, such as `Python3.9`.
    #[serde(default = "default_runtime")]
    pub runtime: String,
    /// How long a run may take, 3 seconds to 3 days; what would take longer ends then, with 4010.
    #[serde(
        default = "default_timeout",
        with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required"
    )]
    pub timeout: Duration,
    /// Configured memory, in MB.
    #[serde(default = "default_memory")]
    pub memory: u32,
    /// What an execution is said to have used of it, in MB; nothing is measured.
    #[serde(default)]
    pub memory_used: f64,
    /// Whether `X-Cff-Instance-Memory` counts; else it is ignored.
    #[serde(default)]
    pub dynamic_memory: bool,
    /// Whether `reserved-invocations` finds it, which the service offers to chosen customers only.
    #[serde(default)]
    pub reserved: bool,
    /// Instances that may run at the same time; -1: any number, 0: none, which means that it is switched off.
    #[serde(default = "unlimited")]
    pub concurrency: i32,
    /// Events that an instance runs at the same time.
    #[serde(default = "one")]
    pub concurrent_num: NonZeroU32,
    /// If set, executions end in failure with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Refuses every invocation with 429 `Function Disabled`; the same as a `concurrency` of 0.
    #[serde(default)]
    pub disabled: bool,
    /// The settings of its asynchronous invocations at the start, under the names that the API gives them; they are
    /// for the version `latest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub async_invoke_config: Option<AsyncInvokeConfig>,
}

/// The shortest time in which a run may be cut.
const SHORTEST_RUN: Duration = Duration::from_secs(3);

/// The longest time that a run may take: 259,200 seconds.
const LONGEST_RUN: Duration = Duration::from_hours(72);

/// What a run ends with that takes too long.
const TIMED_OUT: (i64, &str) = (4010, "function invocation timeout");

/// How much of a function runs at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Instances; none is no limit.
    pub(crate) instances: Option<u64>,
    /// Events on each of them.
    pub(crate) events_each: u32,
}

fn default_package() -> String {
    "default".to_owned()
}

fn unlimited() -> i32 {
    -1
}

fn one() -> NonZeroU32 {
    NonZeroU32::MIN
}

fn default_runtime() -> String {
    "Python3.9".to_owned()
}

/// The longest that functions can have.
fn default_timeout() -> Duration {
    LONGEST_RUN
}

/// The smallest size that functions can have.
fn default_memory() -> u32 {
    128
}

impl Function {
    /// A function of the default package that succeeds at once.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            package: default_package(),
            versions: Vec::new(),
            aliases: BTreeMap::new(),
            queue_latency: Duration::ZERO,
            latency: Duration::ZERO,
            answer_latency: Duration::ZERO,
            result: None,
            log: String::new(),
            runtime: default_runtime(),
            timeout: default_timeout(),
            memory: default_memory(),
            memory_used: 0.0,
            dynamic_memory: false,
            reserved: false,
            concurrency: unlimited(),
            concurrent_num: one(),
            failure: None,
            disabled: false,
            async_invoke_config: None,
        }
    }

    /// What tells it from other functions: `package:name`.
    pub(crate) fn key(&self) -> String {
        format!("{}:{}", self.package, self.name)
    }

    /// Whether it is switched off, in one way or the other.
    pub(crate) fn is_disabled(&self) -> bool {
        self.disabled || self.concurrency == 0
    }

    pub(crate) fn limits(&self) -> Limits {
        let instances = if self.is_disabled() { Some(0) } else { u64::try_from(self.concurrency).ok() };
        Limits { instances, events_each: self.concurrent_num.get() }
    }

    /// How long a run takes and how it fails, if it does.
    pub(crate) fn run(&self) -> (Duration, Option<Failure>) {
        if self.latency > self.timeout {
            let (code, message) = TIMED_OUT;
            (self.timeout, Some(Failure::new(code, message)))
        } else {
            (self.latency, self.failure.clone())
        }
    }

    /// Says what makes this function impossible to call.
    pub(crate) fn check(&self, region: &str, project_id: &str) -> Result<(), ConfigError> {
        FunctionUrn::new(region, project_id, &self.package, &self.name, Qualifier::Latest)
            .map_err(|error| ConfigError::Name { name: self.name.clone(), source: error })?;
        if !(-1..=1000).contains(&self.concurrency) {
            return Err(ConfigError::Concurrency {
                function: self.name.clone(),
                concurrency: self.concurrency,
            });
        }
        if !(SHORTEST_RUN..=LONGEST_RUN).contains(&self.timeout) {
            return Err(ConfigError::Timeout { function: self.name.clone(), timeout: self.timeout });
        }
        if let Some(config) = &self.async_invoke_config {
            let error = |source| ConfigError::AsyncInvoke { function: self.name.clone(), source };
            config.check().map_err(error)?;
        }
        for (alias, version) in &self.aliases {
            if version != "latest" && !self.versions.contains(version) {
                return Err(ConfigError::Alias {
                    function: self.name.clone(),
                    alias: alias.clone(),
                    version: version.clone(),
                });
            }
        }
        Ok(())
    }
}

/// How an execution fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Failure {
    /// `error_code` of the record, and `X-Func-Err-Code`; a number such as 4002.
    pub code: i64,
    /// `error_message` of the record, and `errorMessage` of what is returned.
    pub message: String,
    /// How many runs of an event fail before one succeeds; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Whether it is an error of the service, not of the user's code. After one the service runs an asynchronous event
    /// again by itself, as often as `max_async_retry_attempts` says.
    #[serde(default)]
    pub system: bool,
}

impl Failure {
    /// A failure of the user's code in every run.
    #[must_use]
    pub fn new(code: i64, message: &str) -> Self {
        Self { code, message: message.to_owned(), times: None, system: false }
    }
}
