//! The emulator's configuration: functions, credentials, limits, addresses.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::rate_limit::RateLimit;

mod async_invoke;
mod function;
mod identity;
mod run;
pub use async_invoke::{AsyncInvokeConfig, AsyncInvokeError, Destination, DestinationConfig, Receiver};
pub(crate) use function::Limits;
pub use function::{Failure, Function};
pub use identity::{
    Agency, Identity, IdentityProvider, Metadata, MetadataTokens, PodIdentity, Project, User,
};
pub use run::Run;

/// The default configuration of the binary; also the documented example.
pub const DEFAULT_CONFIG: &str = include_str!("config/default.yaml");

/// The configuration of an emulator; in a file it is YAML in camelCase.
///
/// [`Config::default`] listens on a free loopback port and has no functions and no credentials. Add at least one
/// token, access key or user, or set [`AuthMode::None`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Address of the emulated API (TLS); port 0 means a free port.
    pub listen: SocketAddr,
    /// Address of the emulated API without TLS, for clients that cannot trust an authority; absent: none.
    pub http_listen: Option<SocketAddr>,
    /// Address of the admin API (plain HTTP, no authentication: keep it on loopback); absent: no admin API.
    pub admin_listen: Option<SocketAddr>,
    /// The region of this emulator: third field of every URN.
    pub region: String,
    /// The only project: part of every path and fourth field of every URN.
    #[serde(rename = "projectID")]
    pub project_id: String,
    /// The initial functions.
    pub functions: Vec<Function>,
    /// Whether callers have to authenticate.
    pub auth: AuthMode,
    /// The access keys that may sign requests.
    pub access_keys: Vec<AccessKey>,
    /// The accepted values of `X-Auth-Token`.
    pub tokens: Vec<String>,
    /// How long an access key stays locked after more than five consecutive failures. The real gateway uses five
    /// minutes.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub lockout: Duration,
    /// The gateway's rate limit over all APIs; absent: no limit.
    pub rate_limit: Option<RateLimit>,
    /// The faults at the start, in the notation of the admin API.
    pub faults: Vec<Fault>,
    /// Largest event of an asynchronous invocation, in bytes.
    pub max_body_bytes: usize,
    /// Largest event of a synchronous invocation, in bytes.
    pub max_sync_body_bytes: usize,
    /// How long the gateway waits for the answer of a synchronous invocation before it answers 504.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub gateway_timeout: Duration,
    /// How the records of asynchronous invocations are listed.
    pub listing: Listing,
    /// Users, identity providers and agencies of the identity services.
    pub identity: Identity,
    /// Whether `/admin/executions` and the page leave out events, results and logs.
    pub hide_events: bool,
    /// Certificates of the server.
    pub tls: Tls,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            http_listen: None,
            admin_listen: None,
            region: "eu-de".to_owned(),
            project_id: "7aad83af3e8d42e99ac194e8419e2c9b".to_owned(),
            functions: Vec::new(),
            auth: AuthMode::Required,
            access_keys: Vec::new(),
            tokens: Vec::new(),
            lockout: Duration::from_mins(5),
            rate_limit: None,
            faults: Vec::new(),
            // The documented 256 KB of an asynchronous event, taken as KiB.
            max_body_bytes: 256 * 1024,
            // The documented 6 MB, taken as MiB.
            max_sync_body_bytes: 6 * 1024 * 1024,
            gateway_timeout: Duration::from_secs(90),
            listing: Listing::default(),
            identity: Identity::default(),
            hide_events: false,
            tls: Tls::default(),
        }
    }
}

impl Config {
    /// Reads YAML. Unknown keys are refused, so that a misspelt key does not silently become the default.
    ///
    /// # Errors
    /// [`ConfigError::Yaml`] with the position in the text. [`Emulator::start`](crate::Emulator::start) finds
    /// contradictions in a well-formed file.
    pub fn from_yaml(text: &str) -> Result<Self, ConfigError> {
        let because = |error: serde_saphyr::Error| {
            let text = error.to_string();
            // The message begins like a sentence, but becomes a part of one.
            ConfigError::Yaml(text.strip_prefix("error: ").unwrap_or(&text).to_owned())
        };
        serde_saphyr::from_str(text).map_err(because)
    }

