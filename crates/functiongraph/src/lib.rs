//! Calls functions of FunctionGraph. Tells apart whether the service accepted an event, refused it, or gave an
//! ambiguous answer.
#![doc = include_str!("../README.md")]

pub mod addresses;
pub mod answer;
pub mod client;
pub mod credentials;
pub mod endpoint;
pub mod error;
pub mod invocation;
pub mod local_url;
pub mod login;
pub mod proxy;
pub mod records;
pub mod regions;
pub mod settings;
pub mod sign;
pub mod text;
pub mod urn;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;

mod options;
mod percent;
mod request;
mod tls;
mod transport;

pub use answer::{Answer, Summary, SyncResult, Verdict};
pub use client::{Carried, Carrier, Client, ClientOptions, KeptClient, LoadCaBundle};
pub use credentials::{Credential, CredentialKind};
pub use endpoint::Endpoint;
pub use error::SendError;
pub use invocation::{CancelType, Invocation, Kind, Protocol};
pub use local_url::LocalUrl;
pub use proxy::Proxy;
pub use records::{ExecutionStatus, ListQuery, Listed, Page, Record};
pub use settings::{AsyncInvokeConfig, Fetched, FunctionConfig};
pub use text::Clean;
pub use urn::{FunctionUrn, Qualifier};
