//! The operator, from the highest layer to the lowest. A module uses only lower layers; `tests/layers` checks it.

// 5  wiring
pub mod controller;

// 4  the shell: the only layer that knows all outside worlds
pub mod reconcile;

// 3  what the shell needs
pub mod context;

// 2  modules that do not use each other
pub mod admin;
pub mod args;
pub mod credential;
pub mod definitions;
pub mod gate;
pub mod kubernetes;
pub mod lifecycle;

// 1  what all the others may use
pub mod api;
pub mod clock;
pub mod metrics;
pub mod telemetry;
pub mod traces;
