//! What is known of one provider: whether it can be used and with what, what it was logged in to, what went wrong.

use super::{KeyName, Subject};
use crate::api::Reason;
use crate::api::provider::{Edition, ProtocolVersion};
use crate::context::grants::Grant;
use functiongraph::{Client, Credential};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Everything needed to send through a provider.
pub struct Access {
    /// The client for its endpoint.
    pub client: Client,
    /// As whom.
    pub credential: Credential,
    /// What the credential comes from: changes with the values of the Secret, and with what the spec says about it.
    pub secret_version: String,
    /// What the API server calls this state of the Secret, if there is one.
    pub resource_version: Option<String>,
    /// What it is called across providers, if it is an access key from a Secret.
    pub key: Option<KeyName>,
    /// What a check of it is about.
    pub subject: Subject,
    /// Which login brought it; 0 if it was used as it stands in the Secret.
    pub login: u64,
    /// When it ends, if that is known.
    pub expires_at: Option<Timestamp>,
    /// Why it could not be renewed at the last try, if it could not.
    pub not_renewed: Option<String>,
    /// When its source was read.
    pub read_at: Instant,
    /// The endpoint, and the name of the CA bundle, that the client was made for.
    pub made_for: (String, Option<String>),
    /// The provider object and the spec that this follows.
    pub edition: Edition,
    /// The provider's region.
    pub region: String,
    /// The provider's project.
    pub project_id: String,
    /// The namespaces that may use it.
    pub grant: Grant,
    /// Patterns of functions that may be invoked; empty: all.
    pub allowed_functions: Vec<String>,
    /// The version of the invocation API; never `Other`.
    pub protocol: ProtocolVersion,
    /// Whether accepted invocations may be cancelled.
    pub allow_cancel: bool,
}

/// Whether a provider can be used.
#[derive(Clone)]
pub enum Standing {
    /// Not looked at yet.
    Unseen,
    /// It cannot be used, and why.
    NotReady(Reason, String),
    /// It can.
    Ready(Arc<Access>),
}

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A request to FunctionGraph, for its credential.
    Credential,
    /// The login for a credential.
    Login,
    /// The look-up of the project.
    Project,
}

/// Where a credential comes from, as it is told apart from its successors.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// Changes with the values of the Secret and with what the spec says about credentials and endpoints.
    pub version: String,
    /// What the API server calls this state of the Secret, if there is one.
    pub resource_version: Option<String>,
}

/// A credential that the service refused, or a login that the identity service refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What the credential came from.
    pub secret_version: String,
    /// What the API server calls this state of the Secret, if there is one.
    pub resource_version: Option<String>,
    /// Which login had brought it; 0 for one that stands in a Secret.
    pub login: u64,
    /// When.
    pub at: Instant,
    /// The same for other replicas.
    pub time: Timestamp,
    /// How often in a row credentials of this source were refused, each login counted once.
    pub times: u32,
    /// At which step.
    pub at_step: Refused,
    /// What the service said.
    pub message: String,
}

/// What a login brought.
#[derive(Clone)]
pub struct Held {
    /// What was exchanged.
    pub secret_version: String,
    /// The number of the login: no two have the same.
    pub login: u64,
    /// What came back.
    pub credential: Credential,
    /// When it ends, if that was said.
    pub expires_at: Option<Timestamp>,
    /// When to log in again.
    pub renew_at: Timestamp,
    /// The project that it is for, if that was said.
    pub project_id: Option<String>,
}

/// A login that failed for a reason that may pass.
#[derive(Clone, Debug)]
pub struct Setback {
    /// What was to be exchanged.
    pub secret_version: String,
    /// How often in a row.
    pub times: u32,
    /// Not before this it is tried again.
    pub next_try: Instant,
    /// What went wrong.
    pub why: String,
    /// Whether it was an answer that says no, and may well say so again.
    pub refused: bool,
}

/// What this process knows of a provider's logins.
#[derive(Clone, Default)]
pub struct Logins {
    /// The latest that worked.
    pub held: Option<Held>,
    /// What has kept it from being renewed since.
    pub setback: Option<Setback>,
    /// The project that was looked up, and for which source.
    pub project: Option<(String, String)>,
    /// How many there were.
    pub count: u64,
}

// === impl Access ===

impl Access {
    /// Whether the credential has ended.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

// === impl Refusal ===

impl Refusal {
    /// Whether it is about a credential from this source.
    #[must_use]
    pub fn is_of(&self, secret_version: &str) -> bool {
        self.secret_version == secret_version
    }

    /// Whether nothing may be tried with this source yet.
    ///
    /// A credential that was exchanged and is refused for the first time may only be stale (whoever changes a
    /// password ends its tokens): a new one is asked for at once. Everything else waits for `pause`.
    #[must_use]
    pub fn holds(&self, exchanged: bool, pause: Duration, now: Instant) -> bool {
        let stale = exchanged && self.at_step == Refused::Credential && self.times < 2;
        !stale && now.saturating_duration_since(self.at) < pause
    }
}

// === impl Held ===

impl Held {
    /// Whether it can be used: it is of this source, has not ended, and was not refused.
    #[must_use]
    pub fn is_good(&self, secret_version: &str, refusal: Option<&Refusal>, now: Timestamp) -> bool {
        self.secret_version == secret_version
            && self.expires_at.is_none_or(|end| end > now)
            && refusal.is_none_or(|refusal| !refusal.is_of(secret_version) || refusal.login != self.login)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const PAUSE: Duration = Duration::from_secs(310);

    fn refusal(login: u64, times: u32, at_step: Refused, at: Instant) -> Refusal {
        let (secret_version, message) = ("v".into(), String::new());
        let time = clock::now();
        Refusal { secret_version, resource_version: None, login, at, time, times, at_step, message }
    }

    #[test]
    fn an_exchanged_credential_is_renewed_once_and_then_left_alone() {
        let at = clock::monotonic();
        let later = at + PAUSE;
        for (times, at_step, exchanged, holds) in [
            (1, Refused::Credential, true, false),
            (2, Refused::Credential, true, true),
            (3, Refused::Credential, true, true),
            (1, Refused::Login, true, true),
            (1, Refused::Project, true, true),
            (1, Refused::Credential, false, true),
        ] {
            let refusal = refusal(1, times, at_step, at);
            assert_eq!(refusal.holds(exchanged, PAUSE, at), holds, "{refusal:?}");
            assert!(!refusal.holds(exchanged, PAUSE, later), "{refusal:?}");
        }
    }

    #[test]
    fn what_has_ended_or_was_refused_or_is_of_another_source_is_not_used() {
        let now = clock::now();
        let second = jiff::SignedDuration::from_secs(1);
        let held = Held {
            secret_version: "v".into(),
            login: 3,
            credential: Credential::token("t").unwrap(),
            expires_at: Some(now + second),
            renew_at: now,
            project_id: None,
        };
        let of = |login| refusal(login, 1, Refused::Credential, clock::monotonic());
        assert!(held.is_good("v", None, now));
        assert!(held.is_good("v", Some(&of(2)), now));
        assert!(!held.is_good("v", Some(&of(3)), now));
        assert!(!held.is_good("w", None, now));
        assert!(!held.is_good("v", None, now + second));
        assert!(Held { expires_at: None, ..held }.is_good("v", None, now + second));
    }
}
