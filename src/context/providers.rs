//! The providers as this process knows them: whether each can be used, with what, and at which pace.

mod permit;
mod reading;
mod standing;
mod turns;

pub use permit::Permit;
pub use standing::{Access, Destination, Standing};
pub use turns::Turn;

use crate::api::{ProviderKey, Reason};
use crate::clock;
use crate::credential::{Call, Event, Login, Memory, Moment, Request, Source, Step, Told, Used};
use crate::gate::{Caller, Entry, FunctionKey, Gate, GateLimits, GateState, Phase, Shares, Ticket, Wait};
use crate::members::Members;
use functiongraph::Credential;
use jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use turns::Turns;

/// The Secret of a provider in use is not read more often than this, even if it cannot be read.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// A pause that is longer than this is told in the provider's status.
const LONG_PAUSE: Duration = Duration::from_secs(10);

/// Another replica's finding that differs from ours is taken for the word of a dead one after this long.
const DISAGREEMENT: Duration = Duration::from_mins(1);

/// What was found of a provider: generation, reason, message, and when the credential ends.
pub type Finding = (i64, Reason, String, Option<Timestamp>);

fn moment() -> Moment {
    Moment { instant: clock::monotonic(), time: clock::now(), chance: clock::chance() }
}

/// Whether something that was found of a provider is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It is: this process finds it for the first time, or the status has said otherwise for long.
    Fresh,
    /// The status says so, or this process has written it before.
    Known,
    /// Another replica has written otherwise. That stands for so long.
    Disputed(Duration),
}

struct Provider {
    standing: Standing,
    made_for: Option<Destination>,
    last_trouble: String,
    asked_at: Option<Instant>,
    reported: Option<Finding>,
    differs_since: Option<Instant>,
    /// The limits of all members together.
    limits: GateLimits,
    gate: Gate,
}

impl Provider {
    fn paused(&self, now: Instant) -> Option<Duration> {
        match self.gate.state(now).phase {
            Phase::Paused { until } => Some(until.saturating_duration_since(now)),
            Phase::Shut | Phase::BreakerOpen { .. } | Phase::Probing | Phase::Open => None,
        }
    }

    /// The endpoint, and the principal there.
    fn account(&self) -> Option<(String, String)> {
        let Standing::Ready(access) = &self.standing else { return None };
        Some((access.client.endpoint().to_string(), access.used.source.principal.id.clone()))
    }

    /// Whether it does not exist, and nobody waits for it.
    fn is_forgotten(&self, now: Instant) -> bool {
        let state = self.gate.state(now);
        matches!(self.standing, Standing::Unseen) && state.waiting == 0 && state.in_flight == 0
    }

    /// Nobody uses the credential until the provider was checked again.
    fn refuse(&mut self, said: &str) {
        let message = format!("The service does not accept the credential: {said}");
        self.standing = Standing::NotReady(Reason::CredentialsInvalid, message);
        self.gate.shut();
    }
}

/// What is behind the lock.
struct Known {
    all: HashMap<ProviderKey, Provider>,
    members: Members,
    credentials: Memory<Credential>,
    /// Permits of all providers together.
    permits: usize,
}

impl Known {
    fn provider(&mut self, key: &ProviderKey) -> &mut Provider {
        self.all.entry(key.clone()).or_insert_with(|| Provider {
            standing: Standing::Unseen,
            made_for: None,
            last_trouble: String::new(),
            asked_at: None,
            reported: None,
            differs_since: None,
            limits: GateLimits::default(),
            gate: Gate::new(GateLimits::default(), clock::monotonic()),
        })
    }

    /// What each namespace holds of all permits of this process.
    fn shares(&self) -> Shares {
        let mut shares = Shares::new(self.permits);
        for (namespace, count) in self.all.values().flat_map(|provider| provider.gate.holdings()) {
            shares.hold(namespace, count);
        }
        shares
    }
}

/// This process's share of a provider's limits.
fn share(members: &Members, limits: GateLimits) -> GateLimits {
    let GateLimits { max_requests_per_second, max_in_flight, shared } = limits;
    GateLimits {
        max_requests_per_second: members.share(max_requests_per_second),
        max_in_flight: members.share(max_in_flight),
        shared,
    }
}

