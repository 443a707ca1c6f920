//! Tests the emulator with Huawei Cloud's own SDKs for Python, Go and Node, and with a client for Open Telekom Cloud,
//! unmodified and pinned.
//!
//! A small program drives each SDK. It reads a call with its parameters as a line of JSON, and writes the SDK's
//! result as another. So the tests assert what a user of the SDK gets. `make sdks` installs the programs. Every test
//! runs with all of Huawei Cloud's SDKs, each with an emulator of its own.
//!
//! Calls block, so every test runs the emulator on threads of its own.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what must not happen")]

mod bytes;
mod driver;
mod iam;
mod identity;
mod invocations;
mod listing;
mod manage;
mod otc;
mod place;
mod recorder;
mod refusals;
mod samples;
mod settings;
