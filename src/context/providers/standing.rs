//! Whether a provider can be used, and with what.

use crate::api::provider::{Edition, ForwardProxy, FunctionGraphProviderSpec};
use crate::api::{AnyProvider, Reason};
use crate::context::grants::Grant;
use crate::credential::{InUse, Used};
use functiongraph::{Client, Credential};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Instant;

/// Where a client leads: the endpoint, the name of the CA bundle, and the proxy.
pub type Destination = (String, Option<String>, Option<ForwardProxy>);

/// Everything needed to send through a provider.
pub struct Access {
    /// The provider object and the spec that this follows, without the text of its CA bundle.
    pub provider: AnyProvider,
    pub client: Client,
    pub credential: Credential,
    /// The same by name.
    pub used: Used,
    /// What is known of the credential.
    pub in_use: InUse,
    /// When its source was read.
    pub read_at: Instant,
    /// The name of the CA bundle that the client was made for.
    pub ca_bundle: Option<String>,
    /// The namespaces that may use it.
    pub grant: Grant,
}

/// Whether a provider can be used.
#[derive(Clone)]
pub enum Standing {
    /// Not checked yet.
    Unseen,
    /// It cannot be used, and why.
    NotReady(Reason, String),
    /// It can.
    Ready(Arc<Access>),
}

impl Access {
    pub fn spec(&self) -> &FunctionGraphProviderSpec {
        self.provider.spec()
    }

    /// The provider object and the state of its spec.
    pub fn edition(&self) -> Edition {
        self.provider.edition()
    }

    pub fn project_id(&self) -> &str {
        &self.in_use.project
    }

    pub fn destination(&self) -> Destination {
        (self.client.endpoint().to_string(), self.ca_bundle.clone(), self.spec().proxy.clone())
    }

    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.in_use.expires_at.is_some_and(|end| end <= now)
    }
}