/// All providers.
pub struct Providers {
    known: Mutex<Known>,
    turns: Turns,
    changed: Notify,
    checks: mpsc::UnboundedSender<ProviderKey>,
}

impl Providers {
    /// None yet. `checks` receives the providers to check. `permits` is the number of requests that may be in flight through
    /// all of them together; no namespace holds more of them than it leaves free.
    pub fn new(checks: mpsc::UnboundedSender<ProviderKey>, permits: usize) -> Self {
        let (all, members) = (HashMap::new(), Members::default());
        let known = Known { all, members, credentials: Memory::default(), permits };
        Self { known: Mutex::new(known), turns: Turns::default(), changed: Notify::new(), checks }
    }

    pub fn ask_to_check(&self, key: &ProviderKey) {
        // The receiver is gone only when the process ends.
        let _ = self.checks.send(key.clone());
    }

    /// Asks a provider for a permit. It ends when it is dropped.
    pub fn enter(self: &Arc<Self>, key: &ProviderKey, ticket: Ticket) -> Option<Permit> {
        let (caller, now) = (ticket.caller.clone(), clock::monotonic());
        let entry = {
            let mut known = self.known.lock();
            let shares = known.shares();
            known.provider(key).gate.enter(ticket, &shares, now)
        };
        self.changed.notify_one();
        (entry == Entry::Admitted).then(|| Permit::new(Arc::clone(self), key.clone(), caller))
    }

    /// Pauses every other provider of the same account as long as this one.
    fn pause_account(&self, key: &ProviderKey, now: Instant) {
        let mut known = self.known.lock();
        let provider = known.provider(key);
        let (Phase::Paused { until }, Some(account)) = (provider.gate.state(now).phase, provider.account())
        else {
            return;
        };
        for (other, provider) in &mut known.all {
            if other != key && provider.account().as_ref() == Some(&account) {
                provider.gate.pause(until, now);
            }
        }
    }

    pub fn wait(&self, key: &ProviderKey, function: &FunctionKey) -> Wait {
        let mut known = self.known.lock();
        let shares = known.shares();
        known.provider(key).gate.wait(function, &shares, clock::monotonic())
    }

    /// Takes an object out of the queue, because it needs no permit any more.
    pub fn forget(&self, key: &ProviderKey, caller: &Caller) {
        if let Some(provider) = self.known.lock().all.get_mut(key) {
            provider.gate.forget(caller);
        }
    }

    /// Takes objects that are not there any more out of all queues. Nobody else does, where a provider is missing and
    /// calls nobody.
    pub fn prune(&self, is_there: impl Fn(&str) -> bool, now: Instant) {
        let is_wanted = |caller: &Caller| match caller {
            Caller::Object { uid, .. } => is_there(uid),
            Caller::List { .. } | Caller::Check => true,
        };
        for provider in self.known.lock().all.values_mut() {
            provider.gate.retain(is_wanted, now);
        }
        self.changed.notify_one();
    }

    /// Requests a check of a provider whose credential is old, unless that was done a moment ago.
    pub fn ask_to_renew(&self, key: &ProviderKey) {
        let now = clock::monotonic();
        let again = self.with(key, |provider| {
            let again = provider.asked_at.is_none_or(|then| now.duration_since(then) > ASK_AGAIN);
            if again {
                provider.asked_at = Some(now);
            }
            again
        });
        if again {
            self.ask_to_check(key);
        }
    }

    /// Whether the endpoint has failed again and again and has not answered since.
    pub fn is_suspect(&self, key: &ProviderKey) -> bool {
        self.with(key, |provider| provider.gate.is_suspect(clock::monotonic()))
    }

