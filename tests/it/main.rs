//! The operator's promises, held on a real API server and against the emulator over TLS.
//!
//! One control plane serves the whole binary. Each test has a namespace, an emulator and operator processes
//! of its own, so that tests run side by side. Nothing sleeps: every wait is for a condition. At its end each test is
//! searched for secrets and payloads that operators have printed or stored (`testkit::Evidence`).
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test stops at what must not happen, and shows the operator's log"
)]

mod accepted;
mod bounds;
mod bytes;
mod canary;
mod cel;
mod chart;
mod clocks_apart;
mod clocks_stepped;
mod cluster;
mod console;
mod crds;
mod credentials;
mod deadline;
mod documents;
mod doubt;
mod drained;
mod echoes;
mod edited;
mod endpoints;
mod executed;
mod figures;
mod gitops;
mod hostile;
mod identities;
mod large;
mod lead;
mod lifecycle;
mod local;
mod lockout;
mod logins;
mod logs;
mod memory;
mod metrics;
mod moved;
mod names;
mod namespaces;
mod pace;
mod payload;
mod policy;
mod ports;
mod preflight;
mod proof;
mod proxies;
mod queued;
mod recipes;
mod refusals;
mod resolve;
mod restored;
mod rights;
mod tour;
mod traces;
mod types;
mod unwritten;
mod writers;
mod wrong_clock;
