//! The emulator without a network: requests of the same process, for simulations.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;

use crate::api::Port;
use crate::config::{Config, ConfigError};
use crate::emulator::begun;
use crate::fault::Fault;
use crate::ledger::LedgerEntry;
use crate::server;
use crate::state::State;
use crate::tasks::Tasks;

/// An emulator that serves requests of the same process. It has no port and no TLS.
#[derive(Debug, Clone)]
pub struct InProcess(Arc<State>);

impl InProcess {
    /// An emulator with this configuration. Its executions are a task of the current runtime.
    ///
    /// # Errors
    /// The configuration has contradictions.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self(begun(config, String::new(), &Tasks::default())))
    }

    /// Serves one request.
    ///
    /// # Errors
    /// The connection is cut without an answer. A body can end with an error too.
    pub async fn serve(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<
        http::Response<impl Body<Data = Bytes, Error: Error + Send + Sync + 'static> + Send + Sync + 'static>,
        impl Error + Send + Sync + 'static,
    > {
        server::exchange(Arc::clone(&self.0), Port::Cloud, "https", request.map(Full::new)).await
    }

    /// Every accepted submission, in the order of acceptance.
    #[must_use]
    pub fn ledger(&self) -> Vec<LedgerEntry> {
        self.0.ledger.entries()
    }

    /// Adds a fault after those that are active.
    pub fn add_fault(&self, fault: Fault) {
        self.0.faults.add(fault);
    }
}
