//! The providers as this process knows them: whether each can be used, with what, and at which pace.

mod checks;
mod keys;
mod place;
mod reading;
mod standing;

pub use checks::{Checked, Proof, Subject, Unanswered};
pub use keys::{Held as HeldKey, KeyName};
pub use place::Place;
pub use standing::{Access, Held, Logins, Origin, Refusal, Refused, Setback, Standing};

use crate::api::Reason;
use crate::api::invocation::ProviderKind;
use crate::clock;
use crate::gate::{Entry, Gate, GateLimits, GateState, Phase, Ticket};
use checks::Checks;
use jiff::Timestamp;
use keys::Keys;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, OwnedMutexGuard, mpsc};

/// The Secret of a provider in use is not read more often than this, even if it cannot be read.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// A pause that is longer than this is told in the provider's status.
const LONG_PAUSE: Duration = Duration::from_secs(10);

/// Another replica's finding that differs from ours is taken for the word of a dead one after this long.
const DISAGREEMENT: Duration = Duration::from_mins(1);

/// What was found of a provider: generation, reason, message, and when the credential ends.
pub type Finding = (i64, Reason, String, Option<Timestamp>);

/// A provider's name: `namespace/name`, or `name` alone if it is one of the cluster. Also its label in metrics.
pub type Key = Arc<str>;

/// The name of the provider that an object of `namespace` means.
#[must_use]
pub fn key(kind: ProviderKind, namespace: &str, name: &str) -> Key {
    match kind {
        ProviderKind::ClusterFunctionGraphProvider => name.into(),
        // A namespace has no slash in its name, so that the two kinds never meet.
        ProviderKind::FunctionGraphProvider | ProviderKind::Other => format!("{namespace}/{name}").into(),
    }
}

struct Provider {
    standing: Standing,
    refusal: Option<Refusal>,
    /// Which credential was checked last: its source, and the login that brought it.
    latest: Option<(String, u64)>,
    /// The same as a check calls it.
    subject: Option<Subject>,
    made_for: Option<(String, Option<String>)>,
    last_trouble: String,
    asked_at: Option<Instant>,
    reported: Option<Finding>,
    differs_since: Option<Instant>,
    logins: Logins,
    gate: Gate,
}

impl Provider {
    /// What is left of a pause.
    fn paused(&self, now: Instant) -> Option<Duration> {
        match self.gate.state(now).phase {
            Phase::Paused { until } => Some(until.saturating_duration_since(now)),
            Phase::Shut | Phase::BreakerOpen { .. } | Phase::Probing | Phase::Open => None,
        }
    }

    /// Whether it does not exist, and nobody waits for it.
    fn is_forgotten(&self, now: Instant) -> bool {
        let state = self.gate.state(now);
        matches!(self.standing, Standing::Unseen) && state.waiting == 0 && state.in_flight == 0
    }

    fn refuse(&mut self, refusal: Refusal) {
        let text = format!("The service does not accept the credential: {}", refusal.message);
        self.refusal = Some(refusal);
        if matches!(self.standing, Standing::Ready(_)) {
            self.standing = Standing::NotReady(Reason::CredentialsInvalid, text);
        }
        self.gate.shut();
    }
}

/// What is behind the lock.
#[derive(Default)]
struct Known {
    all: HashMap<Key, Provider>,
    keys: Keys,
    checks: Checks,
}

impl Known {
    fn provider(&mut self, key: &Key) -> &mut Provider {
        self.all.entry(Arc::clone(key)).or_insert_with(|| Provider {
            standing: Standing::Unseen,
            refusal: None,
            latest: None,
            subject: None,
            made_for: None,
            last_trouble: String::new(),
            asked_at: None,
            reported: None,
            differs_since: None,
            logins: Logins::default(),
            gate: Gate::new(GateLimits { max_requests_per_second: 1, max_in_flight: 1 }, clock::monotonic()),
        })
    }
}

/// All providers.
pub struct Providers {
    known: Mutex<Known>,
    changed: Notify,
    inspect: mpsc::UnboundedSender<Key>,
}

impl Providers {
    /// None yet. Who listens to `inspect` is told which providers want to be looked at.
    #[must_use]
    pub fn new(inspect: mpsc::UnboundedSender<Key>) -> Self {
        Self { known: Mutex::default(), changed: Notify::new(), inspect }
    }

