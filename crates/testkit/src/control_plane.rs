//! A real Kubernetes control plane as child processes: etcd, kube-apiserver and, on request,
//! kube-controller-manager. No containers, no root, ready in about three seconds.
//!
//! For demos, tests and benchmarks only: etcd does not fsync and everybody's token is in a file.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use testkit::control_plane::{ControlPlane, Options, User};
//!
//! let plane = ControlPlane::start(Options {
//!     users: vec![User::new("auditor", &["auditors"])],
//!     ..Options::default()
//! })
//! .await?;
//! plane.apply_yaml("{apiVersion: v1, kind: Namespace, metadata: {name: team}}").await?;
//! let admin = plane.client()?; // cluster-admin
//! let auditor = plane.client_as("auditor")?; // may do what RBAC grants
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! * Dropping a [`ControlPlane`] ends its processes and removes its folder. So does the end of the process
//!   that started it, however it ends: also by SIGKILL, also when the value sits in a `static`.
//! * Several control planes may run at once. etcd listens on a socket file only, the API server on one free
//!   port of 127.0.0.1.
//!
//! # Caveats
//!
//! * Without [`Options::controller_manager`] deleted namespaces stay `Terminating`, nothing follows owner
//!   references, namespaces have no `default` service account, and the cluster roles `view`, `edit` and
//!   `admin` are empty.
//! * The garbage collector of Kubernetes looks for new custom resources every 30 seconds; owner references
//!   of objects of a fresh CRD are followed only from then on.
//!
//! # Environment
//!
//! * `KUBEBUILDER_ASSETS`: folder with `etcd`, `kube-apiserver`, `kubectl`, looked at first.
//! * `CONTROL_PLANE_TOOLS`: folder to use instead of the one that `make tools` fills.
//! * `CONTROL_PLANE_FLAGS`: more flags for the API server, separated by spaces.
//! * `CONTROL_PLANE_KEEP`: set to anything, the folder with logs, keys and data stays.

mod access;
mod identity;
mod plane;
mod server;
mod tools;

pub use access::AccessError;
pub use identity::{ADMIN, IdentityError, User};
pub use plane::{ControlPlane, Options, StartError};
pub use server::ServerError;
pub use tools::{ToolError, tool};
