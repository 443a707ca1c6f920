//! An API server in memory: as much of Kubernetes as the operator sees.
//!
//! | | |
//! |---|---|
//! | `store` | objects, their versions and changes |
//! | `schema` | our CRDs: pruning, defaults, validation, rules in CEL |
//! | `requests` | HTTP: which call a request is, and its answer |

//!
//! It has no admission policy, no server-side apply, no managed fields and no finalizers. `tests/differential.rs` holds it
//! to a real API server.

pub mod requests;
pub mod schema;
pub mod store;
