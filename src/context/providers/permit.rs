//! The right to send one request through a provider, and what the answer to it says of the provider.

use super::{Access, LONG_PAUSE, Provider, Providers};
use crate::api::ProviderKey;
use crate::clock;
use crate::credential::{Request, Used};
use crate::gate::{Caller, Level, Signal};
use std::sync::Arc;
use std::time::Instant;

/// A permit of a provider: one request may be sent. Dropping it gives the permit to the next.
pub struct Permit {
    providers: Arc<Providers>,
    key: ProviderKey,
    caller: Caller,
    signal: Signal,
    /// With what a request was sent, and when.
    sent: Option<(Used, Instant)>,
}

impl Permit {
    pub(super) fn new(providers: Arc<Providers>, key: ProviderKey, caller: Caller) -> Self {
        Self { providers, key, caller, signal: Signal::Unused, sent: None }
    }

    /// From here on something may have been sent. Unless it is told otherwise, there was no answer.
    pub fn used(&mut self, access: &Access) {
        self.signal = Signal::Unanswered;
        self.sent = Some((access.used.clone(), clock::monotonic()));
    }

    /// Keeps what went wrong, for the provider's status.
    pub fn complain(&self, what: &str) {
        self.providers.with(&self.key, |provider| what.clone_into(&mut provider.last_trouble));
    }

    /// Ends with what the exchange says about the endpoint.
    pub fn leave(mut self, signal: Signal) {
        self.signal = signal;
        // A 429 may be sent before the key is checked, so it proves nothing.
        let Some((used, sent)) = self.sent.take().filter(|_| signal == Signal::Answered) else { return };
        let request = Request { provider: &self.key, used: &used, sent };
        if self.providers.known.lock().credentials.answered(&request) {
            self.providers.ask_to_check(&self.key);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let (now, chance) = (clock::monotonic(), clock::chance());
        let turned = self.providers.with(&self.key, |provider| {
            let told = |provider: &Provider| {
                (provider.gate.is_suspect(now), provider.paused(now).is_some_and(|rest| rest > LONG_PAUSE))
            };
            let before = told(provider);
            provider.gate.leave(&self.caller, self.signal, chance, now);
            before != told(provider)
        });
        if matches!(self.signal, Signal::Throttled { level: Level::Account, .. }) {
            self.providers.pause_account(&self.key, now);
        }
        if turned {
            self.providers.ask_to_check(&self.key);
        }
        self.providers.changed.notify_one();
    }
}
