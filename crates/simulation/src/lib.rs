//! The whole operator in one process, against an API server and a FunctionGraph in memory. Time and chance are drawn from
//! a seed, so every history can be played again.
//!
//! | | |
//! |---|---|
//! | [`plan`] | what users, administrators and replicas do, drawn from the seed |
//! | [`play`] | plays one plan to its end |
//! | [`network`] | the ways between replicas, API server and FunctionGraph, and what happens to requests on them |
//! | [`promises`] | what must hold after every step, and at the end |
//! | [`run`] | plays seeds in processes of their own |
//! | [`shrink`] | what of a history is needed to break a promise |
//! | [`history`] | who did what to which object when |
//! | [`api_server`] | the API server |
//! | [`mutants`] | faults that the simulations must find |
//!
//! FunctionGraph is the emulator. The replicas are `controller::operate`, as in the program, over connections in memory.
//! A process plays one seed only, because of what a process keeps: `main` starts one for each.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    clippy::must_use_candidate,
    reason = "only tests use it, and it ends where it cannot go on"
)]

pub mod api_server;
pub mod history;
pub mod mutants;
pub mod network;
pub mod plan;
pub mod play;
pub mod promises;
pub mod run;
pub mod shrink;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The content of a mutex.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
