//! The right to send one request through a provider, and what the answer to it proves.

use super::{Access, Key, KeyName, Providers, Standing};
use crate::clock;
use crate::gate::{Phase, Signal};
use std::sync::Arc;

/// A place at a provider: one request may be sent. Dropping it gives the place to the next.
pub struct Place {
    providers: Arc<Providers>,
    key: Key,
    uid: String,
    signal: Signal,
    /// The access key that is being tried by this, if it has not proven itself.
    tried: Option<KeyName>,
    /// What it was sent with: source and access key.
    sent_with: Option<(String, Option<KeyName>)>,
}

impl Place {
    pub(super) fn new(providers: Arc<Providers>, key: Key, uid: String, tried: Option<KeyName>) -> Self {
        Self { providers, key, uid, signal: Signal::Unused, tried, sent_with: None }
    }

    /// From here on something may have been sent: unless it is told otherwise, that went badly.
    pub fn used(&mut self, access: &Access) {
        self.signal = Signal::Trouble;
        self.sent_with = Some((access.secret_version.clone(), access.key.clone()));
    }

    /// Keeps what went wrong, for the provider's status.
    pub fn complain(&self, what: &str) {
        self.providers.with(&self.key, |provider| what.clone_into(&mut provider.last_trouble));
    }

    /// Ends with what the exchange says about the endpoint.
    pub fn leave(mut self, signal: Signal) {
        self.signal = signal;
        if !matches!(signal, Signal::Clean | Signal::Throttled { .. }) {
            return;
        }
        let Some((version, name)) = self.sent_with.take() else { return };
        let mut known = self.providers.known();
        // Who is throttled may not have been looked at: that proves nothing of a key.
        if let Some(name) = name.as_ref().filter(|_| signal == Signal::Clean) {
            known.keys.accepted(name);
        }
        let provider = known.provider(&self.key);
        let mut settled = false;
        if matches!(&provider.standing, Standing::Ready(access) if access.secret_version == version) {
            provider.proven = Some(version);
            settled = signal == Signal::Clean && provider.refusal.take().is_some();
        }
        drop(known);
        if settled {
            self.providers.ask_to_inspect(&self.key);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (now, chance) = (clock::monotonic(), clock::chance());
        let mut known = self.providers.known();
        let provider = known.provider(&self.key);
        let before = provider.gate.is_suspect(now);
        provider.gate.leave(&self.uid, self.signal, chance, now);
        let turned = before != provider.gate.is_suspect(now);
        if let Some(name) = &self.tried
            && known.keys.end(name, &self.key)
        {
            // Whoever was refused with it is not ready any more; the others try for themselves.
            for (_, sibling) in known.siblings(&self.key, name).0 {
                if matches!(sibling.gate.state(now).phase, Phase::Shut(_)) {
                    sibling.gate.open(true, now);
                }
            }
        }
        drop(known);
        if turned {
            self.providers.ask_to_inspect(&self.key);
        }
        self.providers.changed.notify_one();
    }
}
