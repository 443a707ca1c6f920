//! Input and output types of the gate.

use std::time::{Duration, Instant};

/// Limits set by the provider's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateLimits {
    /// Maximum number of requests per second; 0 counts as 1.
    pub max_requests_per_second: u32,
    /// Maximum number of requests that wait for an answer; 0 counts as 1.
    pub max_in_flight: u32,
}

/// An object that wants to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Its uid, the only identity that the gate knows.
    pub uid: String,
    /// Its namespace. The gate is fair between namespaces first.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its function. The gate is fair between the functions of a namespace.
    pub function: String,
}

/// Result of a request to enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// The object holds a permit and a token. It may send, and must leave.
    Admitted,
    /// The object is queued. The gate will grant it a permit later.
    Queued,
}

/// Result of an admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// An answer without a problem of the endpoint: 202, or a 4xx other than 401 and 429.
    Clean,
    /// 429 or 503.
    Throttled {
        /// The endpoint's `Retry-After`, limited by the caller.
        retry_after: Option<Duration>,
    },
    /// Not sent, a 5xx other than 503, a timeout, or a reset.
    Trouble,
    /// Nothing was sent (claim lost, object gone), so the token is returned.
    Unused,
}

/// State of the gate, for status and metrics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateState {
    /// Which objects the gate admits.
    pub phase: Phase,
    /// Number of queued objects.
    pub waiting: usize,
    /// Number of permits: granted and admitted.
    pub in_flight: usize,
    /// Current rate, in requests per second.
    pub rate: f64,
}

/// Which objects the gate admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// None: the provider is not ready, or not checked yet.
    Shut,
    /// None: the breaker is open.
    BreakerOpen {
        /// The earliest time of a probe.
        until: Instant,
    },
    /// None: the endpoint has throttled.
    Paused {
        /// The end of the pause.
        until: Instant,
    },
    /// One at a time: the breaker is half-open.
    Probing,
    /// All, at the rate.
    Open,
}
