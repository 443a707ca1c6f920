//! The state that all connections of an emulator share.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedSender;

use crate::auth::Auth;
use crate::clock;
use crate::config::{AsyncInvokeConfig, Config, ConfigError, Function, Identity, Listing};
use crate::deliveries::Deliveries;
use crate::executions::{Executions, Finished};
use crate::fault::FaultPlan;
use crate::functions::{Functions, LATEST};
use crate::ledger::Ledger;
use crate::rate_limit::{Bucket, RateLimit};
use crate::reserved::ReservedInstances;
use crate::settings::Settings;
use crate::stats::Stats;
use crate::tasks::Tasks;

/// Configuration and history of an emulator.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) auth: Auth,
    pub(crate) functions: Functions,
    pub(crate) max_body_bytes: usize,
    pub(crate) max_sync_body_bytes: usize,
    pub(crate) gateway_timeout: Duration,
    pub(crate) rate_limit: Mutex<Option<Bucket>>,
    pub(crate) faults: FaultPlan,
    pub(crate) ledger: Ledger,
    pub(crate) executions: Executions,
    pub(crate) settings: Settings,
    pub(crate) reserved: ReservedInstances,
    pub(crate) listing: Listing,
    pub(crate) identity: Identity,
    pub(crate) stats: Stats,
    pub(crate) hide_events: bool,
    pub(crate) deliveries: Deliveries,
    /// The certificate of the authority, as PEM.
    pub(crate) ca_pem: String,
    /// The configuration at the start.
    config: Config,
}

impl State {
    pub(crate) fn new(
        config: &Config,
        ca_pem: String,
        tasks: Tasks,
        told: UnboundedSender<Finished>,
    ) -> Self {
        let state = Self {
            auth: Auth::new(config),
            functions: Functions::new(config),
            max_body_bytes: config.max_body_bytes,
            max_sync_body_bytes: config.max_sync_body_bytes,
            gateway_timeout: config.gateway_timeout,
            rate_limit: Mutex::default(),
            faults: FaultPlan::default(),
            ledger: Ledger::default(),
            executions: Executions::new(config, tasks, told),
            settings: Settings::default(),
            reserved: ReservedInstances::default(),
            listing: config.listing.clone(),
            identity: config.identity.with_project(&config.project_id, &config.region),
            stats: Stats::default(),
            hide_events: config.hide_events,
            deliveries: Deliveries::default(),
            ca_pem,
            config: config.clone(),
        };
        state.configure();
        state
    }

    /// Rate limit, faults and settings of the configuration.
    fn configure(&self) {
        self.set_rate_limit(self.config.rate_limit);
        for fault in &self.config.faults {
            self.faults.add(fault.clone());
        }
        for (urn, setting) in self.config.functions.iter().filter_map(|function| self.declared(function)) {
            self.settings.put(urn, setting, clock::now());
        }
    }

    /// Makes everything what it was at the start. Addresses, authority and configured credentials stay.
    pub(crate) fn reset(&self) {
        let Self {
            auth, functions, faults, ledger, executions, settings, reserved, stats, deliveries, ..
        } = self;
        functions.reset(&self.config);
        executions.clear();
        settings.clear();
        reserved.remove_all("");
        faults.clear();
        ledger.clear();
        deliveries.clear();
        auth.clear();
        stats.clear();
        self.configure();
    }

    /// Adds or replaces the function with this key by what `change` makes of it. No other change comes in between.
    pub(crate) fn put_function<E: From<ConfigError>>(
        &self,
        key: &str,
        change: impl FnOnce(Option<&Function>) -> Result<Function, E>,
    ) -> Result<Arc<Function>, E> {
        self.functions.put(key, |known| {
            let function = change(known)?;
            function.check(self.functions.region(), self.functions.project_id())?;
            // Settings that the API has changed stay, unless the declaration of the function changes its settings.
            let news = known.is_none_or(|known| known.async_invoke_config != function.async_invoke_config);
            if let Some((urn, config)) = self.declared(&function).filter(|_| news) {
                self.settings.put(urn, config, clock::now());
            }
            Ok(function)
        })
    }

    /// Deletes a function with its settings, reservations and executions. False if there is none with this key.
    pub(crate) fn delete_function(&self, key: &str) -> bool {
        let Some(function) = self.functions.remove(key) else { return false };
        let urns = self.functions.urn_of(&function, "");
        self.settings.remove_all(&urns);
        self.reserved.remove_all(&urns);
        self.executions.forget(&function);
        true
    }

    /// The declared settings of asynchronous invocations of a function, with their URN.
    fn declared(&self, function: &Function) -> Option<(String, AsyncInvokeConfig)> {
        let config = function.async_invoke_config.clone()?;
        Some((self.functions.urn_of(function, LATEST), config))
    }

    /// Sets a new rate limit with a full bucket, or removes the limit.
    pub(crate) fn set_rate_limit(&self, limit: Option<RateLimit>) {
        *self.rate_limit.lock() = limit.map(|limit| Bucket::full(limit, clock::instant()));
    }
}
