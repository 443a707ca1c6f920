//! A local FunctionGraph over TLS, with a ledger and with faults on demand.
#![doc = include_str!("../README.md")]
//! ## Layers
//!
//! Every module uses only those below it:
//!
//! | layer | modules |
//! |---|---|
//! | handle | `emulator`, `in_process` |
//! | ports | `server` (the API), `admin`, `destinations` |
//! | APIs | `service`, one file per API |
//! | state shared by connections | `state`, then `deliveries` |
//! | names and refusals | `functions`, then `refusal`, then `auth` and `answer`, then `issued` |
//! | effects | `fault`, `ledger`, `executions`, `settings`, `reserved`, `stats`, then `handler` and `api`, then `request` and `tasks` |
//! | configuration | `tls`, then `config`, then `rate_limit` and `id_token`, then `clock` |

mod admin;
mod answer;
mod api;
mod auth;
mod clock;
mod config;
mod deliveries;
mod destinations;
mod emulator;
mod executions;
mod fault;
mod functions;
mod handler;
mod id_token;
mod in_process;
mod issued;
mod ledger;
mod rate_limit;
mod refusal;
mod request;
mod reserved;
mod server;
mod service;
mod settings;
mod state;
mod stats;
mod tasks;
mod tls;

pub use api::{Api, IdentityApi};
pub use config::{
    AccessKey, Agency, AsyncInvokeConfig, AsyncInvokeError, AuthMode, Config, ConfigError, DEFAULT_CONFIG,
    Destination, DestinationConfig, Failure, Function, Identity, IdentityProvider, Listing, Metadata,
    MetadataTokens, PodIdentity, Project, Receiver, Run, Tls, User,
};
pub use emulator::{Emulator, StartError};
pub use fault::{Action, ErrorAnswer, Fault, OddBody, PlannedFault, When};
pub use id_token::KeySetError;
pub use in_process::InProcess;
pub use issued::IssuedCount;
pub use ledger::LedgerEntry;
pub use rate_limit::{RateLimit, RetryAfter};
pub use stats::Requests;
pub use tls::{CA_CERT, TlsError};