    /// Asks for a look at a provider soon.
    pub fn ask_to_inspect(&self, key: &Key) {
        // Nobody listens any more only when the process ends.
        let _ = self.inspect.send(Arc::clone(key));
    }

    /// Asks for a place at a provider. The place ends when it is dropped.
    pub fn enter(self: &Arc<Self>, key: &Key, ticket: Ticket) -> Option<Place> {
        let (uid, now) = (ticket.uid.clone(), clock::monotonic());
        let entry = self.with(key, |provider| provider.gate.enter(ticket, now));
        self.changed.notify_one();
        (entry == Entry::Admitted).then(|| Place::new(Arc::clone(self), Arc::clone(key), uid))
    }

    /// Takes an object out of the line, because it wants no place any more.
    pub fn forget(&self, key: &Key, uid: &str) {
        if let Some(provider) = self.known().all.get_mut(key) {
            provider.gate.forget(uid);
        }
    }

    /// Takes the objects out of all lines that are not there any more. Nobody else does, where a provider is missing and
    /// calls nobody.
    pub fn prune(&self, is_there: impl Fn(&str) -> bool) {
        for provider in self.known().all.values_mut() {
            provider.gate.retain(&is_there);
        }
    }

    /// Asks for a look at a provider whose credential is old, unless that was done a moment ago.
    pub fn ask_to_renew(&self, key: &Key) {
        let now = clock::monotonic();
        let again = self.with(key, |provider| {
            let again = provider.asked_at.is_none_or(|then| now.duration_since(then) > ASK_AGAIN);
            if again {
                provider.asked_at = Some(now);
            }
            again
        });
        if again {
            self.ask_to_inspect(key);
        }
    }

    /// Whether the endpoint has failed again and again and has not answered since.
    pub fn is_suspect(&self, key: &Key) -> bool {
        self.with(key, |provider| provider.gate.is_suspect(clock::monotonic()))
    }

    /// Whether this process finds something else than it last found. Other replicas may find otherwise; writing
    /// over each other's findings would never end. But if what stands there `differs` for long, nobody may be left who
    /// would correct it.
    pub fn is_news(&self, key: &Key, found: Finding, differs: bool) -> bool {
        let now = clock::monotonic();
        self.with(key, |provider| {
            let since = *provider.differs_since.get_or_insert(now);
            let outlived = differs && now.duration_since(since) >= DISAGREEMENT;
            let news = provider.reported.as_ref() != Some(&found) || outlived;
            if !differs || news {
                provider.differs_since = None;
            }
            provider.reported = Some(found);
            news
        })
    }

    /// How long to leave standing what another replica has found and this one does not find, if there is such.
    pub fn disagreement(&self, key: &Key) -> Option<Duration> {
        let since = self.with(key, |provider| provider.differs_since)?;
        Some(DISAGREEMENT.saturating_sub(clock::monotonic().duration_since(since)))
    }

    /// What is left of a pause that the provider's status tells of. `told`: whether it does already; if not, one of a few
    /// seconds is not worth a write.
    pub fn paused(&self, key: &Key, told: bool) -> Option<Duration> {
        let rest = self.with(key, |provider| provider.paused(clock::monotonic()))?;
        (told || rest > LONG_PAUSE).then_some(rest)
    }

    /// The last finding was not written after all.
    pub fn not_reported(&self, key: &Key) {
        self.with(key, |provider| provider.reported = None);
    }

    /// Whether the provider can be used. A credential that has ended is never handed out.
    pub fn standing(&self, key: &Key) -> Standing {
        match self.with(key, |provider| provider.standing.clone()) {
            Standing::Ready(access) if access.has_expired(clock::now()) => {
                Standing::NotReady(Reason::CredentialsInvalid, "The credential has ended.".into())
            }
            standing => standing,
        }
    }

    /// What is known of a provider's logins.
    pub fn logins(&self, key: &Key) -> Logins {
        self.with(key, |provider| provider.logins.clone())
    }

    /// Changes what is known of a provider's logins.
    pub fn change_logins(&self, key: &Key, change: impl FnOnce(&mut Logins)) {
        self.with(key, |provider| change(&mut provider.logins));
    }