    /// Whether a finding is to be written. Other replicas may find otherwise; writing over each other's findings would never
    /// end. But if the status `differs` for long, the replica that would correct it may be gone, and one whose duty that is
    /// (`is_ours`) corrects it.
    pub fn news(&self, key: &ProviderKey, found: Finding, differs: bool, is_ours: bool) -> News {
        let now = clock::monotonic();
        self.with(key, |provider| {
            let since = *provider.differs_since.get_or_insert(now);
            let rest = DISAGREEMENT.saturating_sub(now.duration_since(since));
            let is_new = provider.reported.as_ref() != Some(&found);
            provider.reported = Some(found);
            let news = match differs {
                _ if is_new => News::Fresh,
                true if is_ours && rest.is_zero() => News::Fresh,
                true if is_ours => News::Disputed(rest),
                _ => News::Known,
            };
            if !matches!(news, News::Disputed(_)) {
                provider.differs_since = None;
            }
            news
        })
    }

    /// What is left of a pause that the provider's status tells of. `told`: whether it does already; if not, one of a few
    /// seconds is not worth a write.
    pub fn paused(&self, key: &ProviderKey, told: bool) -> Option<Duration> {
        let rest = self.with(key, |provider| provider.paused(clock::monotonic()))?;
        (told || rest > LONG_PAUSE).then_some(rest)
    }

    /// The last finding was not written after all.
    pub fn not_reported(&self, key: &ProviderKey) {
        self.with(key, |provider| provider.reported = None);
    }

    /// Whether the provider can be used. A credential that has ended is never handed out. Then a check is asked for: timers
    /// do not notice that a clock jumps.
    pub fn standing(&self, key: &ProviderKey) -> Standing {
        match self.with(key, |provider| provider.standing.clone()) {
            Standing::Ready(access) if access.has_expired(clock::now()) => {
                self.ask_to_renew(key);
                Standing::NotReady(Reason::CredentialsInvalid, "The credential has ended.".into())
            }
            standing => standing,
        }
    }

    /// A reconcile of a provider begins, with the source that its credential has now.
    pub fn begin(&self, key: &ProviderKey, source: &Arc<Source>, told: Option<Told>) {
        self.known.lock().credentials.begin(key, source, told, clock::monotonic());
    }

    pub fn decide(&self, key: &ProviderKey) -> Step {
        self.known.lock().credentials.decide(key, &moment())
    }

    /// The right to make one call with a principal for a provider of a namespace; `None` if others make their calls now.
    pub async fn turn(&self, principal: &str, namespace: &str) -> Option<Turn> {
        self.turns.take(principal, namespace).await
    }

    /// Remembers what came of a request. A refusal counts for every provider that has the same credential.
    pub fn record(&self, key: &ProviderKey, used: &Used, sent: Instant, event: Event) {
        let refused = match &event {
            // Only a provider that looks for its project has asked that service.
            Event::Refused(Call::LogIn | Call::Check, said) => Some(said.clone()),
            Event::Refused(Call::FindProject, _)
            | Event::ProjectFound(_)
            | Event::Checked(_)
            | Event::Failed(..) => None,
        };
        let mut known = self.known.lock();
        let request = Request { provider: key, used, sent };
        known.credentials.record(&request, event, &moment());
        let Some(said) = refused else { return };
        for (other, provider) in &mut known.all {
            if matches!(&provider.standing, Standing::Ready(access) if access.used.is_refused_with(used)) {
                provider.refuse(&said);
                if other != key {
                    self.ask_to_check(other);
                }
            }
        }
    }

    pub fn logged_in(&self, key: &ProviderKey, used: &Used, sent: Instant, login: Login<Credential>) {
        self.known.lock().credentials.logged_in(&Request { provider: key, used, sent }, login);
    }

    pub fn credential(&self, key: &ProviderKey, login: u64) -> Option<Credential> {
        self.known.lock().credentials.credential(key, login)
    }

    /// The service refused the credential of a request: nobody uses it until it was checked again, neither here nor
    /// through another provider. A provider that has a newer credential by now is not concerned.
    pub fn refuse(&self, key: &ProviderKey, access: &Access, said: &str) {
        let event = Event::Refused(Call::Check, said.to_owned());
        self.record(key, &access.used, clock::monotonic(), event);
    }

    /// The `resourceVersion` of the Secret whose credential was refused, and when, for other replicas.
    pub fn refused_at(&self, key: &ProviderKey) -> Option<(String, Timestamp)> {
        self.known.lock().credentials.refused_at(key, clock::monotonic())
    }