    /// Takes the folders of functions with `run` as relative to this one, the folder of the configuration file: a handler
    /// is usually next to it.
    pub fn run_from(&mut self, folder: &Path) {
        for run in self.functions.iter_mut().filter_map(|function| function.run.as_mut()) {
            run.directory = Some(folder.join(run.directory.as_deref().unwrap_or(Path::new(""))));
        }
    }

    /// Checks that this configuration can be served.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let none = self.tokens.is_empty() && self.access_keys.is_empty() && !self.identity.has_logins();
        if self.auth == AuthMode::Required && none {
            return Err(ConfigError::NoCredentials);
        }
        self.identity.check()?;
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
    /// Every request is accepted, with or without credentials.
    None,
}

/// How the records of asynchronous invocations are listed. The documents leave these points open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Listing {
    /// How long an execution is listed after its end; absent: for ever.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional")]
    pub retention: Option<Duration>,
    /// How long after its acceptance an event appears in the list.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub lag: Duration,
    /// `next_marker` is a string instead of a number.
    pub text_markers: bool,
    /// Leaves out `count`.
    pub no_count: bool,
    /// Lists an event only if its function's settings had `enable_async_status_log` when the event was accepted.
    pub needs_status_log: bool,
}

/// An access key pair that may sign requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessKey {
    /// The access key id (AK).
    pub id: String,
    /// The secret key (SK).
    pub secret: String,
    /// The security token that a temporary key must send along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_token: Option<String>,
}

/// Certificates of the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Tls {
    /// Folder of the certificate authority: `ca.crt` and `ca.key` are used if they exist, otherwise written. Without
    /// a folder the authority lives as long as the emulator.
    pub dir: Option<PathBuf>,
    /// Additional names (DNS names or IP addresses) for the server's certificate. It always has `localhost`,
    /// `127.0.0.1` and `::1`.
    pub names: Vec<String>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The concurrency is out of range.
    #[error("function {function:?} has concurrency {concurrency}, not -1 (any number) to 1000")]
    Concurrency {
        /// The function.
        function: String,
        /// The configured value.
        concurrency: i32,
    },
    /// The timeout is out of range.
    #[error("function {function:?} has a timeout of {timeout:?}, not 3 seconds to 3 days")]
    Timeout {
        /// The function.
        function: String,
        /// The configured value.
        timeout: Duration,
    },
    /// The API would refuse these settings.
    #[error("function {function:?} has settings of asynchronous invocations that are out of range")]
    AsyncInvoke {
        /// The function.
        function: String,
        /// The invalid setting.
        source: AsyncInvokeError,
    },
    /// The text is not valid YAML for a configuration.
    #[error("not a configuration of the emulator: {0}")]
    Yaml(String),
    /// The key set has no usable key.
    #[error("the key set of identity provider {provider:?} cannot be used")]
    KeySet {
        /// The provider.
        provider: String,
        /// What is wrong with the key set.
        source: crate::id_token::KeySetError,
    },
    /// No caller could authenticate.
    #[error("no credential is configured: give `tokens`, `accessKeys` or `identity`, or set `auth: none`")]
    NoCredentials,
    /// The name cannot be part of a URN.
    #[error("function {name:?} cannot be addressed")]
    Name {
        /// The function as declared.
        name: String,
        /// Why the name is invalid.
        source: functiongraph::urn::UrnError,
    },
    /// The code of the function cannot be reached or started.
    #[error("function {function:?}: {problem}")]
    Code {
        /// The function.
        function: String,
        /// What is wrong with `forward` or `run`.
        problem: &'static str,
    },
    /// Two functions share package and name.
    #[error("function {0:?} is declared twice in one package")]
    Twice(String),
    /// An alias points to a version that does not exist.
    #[error(
        "alias {alias:?} of function {function:?} points to {version:?}, which is not among its versions"
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

// === impl AccessKey ===

impl AccessKey {
    /// The secret parts.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = String> {
        [Some(&self.secret), self.security_token.as_ref()].into_iter().flatten().cloned()
    }
}

#[cfg(test)]
mod tests;
