//! The operator, from the top layer to the bottom. A module uses only lower layers; `tests/layers` checks that.
#![expect(
    clippy::must_use_candidate,
    clippy::missing_errors_doc,
    clippy::return_self_not_must_use,
    reason = "the library is for the operator and for the tests of this workspace, and for nobody else"
)]

// 5  wiring
pub mod controller;

// 4  reconcile: the only layer that knows Kubernetes and FunctionGraph
mod reconcile;

// 3  context of the reconcilers
pub mod context;

// 2  modules that do not use each other
mod admin;
pub mod args;
pub mod crds;
mod credential;
mod gate;
pub mod kubernetes;
pub mod lifecycle;
mod members;

// 1  base: all others may use it
pub mod api;
pub mod clock;
pub mod metrics;
mod telemetry;
pub mod traces;
