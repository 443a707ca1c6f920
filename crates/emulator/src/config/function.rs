//! A function: its declaration and its behaviour.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use functiongraph::urn::{FunctionUrn, Qualifier};
use serde::{Deserialize, Serialize};

use super::{AsyncInvokeConfig, ConfigError, Run};

/// One function, with its declaration and its behaviour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Function {
    /// Its name; letters, digits, `_`, `-`.
    pub name: String,
    /// The package (group) it belongs to.
    #[serde(default = "default_package")]
    pub package: String,
    /// Its published versions. `latest` always exists in addition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
    /// Its aliases, each with the version that it points to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<String, String>,
    /// How long an accepted event is queued (`WAIT`) before it runs.
    #[serde(default, with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub queue_latency: Duration,
    /// How long an execution takes (`RUNNING`); a synchronous caller waits for it.
    #[serde(default, with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub latency: Duration,
    /// Delay of the HTTP answer to a submission, after the event was accepted.
    #[serde(default, with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub answer_latency: Duration,
    /// Result of an execution: a string is returned unchanged, anything else as JSON; absent: `null`. Only a
    /// synchronous caller gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<serde_json::Value>,
    /// Log output of an execution.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log: String,
    /// Declared language, such as `Python3.9`.
    #[serde(default = "default_runtime")]
    pub runtime: String,
    /// Maximum duration of a run, 3 seconds to 3 days. A longer run ends at that time with error 4010.
    #[serde(
        default = "default_timeout",
        with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required"
    )]
    pub timeout: Duration,
    /// Configured memory, in MB.
    #[serde(default = "default_memory")]
    pub memory: u32,
    /// Reported memory use of an execution, in MB; nothing is measured.
    #[serde(default)]
    pub memory_used: f64,
    /// Whether `X-Cff-Instance-Memory` has an effect. If not, it is ignored.
    #[serde(default)]
    pub dynamic_memory: bool,
    /// Whether `reserved-invocations` works. The service offers that to chosen customers only.
    #[serde(default)]
    pub reserved: bool,
    /// Maximum number of instances at the same time; -1: any number, 0: none, so the function is switched off.
    #[serde(default = "unlimited")]
    pub concurrency: i32,
    /// Events that one instance runs at the same time.
    #[serde(default = "one")]
    pub concurrent_num: NonZeroU32,
    /// A server that carries out the executions, such as `http://127.0.0.1:8000`. Latency, result, log and failure are
    /// its own then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<String>,
    /// A program that the emulator starts to carry out the executions, instead of `forward`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// Maximum time in which its code starts and is initialized, at most 300 seconds in the service.
    #[serde(
        default = "default_init_timeout",
        with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required"
    )]
    pub init_timeout: Duration,
    /// If set, executions fail with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Refuses every invocation with 429 `Function Disabled`, like a `concurrency` of 0.
    #[serde(default)]
    pub disabled: bool,
    /// The initial settings of its asynchronous invocations, with the names of the API. They apply to version
    /// `latest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub async_invoke_config: Option<AsyncInvokeConfig>,
}

/// Minimum of the timeout.
const SHORTEST_RUN: Duration = Duration::from_secs(3);

/// Maximum of the timeout: 259,200 seconds.
const LONGEST_RUN: Duration = Duration::from_hours(72);

/// Maximum number of processes of a function with `run` and without a limit of its own.
const PROCESSES: u64 = 4;

/// Error of a run that takes too long.
const TIMED_OUT: (i64, &str) = (4010, "function invocation timeout");

/// How many events of a function run at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Maximum number of instances; none is no limit.
    pub(crate) instances: Option<u64>,
    /// Events on each instance.
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

/// The maximum in the service.
fn default_timeout() -> Duration {
    LONGEST_RUN
}

/// The maximum in the service.
fn default_init_timeout() -> Duration {
    Duration::from_mins(5)
}

/// The minimum in the service.
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
            forward: None,
            run: None,
            init_timeout: default_init_timeout(),
            failure: None,
            disabled: false,
            async_invoke_config: None,
        }
    }

    /// Unique key of a function: `package:name`.
    pub(crate) fn key(&self) -> String {
        format!("{}:{}", self.package, self.name)
    }

    /// Whether it is switched off, by `disabled` or by `concurrency: 0`.
    pub(crate) fn is_disabled(&self) -> bool {
        self.disabled || self.concurrency == 0
    }

    pub(crate) fn limits(&self) -> Limits {
        let most = u64::try_from(self.concurrency).ok();
        let instances = match &self.run {
            _ if self.is_disabled() => Some(0),
            Some(Run { port: Some(_), .. }) => Some(1),
            Some(_) => most.or(Some(PROCESSES)),
            None => most,
        };
        Limits { instances, events_each: self.concurrent_num.get() }
    }

    /// Whether the user's code carries out its executions.
    pub(crate) fn has_code(&self) -> bool {
        self.forward.is_some() || self.run.is_some()
    }

    /// Duration of a run, and its failure if it fails.
    pub(crate) fn run(&self) -> (Duration, Option<Failure>) {
        if self.latency > self.timeout {
            let (code, message) = TIMED_OUT;
            (self.timeout, Some(Failure::new(code, message)))
        } else {
            (self.latency, self.failure.clone())
        }
    }

    /// Checks that this function can be called.
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
        self.check_code()?;
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

impl Function {
    fn check_code(&self) -> Result<(), ConfigError> {
        let problem = match (&self.forward, &self.run) {
            (Some(_), Some(_)) => Some("give either `forward` or `run`, not both"),
            (Some(url), None) => {
                let rest = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
                let authority = rest.and_then(|rest| rest.parse::<http::uri::Authority>().ok());
                let good = authority.is_some_and(|authority| authority.port().is_some());
                (!good).then_some("`forward` must be http://HOST:PORT")
            }
            (None, Some(run)) => run.command.is_empty().then_some("`run.command` is empty"),
            (None, None) => None,
        };
        problem.map_or(Ok(()), |problem| Err(ConfigError::Code { function: self.name.clone(), problem }))
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
    /// How many runs of an event fail before one succeeds; absent: all runs fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Whether it is an error of the service and not of the user's code. After an error of the service the service
    /// retries an asynchronous event, up to `max_async_retry_attempts` times.
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
