//! What the gate is asked and what it answers.

use std::time::{Duration, Instant};

/// What the provider's owner allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateLimits {
    /// The most requests per second; 0 counts as 1.
    pub max_requests_per_second: u32,
    /// The most requests without an answer at a time; 0 counts as 1.
    pub max_in_flight: u32,
}

/// One object that wants to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Its uid; the gate knows it by nothing else.
    pub uid: String,
    /// Its namespace: the gate is fair between namespaces first.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its function: the gate is fair between the functions of a namespace.
    pub function: String,
}

/// The answer to who wants to enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Holds a place and has a token: may send, must leave.
    Admitted,
    /// Stands in line, and will be called.
    Queued,
}

/// How an admission ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// An answer that says nothing bad about the endpoint: 202, or a 4xx other than 401 and 429.
    Clean,
    /// 429 or 503.
    Throttled {
        /// What the endpoint asked for, clamped by the caller.
        retry_after: Option<Duration>,
    },
    /// Not sent, a 5xx other than 503, a timeout, a reset.
    Trouble,
    /// Nothing was sent (claim lost, object gone): the token comes back.
    Unused,
}

/// The gate as status and metrics show it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateState {
    /// What it lets through.
    pub phase: Phase,
    /// Objects in line.
    pub waiting: usize,
    /// Places held: granted and admitted.
    pub in_flight: usize,
    /// Requests per second at present.
    pub rate: f64,
}

/// What the gate lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nobody: the provider is not ready, or not seen yet.
    Shut,
    /// Nobody: the breaker is open.
    BreakerOpen {
        /// The earliest time of a probe.
        until: Instant,
    },
    /// Nobody: the endpoint has throttled.
    Paused {
        /// The end of the pause.
        until: Instant,
    },
    /// One at a time: the breaker is half-open.
    Probing,
    /// Everybody, at the rate.
    Open,
}
