//! What may be tried with which credential, and when: how a login, a project and a check follow each other, and how often
//! a service may refuse before nobody asks it again. Pure, like `lifecycle`; no secret comes in here, only names of them.
//!
//! The shell calls [`Memory::begin`], carries out the step of [`Memory::decide`] and gives the result to
//! [`Memory::record`], until the answer is [`Step::Use`] or [`Step::Stop`].
//!
//! # Guarantees
//! A service locks a [`Principal`] that fails too often. Whatever providers use it, in whatever namespace and however they
//! are edited or re-created, the calls of this process fail at most [`FAILURES_MAX`] times within [`Lock::window`], and once
//! more with the secret that the service accepted last; with the same secret once. The shell makes one call of a principal at
//! a time. Invocations that are under way when an
//! access key is revoked fail too. They are counted, and cannot be taken back.
//!
//! # Assumptions
//! One process. Other replicas have a memory of their own; what one was told, the others read in the provider's status.

mod decide;
mod memory;
mod pause;
mod words;

pub use memory::Memory;
pub use words::CLOCK_DIFFERS;

use crate::api::Reason;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Failing attempts that are risked for one principal: fewer than the five that lock it.
pub const FAILURES_MAX: usize = 3;

/// The operator tries a refused access key again after this long. The gateway locks a key for five minutes after more
/// than five failures in a row (API Gateway FAQ).
const KEY_LOCK: Duration = Duration::from_secs(310);

/// The same for a password: IAM locks a user for 15 minutes after five failed logins within 15 minutes (IAM, account
/// lockout, default settings).
const PASSWORD_LOCK: Duration = Duration::from_mins(16);

/// How far the clocks of two replicas may differ.
const CLOCK_SKEW_MAX: SignedDuration = SignedDuration::from_mins(1);

/// Whom a service locks, and by which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Nobody, as far as is documented: a token, or an identity of the cluster.
    None,
    /// An access key, by failures in a row: one success ends the count.
    AccessKey,
    /// An IAM user, by failures within a time.
    Password,
}

/// Whom a service counts failures for. All parts are salted names, from which nothing can be learned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    /// The account and user, or the access key id, in one cloud.
    pub id: String,
    /// The same with its secret.
    pub secret: String,
}

/// What the credential of a provider is made from, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Changes with the values of the Secret, with the provider object, and with what its spec says about credentials and
    /// endpoints.
    pub version: String,
    /// The `resourceVersion` of the Secret, if there is one: other replicas know it by that.
    pub resource_version: Option<String>,
    /// Whom FunctionGraph counts failures for; for a source that is exchanged, the service that exchanges it.
    pub principal: Principal,
    /// Whom the service counts them for that is asked for the project. It may be another cloud's.
    pub project_principal: Principal,
    /// By which rule it locks it.
    pub lock: Lock,
    /// Where the credential is used: endpoint, project and trusted authorities. Providers of one destination share a check.
    pub destination: String,
    /// Whether a login exchanges it for the credential.
    pub is_exchanged: bool,
    pub project: Option<String>,
    /// What messages call it.
    pub name: String,
    /// What you do if it is refused.
    pub remedy: String,
}

/// What a request was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    pub source: Arc<Source>,
    /// The number of the login that brought the credential; 0 for one that is used as it is, and for a login itself.
    pub login: u64,
}

/// A request that showed a credential to a service.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub provider: &'a str,
    /// What it was made with.
    pub used: &'a Used,
    pub sent: Instant,
}

/// A request of the operator's own that shows something of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Exchange the source for a credential.
    LogIn,
    /// Ask the identity service for the id of the project.
    FindProject,
    /// Ask FunctionGraph for something harmless.
    Check,
}

/// What comes next for a provider's credential.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Log in, record what came of it, and decide again.
    LogIn,
    /// The same with the look-up of the project, with the credential of this login; 0 if there was none.
    FindProject(u64),
    /// The same with a check: with the credential of this login, in this project.
    Check(u64, String),
    /// The credential can be used.
    Use(InUse),
    /// Nothing may be called now.
    Stop(Stop),
}

