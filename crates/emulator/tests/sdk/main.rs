//! The emulator in the hands of Huawei Cloud's own SDKs for Python and Go, unmodified and pinned.
//!
//! Each SDK is driven by a small program beside this file: a call and its parameters go in as a line of JSON, what the
//! SDK made of the answer comes back as another. What is asserted here is thus what a user of the SDK gets to see. The
//! programs are installed by `make sdks`. Every test runs with both SDKs, each against an emulator of its own.
//!
//! Calling blocks, so every test has threads of its own for the emulator.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what must not happen")]

mod bytes;
mod driver;
mod identity;
mod invocations;
mod listing;
mod place;
mod recorder;
mod refusals;
mod samples;
mod settings;
