//! A function: what is declared of it, and how it behaves.

use std::collections::BTreeMap;
use std::time::Duration;

use functiongraph::urn::{FunctionUrn, Qualifier};
use serde::{Deserialize, Serialize};

use super::ConfigError;

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
    /// If set, every execution ends in failure with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Refuses every invocation with 429 `Function Disabled`.
    #[serde(default)]
    pub disabled: bool,
}

fn default_package() -> String {
    "default".to_owned()
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
            memory: default_memory(),
            memory_used: 0.0,
            dynamic_memory: false,
            reserved: false,
            failure: None,
            disabled: false,
        }
    }

    /// Says what makes this function impossible to call.
    pub(crate) fn check(&self, region: &str, project_id: &str) -> Result<(), ConfigError> {
        FunctionUrn::new(region, project_id, &self.package, &self.name, Qualifier::Latest)
            .map_err(|error| ConfigError::Name { name: self.name.clone(), source: error })?;
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
}
