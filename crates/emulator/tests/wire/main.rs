//! The emulator over real TLS: every documented answer, every fault, and the ledger.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper of a test that cannot go on has failed it")]

mod admin;
mod answers;
mod at_once;
mod binary;
mod cancel;
mod code;
mod credentials;
mod desk;
mod executions;
mod executions_page;
mod faults;
mod identity;
mod invocations;
mod ledger;
mod life;
mod listing;
mod metadata;
mod project;
mod rate_limit;
mod reserved;
mod settings;
mod support;
mod sync;