    /// A step worked: what was said against it before is settled.
    pub fn step_worked(&self, key: &Key, step: Refused, change: impl FnOnce(&mut Logins)) {
        self.with(key, |provider| {
            provider.logins.setback = None;
            change(&mut provider.logins);
            provider.refusal.take_if(|refusal| refusal.at_step == step);
        });
    }

    /// The identity service refused a step: it is not tried again before the source changes or a pause has passed.
    pub fn refuse_step(&self, key: &Key, source: &Origin, at_step: Refused, message: String) {
        let (at, time) = (clock::monotonic(), clock::now());
        let Origin { version: secret_version, resource_version } = source.clone();
        self.with(key, |provider| {
            if at_step == Refused::Login {
                provider.logins.held = None;
            }
            let (login, times) = (0, 1);
            let refusal =
                Refusal { secret_version, resource_version, login, at, time, times, at_step, message };
            provider.refusal = Some(refusal);
        });
    }

    /// Why an access key must not be tried now, if it must not. What was said against it through another provider counts
    /// for this one as if it had been told itself.
    pub fn held_key(&self, key: &Key, name: &KeyName, source: &Origin) -> Option<HeldKey> {
        let mut known = self.known();
        let held = known.keys.held(name, clock::monotonic())?;
        if let HeldKey::Refused(failure) = &held {
            known.provider(key).refusal = Some(Refusal {
                secret_version: source.version.clone(),
                resource_version: source.resource_version.clone(),
                login: 0,
                at: failure.at,
                time: failure.time,
                times: 1,
                at_step: Refused::Credential,
                message: failure.message.clone(),
            });
        }
        Some(held)
    }

    /// Waits until no other provider checks a key of this id. The check may be made while the turn is held.
    pub async fn turn(&self, name: &KeyName) -> Option<OwnedMutexGuard<()>> {
        let queue = self.known().keys.queue(name)?;
        Some(queue.lock_owned().await)
    }

    /// The identity service accepted an access key.
    pub fn accept_key(&self, name: &KeyName) {
        self.known().keys.accepted(name);
    }

    /// The identity service refused an access key.
    pub fn refuse_key(&self, name: &KeyName, message: String) {
        let mut known = self.known();
        known.checks.forget(&name.whole);
        known.keys.refused(name, message, clock::monotonic(), clock::now());
    }

    /// A provider's credential is about to be checked.
    pub fn checking(&self, key: &Key, access: &Access) {
        self.with(key, |provider| {
            provider.latest = Some((access.secret_version.clone(), access.login));
            provider.subject = Some(access.subject.clone());
        });
    }

    /// What came of the last check.
    pub fn checked(&self, subject: &Subject) -> Option<Checked> {
        self.known().checks.get(subject).cloned()
    }

    /// Remembers what came of a check.
    pub fn remember_check(&self, access: &Access, checked: Checked) {
        let mut known = self.known();
        if let (Some(key), Checked::Proven(Proof::Accepted | Proof::Restricted(_))) = (&access.key, &checked)
        {
            known.keys.accepted(key);
        }
        known.checks.put(access.subject.clone(), checked);
    }

    /// When a provider's last check, which proved nothing, is made again; `None` once that time has come.
    pub fn next_check(&self, key: &Key) -> Option<Instant> {
        let mut known = self.known();
        let subject = known.provider(key).subject.clone()?;
        match known.checks.get(&subject)? {
            Checked::Unanswered(Unanswered { next_try, .. }) => Some(*next_try),
            Checked::Proven(_) => None,
        }
    }

    /// Whether FunctionGraph has accepted a credential since it was refused last.
    pub fn has_proven(&self, credential: &str) -> bool {
        self.known().checks.has_proven(credential)
    }

    /// Whether the provider was not looked at yet.
    pub fn is_unseen(&self, key: &Key) -> bool {
        matches!(self.standing(key), Standing::Unseen)
    }

    /// The credential that the service refused last, if nothing was accepted since.
    pub fn refusal(&self, key: &Key) -> Option<Refusal> {
        self.with(key, |provider| provider.refusal.clone())
    }

    /// What went wrong last between us and the endpoint.
    pub fn last_trouble(&self, key: &Key) -> String {
        self.with(key, |provider| provider.last_trouble.clone())
    }

