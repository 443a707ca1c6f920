//! What the emulator is told before it starts: functions, credentials, limits, addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use functiongraph::urn::{FunctionUrn, Qualifier};
use serde::{Deserialize, Serialize};

use crate::rate_limit::RateLimit;

/// The configuration that the binary serves when it is given none; also the documented example.
pub const DEFAULT_CONFIG: &str = include_str!("config/default.yaml");

/// Everything the emulator is told before it starts; in a file it is YAML in camelCase.
///
/// [`Config::default`] listens on a free loopback port, knows no function and has no credential:
/// give it at least one token or access key, or say [`AuthMode::None`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Address of the emulated API (TLS); port 0 takes a free one.
    pub listen: SocketAddr,
    /// Address of the admin API (plain HTTP, no authentication: keep it on loopback); absent: none.
    pub admin_listen: Option<SocketAddr>,
    /// The region this emulator stands for: third field of every URN.
    pub region: String,
    /// The one project it knows: part of every path and fourth field of every URN.
    #[serde(rename = "projectID")]
    pub project_id: String,
    /// The functions that exist at the start.
    pub functions: Vec<Function>,
    /// Whether callers have to authenticate.
    pub auth: AuthMode,
    /// The access keys that may sign requests.
    pub access_keys: Vec<AccessKey>,
    /// The values of `X-Auth-Token` that are accepted.
    pub tokens: Vec<String>,
    /// How long an access key stays locked after more than five consecutive failures; the real
    /// gateway takes five minutes.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub lockout: Duration,
    /// The gateway's rate limit over all APIs; absent: none.
    pub rate_limit: Option<RateLimit>,
    /// Largest event of an asynchronous invocation, in bytes.
    pub max_body_bytes: usize,
    /// Where the certificates come from.
    pub tls: Tls,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            admin_listen: None,
            region: "eu-de".to_owned(),
            project_id: "7aad83af3e8d42e99ac194e8419e2c9b".to_owned(),
            functions: Vec::new(),
            auth: AuthMode::Required,
            access_keys: Vec::new(),
            tokens: Vec::new(),
            lockout: Duration::from_mins(5),
            rate_limit: None,
            // The documented 256 KB of an asynchronous event, read as KiB.
            max_body_bytes: 256 * 1024,
            tls: Tls::default(),
        }
    }
}

impl Config {
    /// Reads YAML; unknown keys are refused, so that a misspelt one is not silently the default.
    ///
    /// # Errors
    /// [`ConfigError::Yaml`], with the place in the text. Contradictions inside a well-formed file
    /// are found by [`Emulator::start`](crate::Emulator::start).
    pub fn from_yaml(text: &str) -> Result<Self, ConfigError> {
        serde_saphyr::from_str(text).map_err(|error| ConfigError::Yaml(error.to_string()))
    }

    /// Says what makes this configuration impossible to serve.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let none = self.tokens.is_empty() && self.access_keys.is_empty();
        if self.auth == AuthMode::Required && none {
            return Err(ConfigError::NoCredentials);
        }
        let mut seen = BTreeSet::new();
        for function in &self.functions {
            function.check(&self.region, &self.project_id)?;
            if !seen.insert((&function.package, &function.name)) {
                return Err(ConfigError::Twice(function.name.clone()));
            }
        }
        Ok(())
    }
}

/// Whether callers have to authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AuthMode {
    /// Every request needs a known token or a valid signature by a known key.
    Required,
    /// Every request is let in, with or without credentials.
    None,
}

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
    /// How long an execution takes (`RUNNING`).
    #[serde(default, with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub latency: Duration,
    /// How long the HTTP answer to a submission is held back, after the event was accepted.
    #[serde(default, with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub answer_latency: Duration,
    /// What an execution returns. An asynchronous caller never sees it: no API answers with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<serde_json::Value>,
    /// If set, every execution ends in `FAIL` with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Refuses every invocation with 429 `Function Disabled`.
    #[serde(default)]
    pub disabled: bool,
}

fn default_package() -> String {
    "default".to_owned()
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

/// How an execution fails, as the listing shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Failure {
    /// `error_code` of the record, a number such as 4002.
    pub code: i64,
    /// `error_message` of the record.
    pub message: String,
}

/// An access key pair that may sign requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessKey {
    /// The access key id (AK).
    pub id: String,
    /// The secret key (SK).
    pub secret: String,
    /// The security token that a temporary key has to send along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_token: Option<String>,
}

/// Where the certificates come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Tls {
    /// Folder of the authority: `ca.crt` and `ca.key` are used if they are there, else written.
    /// Without it an authority is made that lives as long as the emulator.
    pub dir: Option<PathBuf>,
    /// Names (DNS names or IP addresses) beside `localhost`, `127.0.0.1` and `::1` that the
    /// server's certificate is good for.
    pub names: Vec<String>,
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not the YAML that was expected.
    #[error("not a configuration of the emulator: {0}")]
    Yaml(String),
    /// Nobody could call it.
    #[error("no credential is configured: give `tokens` or `accessKeys`, or say `auth: none`")]
    NoCredentials,
    /// The name cannot be part of a URN.
    #[error("function {name:?} cannot be addressed")]
    Name {
        /// The function as declared.
        name: String,
        /// What is wrong with it.
        source: functiongraph::urn::UrnError,
    },
    /// Two functions share package and name.
    #[error("function {0:?} is declared twice in one package")]
    Twice(String),
    /// An alias points at nothing.
    #[error(
        "alias {alias:?} of function {function:?} points at {version:?}, which is not among its versions"
    )]
    Alias {
        /// The function.
        function: String,
        /// The alias.
        alias: String,
        /// The version that does not exist.
        version: String,
    },
}

#[cfg(test)]
mod tests;