    /// What went wrong last between us and the endpoint.
    pub fn last_trouble(&self, key: &ProviderKey) -> String {
        self.with(key, |provider| provider.last_trouble.clone())
    }

    /// Divides the limits of all providers among these members. Requests a check of each provider whose status this process
    /// writes from now on.
    pub fn divide(&self, members: &Members) {
        let now = clock::monotonic();
        let mut known = self.known.lock();
        let before = std::mem::replace(&mut known.members, members.clone());
        for (key, provider) in &mut known.all {
            provider.gate.set_limits(share(members, provider.limits), now);
            if members.takes_over(&before, key) {
                self.ask_to_check(key);
            }
        }
        drop(known);
        self.changed.notify_one();
    }

    /// The provider can be used, with these limits for all members together. False if its credential was refused, or is to be
    /// renewed, since that was decided.
    #[must_use]
    pub fn ready(&self, key: &ProviderKey, access: Access, limits: GateLimits) -> bool {
        let now = clock::monotonic();
        let mut known = self.known.lock();
        if !matches!(known.credentials.decide(key, &moment()), Step::Use(in_use) if in_use.login == access.used.login)
        {
            return false;
        }
        let own_limits = share(&known.members, limits);
        let provider = known.provider(key);
        let destination = access.destination();
        if provider.made_for.as_ref().is_some_and(|old| *old != destination) {
            provider.gate.new_endpoint(now);
            provider.last_trouble.clear();
        }
        provider.made_for = Some(destination);
        provider.standing = Standing::Ready(Arc::new(access));
        provider.limits = limits;
        provider.gate.set_limits(own_limits, now);
        provider.gate.open(now);
        self.changed.notify_one();
        true
    }

    /// The provider cannot be used: its invocations wait.
    pub fn not_ready(&self, key: &ProviderKey, reason: Reason, message: String) {
        self.with(key, |provider| {
            provider.standing = Standing::NotReady(reason, message);
            provider.gate.shut();
        });
    }

    /// The provider does not exist: its credential is dropped, and its invocations wait for it.
    pub fn gone(&self, key: &ProviderKey) {
        let mut known = self.known.lock();
        known.credentials.forget(key, clock::monotonic());
        let provider = known.provider(key);
        provider.standing = Standing::Unseen;
        provider.gate.shut();
    }

    /// The pace of one provider.
    pub fn state(&self, key: &ProviderKey) -> GateState {
        self.with(key, |provider| provider.gate.state(clock::monotonic()))
    }

    /// Calls those whose turn has come, for ever. A ticket that is not `wanted` any more gives its permit to the next.
    pub async fn pump(&self, wanted: impl Fn(&Ticket) -> bool, call: impl Fn(Ticket)) {
        loop {
            let changed = self.changed.notified();
            let next = self.call_next(&wanted, &call);
            tokio::select! { () = clock::until(next) => {}, () = changed => {} }
        }
    }

    fn call_next(&self, wanted: impl Fn(&Ticket) -> bool, call: impl Fn(Ticket)) -> Option<Instant> {
        let now = clock::monotonic();
        let mut next: Option<Instant> = None;
        let mut known = self.known.lock();
        known.all.retain(|_, provider| !provider.is_forgotten(now));
        let mut shares = known.shares();
        for provider in known.all.values_mut() {
            loop {
                let granted = provider.gate.grants(&mut shares, now);
                if granted.is_empty() {
                    break;
                }
                for ticket in granted {
                    if wanted(&ticket) {
                        call(ticket);
                    } else {
                        provider.gate.forget(&ticket.caller);
                        // Its share is free for others, who are to be called again.
                        self.changed.notify_one();
                    }
                }
            }
            next = [next, provider.gate.next_wake(&shares, now)].into_iter().flatten().min();
        }
        next
    }

    fn with<T>(&self, key: &ProviderKey, change: impl FnOnce(&mut Provider) -> T) -> T {
        change(self.known.lock().provider(key))
    }
}

#[cfg(test)]
mod tests;
