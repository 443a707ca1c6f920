//! The providers as metrics show them.

use super::{Provider, Providers, Standing};
use crate::api::{ProviderKey, Reason};
use crate::clock;
use crate::gate::Phase;
use crate::metrics::ProviderNow;
use jiff::Timestamp;

impl Providers {
    /// Whether a provider exists, as far as it was checked.
    pub fn is_known(&self, key: &ProviderKey) -> bool {
        self.known.lock().all.get(key).is_some_and(|provider| !matches!(provider.standing, Standing::Unseen))
    }

    /// Every provider that [is known](Self::is_known), and how many objects wait for each that is not.
    pub fn readings(&self) -> (Vec<ProviderNow>, Vec<(String, usize)>) {
        let moment = clock::monotonic();
        let (mut known, mut missing) = (Vec::new(), Vec::new());
        for (key, provider) in &self.known.lock().all {
            let state = provider.gate.state(moment);
            let Some((reason, expires_at, not_renewed)) = provider.health() else {
                if state.waiting > 0 {
                    missing.push((key.to_string(), state.waiting));
                }
                continue;
            };
            known.push(ProviderNow {
                name: key.to_string(),
                ready: reason == Reason::ProviderReady,
                reason,
                expires_at,
                not_renewed,
                in_flight: state.in_flight,
                waiting: state.waiting,
                held: matches!(state.phase, Phase::Paused { .. } | Phase::BreakerOpen { .. }),
                rate: state.rate,
            });
        }
        (known, missing)
    }
}

impl Provider {
    /// Why it is ready or not, as its status says too; when its credential ends; and whether that was not renewed.
    /// `None` if it was not checked.
    fn health(&self) -> Option<(Reason, Option<Timestamp>, bool)> {
        let access = match &self.standing {
            Standing::Unseen => return None,
            Standing::NotReady(reason, _) => return Some((*reason, None, false)),
            Standing::Ready(access) => access,
        };
        let reason = if access.has_expired(clock::now()) {
            Reason::CredentialsInvalid
        } else if self.gate.is_suspect(clock::monotonic()) {
            Reason::EndpointUnreachable
        } else {
            Reason::ProviderReady
        };
        Some((reason, access.in_use.expires_at, access.in_use.not_renewed.is_some()))
    }
}
