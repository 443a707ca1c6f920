//! The handle of a running emulator: starts, changes, inspects and stops it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;

use crate::config::{Config, ConfigError, Function};
use crate::fault::{Fault, PlannedFault};
use crate::issued::IssuedCount;
use crate::ledger::LedgerEntry;
use crate::rate_limit::RateLimit;
use crate::server::Transport;
use crate::state::State;
use crate::stats::Requests;
use crate::tasks::Tasks;
use crate::tls::TlsError;
use crate::{admin, clock, destinations, server, tls};

/// A running emulator. It stops when you drop it. [`Emulator::stop`] also waits until it has stopped.
///
/// Any number of emulators can run in one process; each has its own port, authority and ledger.
#[derive(Debug)]
pub struct Emulator {
    state: Arc<State>,
    ca_pem: String,
    address: SocketAddr,
    admin: Option<SocketAddr>,
    http: Option<SocketAddr>,
    local: Option<SocketAddr>,
    tasks: TaskTracker,
    stop: DropGuard,
}

/// Why an emulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration has contradictions.
    #[error("the configuration cannot be served")]
    Config(#[from] ConfigError),
    /// There is no certificate for the server.
    #[error("no TLS certificate")]
    Tls(#[from] TlsError),
    /// An address is not available.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
}

impl Emulator {
    /// Starts an emulator on the current Tokio runtime. It accepts connections when this returns.
    ///
    /// # Errors
    /// A configuration that cannot be served, unusable certificates, or an address in use.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config.check()?;
        let tls::Identity { ca_pem, server } = tls::identity(&config.tls, clock::now())?;
        let (listener, address) = listen(config.listen).await?;
        let admin = listen_if(config.admin_listen).await?;
        let http = listen_if(config.http_listen).await?;
        let local = listen_if(config.identity.is_local().then_some(config.identity.local_listen)).await?;

        let own_tasks = Tasks::default();
        let Tasks { stop, tracker: tasks } = own_tasks.clone();
        let state = destinations::start(&config, ca_pem.clone(), &own_tasks);
        tasks.spawn(server::run(
            listener,
            Transport::Cloud(TlsAcceptor::from(Arc::new(server))),
            Arc::clone(&state),
            stop.clone(),
            tasks.clone(),
        ));
        let admin = admin.map(|(listener, address)| {
            tasks.spawn(admin::run(listener, Arc::clone(&state), stop.clone()));
            address
        });
        let http = http.map(|(listener, address)| {
            let (state, stop) = (Arc::clone(&state), stop.clone());
            tasks.spawn(server::run(listener, Transport::Plain, state, stop, tasks.clone()));
            address
        });
        let local = local.map(|(listener, address)| {
            let (state, stop) = (Arc::clone(&state), stop.clone());
            tasks.spawn(server::run(listener, Transport::Local, state, stop, tasks.clone()));
            address
        });
        Ok(Self { state, ca_pem, address, admin, http, local, tasks, stop: stop.drop_guard() })
    }

    /// Base URL of the emulated API, `https://localhost:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// Base URL of the emulated API without TLS, such as `http://127.0.0.1:8080`; none unless it was asked for.
    #[must_use]
    pub fn http_url(&self) -> Option<String> {
        self.http.map(|address| format!("http://{address}"))
    }

    /// Base URL of the admin API, such as `http://127.0.0.1:8444`; none without an admin API.
    #[must_use]
    pub fn admin_url(&self) -> Option<String> {
        self.admin.map(|address| format!("http://{address}"))
    }

    /// Base URL of the metadata of a virtual machine, such as `http://127.0.0.1:8445`; replaces
    /// `http://169.254.169.254`. None without metadata.
    #[must_use]
    pub fn metadata_url(&self) -> Option<String> {
        self.local
            .filter(|_| self.state.identity.metadata.is_some())
            .map(|address| format!("http://{address}"))
    }

    /// URL of pod identity, such as `http://127.0.0.1:8445/v1/credentials`; a value for
    /// `HC_CONTAINER_CREDENTIALS_FULL_URI`. None without pod identity.
    #[must_use]
    pub fn pod_identity_url(&self) -> Option<String> {
        let (address, path) = (self.local?, self.state.identity.pod_path()?);
        Some(format!("http://{address}{path}"))
    }

    /// The certificate authority that a client must trust, as PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Every accepted submission, in the order of acceptance.
    #[must_use]
    pub fn ledger(&self) -> Vec<LedgerEntry> {
        self.state.ledger.entries()
    }

    /// Empties the ledger. The records of the listing stay.
    pub fn clear_ledger(&self) {
        self.state.ledger.clear();
    }

    /// Numbers of requests so far, including refused ones.
    #[must_use]
    pub fn requests(&self) -> Requests {
        self.state.stats.read()
    }

    /// Adds a fault after those that are active.
    pub fn add_fault(&self, fault: Fault) {
        self.state.faults.add(fault);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.state.faults.clear();
    }

    /// The active faults, each with the number of times that it has fired.
    #[must_use]
    pub fn faults(&self) -> Vec<PlannedFault> {
        self.state.faults.list()
    }

    /// Sets a new rate limit, or removes it.
    pub fn set_rate_limit(&self, limit: Option<RateLimit>) {
        self.state.set_rate_limit(limit);
    }

    /// The number of valid credentials that this emulator has issued.
    #[must_use]
    pub fn issued(&self) -> IssuedCount {
        self.state.auth.issued.count(clock::now())
    }

    /// Revokes every credential that this emulator has issued, as after a change of the users. Configured credentials
    /// stay valid.
    pub fn revoke_issued(&self) {
        self.state.auth.issued.revoke(clock::now());
    }

    /// Every secret that was configured or issued (up to an hour after it expired): tokens, secret access keys,
    /// security tokens, passwords. For tests that search output or storage for secrets. No API returns them.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets = self.state.auth.secrets();
        secrets.extend(self.state.identity.secrets());
        secrets
    }

    /// Adds a function, or replaces the one with the same package and name.
    ///
    /// # Errors
    /// The function cannot be called.
    pub fn add_function(&self, function: Function) -> Result<(), ConfigError> {
        self.state.put_function(&function.key(), |_| Ok(function)).map(drop)
    }

    /// Makes everything what it was at the start: functions, executions, ledger, faults, settings, issued credentials.
    pub fn reset(&self) {
        self.state.reset();
    }

    /// Switches a function off or on. `name` is a function of the default package, or `package:name`. Returns false
    /// if there is no such function.
    #[must_use = "false means that there is no such function"]
    pub fn set_disabled(&self, name: &str, disabled: bool) -> bool {
        self.state.functions.set_disabled(name, disabled)
    }

    /// Cuts all connections, closes the ports and waits for that.
    pub async fn stop(self) {
        let Self { state: _, ca_pem: _, address: _, admin: _, http: _, local: _, tasks, stop } = self;
        drop(stop);
        tasks.close();
        tasks.wait().await;
    }
}

async fn listen_if(address: Option<SocketAddr>) -> Result<Option<(TcpListener, SocketAddr)>, StartError> {
    match address {
        Some(address) => listen(address).await.map(Some),
        None => Ok(None),
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let local = listener.local_addr()?;
        Ok((listener, local))
    };
    bound.await.map_err(|source| StartError::Listen { address, source })
}
