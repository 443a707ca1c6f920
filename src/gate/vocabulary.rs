//! Input and output types of the gate.

use std::time::{Duration, Instant};

/// Limits set by the provider's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateLimits {
    /// Maximum number of requests per second; 0 counts as 1.
    pub max_requests_per_second: u32,
    /// Maximum number of requests that wait for an answer; 0 counts as 1.
    pub max_in_flight: u32,
    /// Whether several namespaces use the provider, so that none may hold most of its permits.
    pub shared: bool,
}

impl Default for GateLimits {
    fn default() -> Self {
        Self { max_requests_per_second: 1, max_in_flight: 1, shared: false }
    }
}

/// The caller that wants to send.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caller {
    /// An invocation.
    Object { uid: String, name: String },
    /// The operator, which reads a list of executions.
    List { provider: String, endpoint: String, function: String },
    /// The operator, which tries an endpoint that failed.
    Check,
}

/// A function, as one namespace uses it. What one namespace learns of a function slows down no other namespace.
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionKey {
    /// The namespace; empty for calls of the operator itself.
    pub namespace: String,
    pub function: String,
}

/// A request for a permit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    pub caller: Caller,
    /// To which function, and for which namespace.
    pub function: FunctionKey,
}

/// Result of a request to enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// The caller holds a permit and a token. It may send, and must leave.
    Admitted,
    /// The caller is queued. The gate will grant it a permit later.
    Queued,
}

/// The level that a throttle slows down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// All requests with the provider's credential.
    Account,
    /// The requests of one namespace to one function.
    Function,
}

/// What an admission shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// An answer without a problem: 202, or a 4xx other than 401 and 429.
    Answered,
    /// 429 or 503.
    Throttled {
        level: Level,
        /// The service's `Retry-After`, limited by the caller.
        retry_after: Option<Duration>,
    },
    /// The function is switched off.
    Disabled,
    /// The service answered that it failed, with a code: a problem of the function.
    FunctionFailed,
    /// No answer in the time that the caller allows. A tenant chooses that time, so it says nothing of the endpoint.
    Unanswered,
    /// No connection, a connection that broke, or a 5xx that does not come from the service.
    Unreachable,
    /// Nothing was sent (claim lost, object gone), so the token is returned.
    Unused,
}

/// State of the gate, for status and metrics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateState {
    /// What the account admits.
    pub phase: Phase,
    pub waiting: usize,
    /// Number of permits: granted and admitted.
    pub in_flight: usize,
    pub rate: f64,
}

/// What a level admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing: the provider is not ready, or not checked yet.
    Shut,
    /// Nothing: the breaker is open.
    BreakerOpen { until: Instant },
    /// Nothing: the service has throttled.
    Paused { until: Instant },
    /// One request at a time: the breaker is half-open.
    Probing,
    /// Everything, at the rate.
    Open,
}

/// Why a queued caller has no permit yet: the level that makes it wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The account admits no request, or one at a time.
    Account(Phase),
    /// The function admits no request, or one at a time.
    Function(Phase),
    /// The function is switched off.
    Disabled { until: Instant },
    /// The namespace holds its share of the permits.
    Namespace,
    /// Others are before it.
    Turn,
}

// === impl Wait ===

impl Wait {
    /// When the level admits something again, if that is known.
    pub fn until(self) -> Option<Instant> {
        match self {
            Self::Disabled { until }
            | Self::Account(Phase::BreakerOpen { until } | Phase::Paused { until })
            | Self::Function(Phase::BreakerOpen { until } | Phase::Paused { until }) => Some(until),
            Self::Account(Phase::Shut | Phase::Probing | Phase::Open)
            | Self::Function(Phase::Shut | Phase::Probing | Phase::Open)
            | Self::Namespace
            | Self::Turn => None,
        }
    }
}
