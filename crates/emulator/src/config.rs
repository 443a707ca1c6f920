//! What the emulator is told before it starts: functions, credentials, limits, addresses.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rate_limit::RateLimit;

mod async_invoke;
mod function;
mod identity;
pub use async_invoke::{AsyncInvokeConfig, AsyncInvokeError, Destination, DestinationConfig, Receiver};
pub(crate) use function::Limits;
pub use function::{Failure, Function};
pub use identity::{
    Agency, Identity, IdentityProvider, Metadata, MetadataTokens, PodIdentity, Project, User,
};

/// The configuration that the binary serves when it is given none; also the documented example.
pub const DEFAULT_CONFIG: &str = include_str!("config/default.yaml");

/// Everything the emulator is told before it starts; in a file it is YAML in camelCase.
///
/// [`Config::default`] listens on a free loopback port, knows no function and has no credential:
/// give it at least one token, access key or user, or say [`AuthMode::None`].
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
    /// Largest event of a synchronous invocation, in bytes.
    pub max_sync_body_bytes: usize,
    /// How long the gateway waits for the answer of a synchronous invocation before it answers 504 itself.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub gateway_timeout: Duration,
    /// How the records of asynchronous invocations are listed.
    pub listing: Listing,
    /// What the identity services know.
    pub identity: Identity,
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
            // The documented 6 MB, read as MiB.
            max_sync_body_bytes: 6 * 1024 * 1024,
            gateway_timeout: Duration::from_secs(90),
            listing: Listing::default(),
            identity: Identity::default(),
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
        let because = |error: serde_saphyr::Error| {
            let text = error.to_string();
            // It begins like a line of its own, and is a part of one.
            ConfigError::Yaml(text.strip_prefix("error: ").unwrap_or(&text).to_owned())
        };
        serde_saphyr::from_str(text).map_err(because)
    }

    /// Says what makes this configuration impossible to serve.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let none = self.tokens.is_empty() && self.access_keys.is_empty() && !self.identity.knows_anybody();
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
    /// Every request is let in, with or without credentials.
    None,
}

/// How the records of asynchronous invocations are listed, where the documents leave it open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Listing {
    /// How long after its end an execution is remembered; absent: for ever.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional")]
    pub retention: Option<Duration>,
    /// How long after its acceptance an event is not listed yet.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub lag: Duration,
    /// `next_marker` is a string instead of a number.
    pub text_markers: bool,
    /// There is no `count`.
    pub no_count: bool,
    /// An event is listed only if its function's settings had `enable_async_status_log` when it was accepted.
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
    /// No such concurrency.
    #[error("function {function:?} has concurrency {concurrency}, not -1 (any number) to 1000")]
    Concurrency {
        /// The function.
        function: String,
        /// What it has.
        concurrency: i32,
    },
    /// No such timeout.
    #[error("function {function:?} has a timeout of {timeout:?}, not 3 seconds to 3 days")]
    Timeout {
        /// The function.
        function: String,
        /// What it has.
        timeout: Duration,
    },
    /// Settings that the API would refuse.
    #[error("function {function:?} has settings of asynchronous invocations that are out of range")]
    AsyncInvoke {
        /// The function.
        function: String,
        /// Which of them.
        source: AsyncInvokeError,
    },
    /// Not the YAML that was expected.
    #[error("not a configuration of the emulator: {0}")]
    Yaml(String),
    /// There is no key in it.
    #[error("the key set of identity provider {provider:?} cannot be used")]
    KeySet {
        /// The provider.
        provider: String,
        /// What is wrong with it.
        source: crate::id_token::KeySetError,
    },
    /// Nobody could call it.
    #[error("no credential is configured: give `tokens`, `accessKeys` or `identity`, or say `auth: none`")]
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

// === impl AccessKey ===

impl AccessKey {
    /// What nobody may see of it.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = String> {
        [Some(&self.secret), self.security_token.as_ref()].into_iter().flatten().cloned()
    }
}

#[cfg(test)]
mod tests;
