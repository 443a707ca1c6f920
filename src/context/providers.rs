//! The providers as this process knows them: whether each can be used, with what, and at which pace.

mod reading;
mod standing;

pub use standing::{Access, Held, Logins, Refusal, Refused, Setback, Standing};

use crate::api::Reason;
use crate::api::invocation::ProviderKind;
use crate::clock;
use crate::gate::{Entry, Gate, GateLimits, GateState, Signal, Ticket};
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};

/// The Secret of a provider in use is not read more often than this, even if it cannot be read.
const ASK_AGAIN: Duration = Duration::from_secs(10);

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
    made_for: Option<(String, Option<String>)>,
    last_trouble: String,
    asked_at: Option<Instant>,
    reported: Option<Finding>,
    differs_since: Option<Instant>,
    logins: Logins,
    gate: Gate,
}

impl Provider {
    /// Whether it does not exist, and nobody waits for it.
    fn is_forgotten(&self, now: Instant) -> bool {
        let state = self.gate.state(now);
        matches!(self.standing, Standing::Unseen) && state.waiting == 0 && state.in_flight == 0
    }
}

/// All providers.
pub struct Providers {
    all: Mutex<HashMap<Key, Provider>>,
    changed: Notify,
    inspect: mpsc::UnboundedSender<Key>,
}

impl Providers {
    /// None yet. Who listens to `inspect` is told which providers want to be looked at.
    #[must_use]
    pub fn new(inspect: mpsc::UnboundedSender<Key>) -> Self {
        Self { all: Mutex::default(), changed: Notify::new(), inspect }
    }

    /// Asks for a look at a provider soon.
    pub fn ask_to_inspect(&self, key: &Key) {
        // Nobody listens any more only when the process ends.
        let _ = self.inspect.send(Arc::clone(key));
    }

    /// Asks for a place at a provider. The place ends when it is dropped.
    pub fn enter(self: &Arc<Self>, key: &Key, ticket: Ticket) -> Option<Place> {
        let uid = ticket.uid.clone();
        let entry = self.with(key, |provider| provider.gate.enter(ticket, clock::monotonic()));
        self.changed.notify_one();
        match entry {
            Entry::Admitted => {
                Some(Place { providers: Arc::clone(self), key: Arc::clone(key), uid, signal: Signal::Unused })
            }
            Entry::Queued => None,
        }
    }

    /// Takes an object out of the line, because it wants no place any more.
    pub fn forget(&self, key: &Key, uid: &str) {
        if let Some(provider) = self.all().get_mut(key) {
            provider.gate.forget(uid);
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
    pub fn refuse_step(&self, key: &Key, secret_version: &str, at_step: Refused, message: String) {
        let (secret_version, at) = (secret_version.to_owned(), clock::monotonic());
        self.with(key, |provider| {
            if at_step == Refused::Login {
                provider.logins.held = None;
            }
            provider.refusal = Some(Refusal { secret_version, login: 0, at, times: 1, at_step, message });
        });
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

    /// The provider can be used. A credential that has not proven itself yet is tried with one request.
    pub fn ready(&self, key: &Key, access: Access, limits: GateLimits) {
        let now = clock::monotonic();
        self.with(key, |provider| {
            let proven = provider.refusal.is_none()
                && matches!(&provider.standing, Standing::Ready(old) if old.secret_version == access.secret_version);
            if provider.made_for.as_ref().is_some_and(|old| *old != access.made_for) {
                provider.gate.new_endpoint(now);
                provider.last_trouble.clear();
            }
            provider.made_for = Some(access.made_for.clone());
            provider.standing = Standing::Ready(Arc::new(access));
            provider.gate.set_limits(limits, now);
            if !proven {
                provider.gate.open(true, now);
            }
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
            provider.refusal = None;
            provider.logins = Logins { count: provider.logins.count, ..Logins::default() };
            provider.gate.shut();
        });
    }

    /// The service refused the credential: nobody uses it until it is looked at again. A newer credential
    /// that took its place meanwhile is not concerned.
    pub fn refuse(&self, key: &Key, access: &Access, message: String) {
        let at = clock::monotonic();
        self.with(key, |provider| {
            let other =
                |now: &Access| now.secret_version != access.secret_version || now.login != access.login;
            if matches!(&provider.standing, Standing::Ready(now) if other(now)) {
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
            let text = format!("The service does not accept the credential: {message}");
            provider.refusal = Some(Refusal {
                secret_version: access.secret_version.clone(),
                login: access.login,
                at,
                times,
                at_step: Refused::Credential,
                message,
            });
            provider.standing = Standing::NotReady(Reason::CredentialsInvalid, text);
            provider.gate.shut();
        });
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
        let mut all = self.all();
        all.retain(|_, provider| !provider.is_forgotten(now));
        for (key, provider) in all.iter_mut() {
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

    fn all(&self) -> MutexGuard<'_, HashMap<Key, Provider>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, key: &Key, change: impl FnOnce(&mut Provider) -> T) -> T {
        let mut all = self.all();
        let provider = all.entry(Arc::clone(key)).or_insert_with(|| Provider {
            standing: Standing::Unseen,
            refusal: None,
            made_for: None,
            last_trouble: String::new(),
            asked_at: None,
            reported: None,
            differs_since: None,
            logins: Logins::default(),
            gate: Gate::new(GateLimits { max_requests_per_second: 1, max_in_flight: 1 }, clock::monotonic()),
        });
        change(provider)
    }
}

/// A place at a provider: one request may be sent. Dropping it gives the place to the next.
pub struct Place {
    providers: Arc<Providers>,
    key: Key,
    uid: String,
    signal: Signal,
}

impl Place {
    /// From here on something may have been sent: unless it is told otherwise, that went badly.
    pub fn used(&mut self) {
        self.signal = Signal::Trouble;
    }

    /// Keeps what went wrong, for the provider's status.
    pub fn complain(&self, what: &str) {
        self.providers.with(&self.key, |provider| what.clone_into(&mut provider.last_trouble));
    }

    /// Ends with what the exchange says about the endpoint.
    pub fn leave(mut self, signal: Signal) {
        self.signal = signal;
        if signal == Signal::Clean {
            let proven = self.providers.with(&self.key, |provider| {
                matches!(provider.standing, Standing::Ready(_)) && provider.refusal.take().is_some()
            });
            if proven {
                self.providers.ask_to_inspect(&self.key);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (now, chance) = (clock::monotonic(), clock::chance());
        let turned = self.providers.with(&self.key, |provider| {
            let before = provider.gate.is_suspect(now);
            provider.gate.leave(&self.uid, self.signal, chance, now);
            before != provider.gate.is_suspect(now)
        });
        if turned {
            self.providers.ask_to_inspect(&self.key);
        }
        self.providers.changed.notify_one();
    }
}