/// A credential that can be used.
#[derive(Clone, Debug, PartialEq)]
pub struct InUse {
    /// The number of the login that brought it; 0 if none did.
    pub login: u64,
    pub expires_at: Option<Timestamp>,
    pub project: String,
    /// Why it could not be renewed, if it could not.
    pub not_renewed: Option<String>,
    /// When to decide again, if not at the next change.
    pub decide_again_in: Option<Duration>,
    /// What FunctionGraph said to the check.
    pub proof: Proof,
}

/// Why a credential cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// In one word.
    pub reason: Reason,
    /// For a reader, with what to do next.
    pub message: String,
    /// When to decide again; `None` when the Secret is read again.
    pub until: Option<Instant>,
}

/// What FunctionGraph said to a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It accepted the credential.
    Accepted,
    /// It accepted the credential and refused the rest: what it said.
    Restricted(String),
    /// It does not know the call, so nothing is proven.
    Unchecked {
        said: String,
        /// Whether it has answered an invocation since.
        used: bool,
    },
}

/// A login that worked.
pub struct Login<C> {
    pub credential: C,
    pub expires_at: Option<Timestamp>,
    pub renew_at: Timestamp,
    pub project: Option<String>,
}

/// The result of a call, but for a [`Login`].
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The id of the project.
    ProjectFound(String),
    /// FunctionGraph answered the check.
    Checked(Proof),
    /// The service refused what was shown to it, with these words.
    Refused(Call, String),
    /// The call failed otherwise.
    Failed(Call, Failure),
}

/// A call that failed, and not because of the credential.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// It may work later: what went wrong, and how long the service asked to wait.
    Passing(String, Option<Duration>),
    /// The service refused it because of a right, a name or an address, and would do so again: its words.
    Denied(String),
    /// Nothing was sent: why not, and when the shell tries again.
    Obstacle(Reason, String, Duration),
    /// The check proved nothing: what that means, and how long the service asked to wait.
    Unproven(Reason, String, Option<Duration>),
}

/// What a provider's status says that another replica was told of the same Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub message: String,
    /// When the service said so, by the other replica's clock.
    pub time: Timestamp,
    /// How much longer than the lock's window this process waits, so that replicas do not come back all at once.
    pub delay: Duration,
}

/// The moment of a decision.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub instant: Instant,
    /// The same by the clock of this machine.
    pub time: Timestamp,
    pub chance: u64,
}

// === impl Lock ===

impl Lock {
    /// How long a failure counts.
    pub fn window(self) -> Duration {
        match self {
            Self::None | Self::AccessKey => KEY_LOCK,
            Self::Password => PASSWORD_LOCK,
        }
    }
}

// === impl Source ===

impl Source {
    /// How long to wait after a refusal of this call, if nothing changes. Only a login shows the password.
    pub fn pause_after(&self, call: Call) -> Duration {
        match call {
            Call::LogIn => self.lock.window(),
            Call::FindProject | Call::Check => KEY_LOCK,
        }
    }

    /// Whom the service of a call counts failures for.
    fn principal_of(&self, call: Call) -> &Principal {
        match call {
            Call::LogIn | Call::Check => &self.principal,
            Call::FindProject => &self.project_principal,
        }
    }

    /// Whether a refused call counts against the principal: not that of a credential that a login brought.
    fn counts(&self, call: Call) -> bool {
        call == Call::LogIn || !self.is_exchanged
    }
}

// === impl Failure ===

impl Failure {
    pub fn why(&self) -> &str {
        let (Self::Passing(why, _)
        | Self::Denied(why)
        | Self::Obstacle(_, why, _)
        | Self::Unproven(_, why, _)) = self;
        why
    }
}

// === impl Used ===

impl Used {
    /// Whether a refusal of `other` is about this too: the same credential, or one of the same principal.
    pub fn is_refused_with(&self, other: &Self) -> bool {
        if other.source.is_exchanged {
            self == other
        } else {
            self.source.principal == other.source.principal
        }
    }
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
