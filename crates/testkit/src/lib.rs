//! What tests, benchmarks and the demo run on: a real control plane, the emulator, operator processes, and a search for
//! leaked secrets at the end of each test.
//!
//! ```no_run
//! # async fn example() {
//! use serde_json::json;
//! use testkit::World;
//!
//! let world = World::new().await; // a namespace and an emulator
//! world.provider().await;
//! let _operator = world.operator().flags(&["--events-on-success"]).await; // it works now; it ends with this value
//! world.invoke("mine", json!({"function": {"name": "hello"}, "payload": {"tag": "mine"}})).await;
//! world.finished("mine").await;
//! assert_eq!(world.accepted("mine").len(), 1);
//! # } // fails if a secret or a payload is in a log, a metric, a status or an Event
//! ```
//!
//! | | |
//! |---|---|
//! | [`control_plane`] | etcd and kube-apiserver; knows nothing of the operator |
//! | [`plane`], [`new_plane`], [`bare_plane`] | control planes for tests, with and without the operator's CRDs |
//! | [`Launch`], [`Operator`] | an operator process, on any control plane |
//! | [`World`] | what one test has: a namespace, an emulator, operators, [`Evidence`] |
//! | [`examples`] | the manifests in `examples/`, and what becomes of each |

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "a test stops at what must not happen, and shows the operator's log"
)]

pub mod control_plane;
mod evidence;
pub mod examples;
mod log;
mod operator;
mod planes;
mod process;
mod status;
mod wait;
mod world;

pub use evidence::Evidence;
pub use log::Log;
pub use operator::{Launch, Operator, OperatorError};
pub use planes::{NOBODY, bare_plane, enforced, established, new_plane, plane};
pub use process::{output, signal, text};
pub use status::{condition, message, ready};
pub use wait::{PATIENCE, until, until_some, within};
pub use world::{KEY, PROJECT, World, access_keys, provider_spec, secret};
