//! The operator, from the top floor to the ground. Imports run down only; `tests/house.rs` holds it to that.

// 5  wiring
pub mod controller;

// 4  the shell: alone knows all the worlds
pub mod reconcile;

// 3  what the shell needs
pub mod context;

// 2  rooms that do not know each other
pub mod admin;
pub mod args;
pub mod credential;
pub mod definitions;
pub mod gate;
pub mod kubernetes;
pub mod lifecycle;

// 1  the ground
pub mod api;
pub mod clock;
pub mod metrics;
pub mod telemetry;
pub mod traces;