    /// The provider can be used.
    pub fn ready(&self, key: &Key, access: Access, limits: GateLimits) {
        let now = clock::monotonic();
        self.with(key, |provider| {
            if provider.made_for.as_ref().is_some_and(|old| *old != access.made_for) {
                provider.gate.new_endpoint(now);
                provider.last_trouble.clear();
            }
            provider.made_for = Some(access.made_for.clone());
            provider.standing = Standing::Ready(Arc::new(access));
            provider.gate.set_limits(limits, now);
            provider.gate.open(now);
        });
        self.changed.notify_one();
    }

    /// The provider cannot be used: its invocations wait.
    pub fn not_ready(&self, key: &Key, reason: Reason, message: String) {
        self.with(key, |provider| {
            provider.standing = Standing::NotReady(reason, message);
            provider.gate.shut();
        });
    }

    /// The provider does not exist: its credential is dropped, and its invocations wait for it.
    pub fn gone(&self, key: &Key) {
        self.with(key, |provider| {
            provider.standing = Standing::Unseen;
            (provider.refusal, provider.latest, provider.subject) = (None, None, None);
            provider.logins = Logins { count: provider.logins.count, ..Logins::default() };
            provider.gate.shut();
        });
    }

    /// The service refused the credential: nobody uses it until it is looked at again, neither here nor through another
    /// provider. Who has taken a newer credential meanwhile is not concerned.
    pub fn refuse(&self, key: &Key, access: &Access, message: &str) {
        let (at, time) = (clock::monotonic(), clock::now());
        let mut known = self.known();
        let refusal = |of: &Access, times| Refusal {
            secret_version: of.secret_version.clone(),
            resource_version: of.resource_version.clone(),
            login: of.login,
            at,
            time,
            times,
            at_step: Refused::Credential,
            message: message.to_owned(),
        };
        known.checks.forget(&access.subject.credential);
        if let Some(name) = &access.key {
            known.keys.refused(name, message.to_owned(), at, time);
            for (sibling, provider) in known.all.iter_mut().filter(|(other, _)| *other != key) {
                if let Standing::Ready(same) = provider.standing.clone()
                    && same.key.as_ref() == Some(name)
                {
                    provider.refuse(refusal(&same, 1));
                    self.ask_to_inspect(sibling);
                }
            }
        }
        let provider = known.provider(key);
        let is_latest =
            |(version, login): &(String, u64)| *version == access.secret_version && *login == access.login;
        if !provider.latest.as_ref().is_some_and(is_latest) {
            return;
        }
        let before = provider.refusal.as_ref().filter(|refusal| refusal.is_of(&access.secret_version));
        let times = match before {
            // Several requests were under way with the same credential.
            Some(refusal) if refusal.login == access.login && refusal.at_step == Refused::Credential => {
                refusal.times
            }
            Some(refusal) => refusal.times.saturating_add(1),
            None => 1,
        };
        provider.refuse(refusal(access, times));
    }

    /// The pace of one provider.
    pub fn state(&self, key: &Key) -> GateState {
        self.with(key, |provider| provider.gate.state(clock::monotonic()))
    }

    /// Calls those whose turn has come, for ever. Whoever is not `wanted` any more loses the place to the next.
    pub async fn pump(&self, wanted: impl Fn(&Ticket) -> bool, call: impl Fn(&Key, Ticket)) {
        loop {
            let changed = self.changed.notified();
            let next = self.call_next(&wanted, &call);
            match next {
                Some(time) => {
                    let sleep = tokio::time::sleep_until(time.into());
                    tokio::select! { () = sleep => {}, () = changed => {} }
                }
                None => changed.await,
            }
        }
    }

    fn call_next(&self, wanted: impl Fn(&Ticket) -> bool, call: impl Fn(&Key, Ticket)) -> Option<Instant> {
        let now = clock::monotonic();
        let mut next: Option<Instant> = None;
        let mut known = self.known();
        known.all.retain(|_, provider| !provider.is_forgotten(now));
        for (key, provider) in &mut known.all {
            loop {
                let granted = provider.gate.grants(now);
                if granted.is_empty() {
                    break;
                }
                for ticket in granted {
                    if wanted(&ticket) {
                        call(key, ticket);
                    } else {
                        provider.gate.forget(&ticket.uid);
                    }
                }
            }
            next = [next, provider.gate.next_wake(now)].into_iter().flatten().min();
        }
        next
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, key: &Key, change: impl FnOnce(&mut Provider) -> T) -> T {
        change(self.known().provider(key))
    }
}

#[cfg(test)]
mod tests;
