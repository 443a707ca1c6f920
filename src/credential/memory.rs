//! What this process knows of all credentials, and how each answer changes it.

use super::pause::pause;
use super::{
    CLOCK_SKEW_MAX, Call, Event, FAILURES_MAX, Failure, Lock, Login, Moment, Principal, Proof, Request,
    Source, Told,
};
use jiff::{SignedDuration, Timestamp};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A project that cannot be looked up is asked for again after this long at the earliest.
const PROJECT_PAUSE_MIN: Duration = Duration::from_secs(10);

/// All that this process knows of credentials. What a login brought, a `C`, is kept beside what is known of it and never
/// looked at.
pub struct Memory<C> {
    /// What belongs to one provider, by its key.
    pub(super) sessions: HashMap<Arc<str>, Session<C>>,
    /// What is known of those whom a service counts failures for, by [`Principal::id`].
    pub(super) principals: HashMap<String, Known>,
}

/// One provider with one version of its source.
pub(super) struct Session<C> {
    pub source: Arc<Source>,
    /// How many logins worked. No two have the same number, whatever the source.
    pub logins: u64,
    /// What the latest login brought.
    pub held: Option<Held<C>>,
    /// The refusal of what a login brought.
    pub refused: Option<RefusedLogin>,
    pub project: Option<String>,
    /// What kept the latest login, or look-up of the project, from working.
    pub setback: Option<(Call, Setback)>,
    pub told: Option<Told>,
}

/// What a login brought.
pub(super) struct Held<C> {
    pub login: u64,
    pub credential: C,
    pub expires_at: Option<Timestamp>,
    pub renew_at: Timestamp,
    pub project: Option<String>,
}

/// What a login brought was refused.
#[derive(Clone, Debug)]
pub(super) struct RefusedLogin {
    pub login: u64,
    /// How many logins in a row brought something that was refused.
    pub times: u32,
    pub refusal: Refusal,
}

/// A call that failed.
#[derive(Clone, Debug)]
pub(super) struct Setback {
    /// How often in a row.
    pub times: u32,
    /// The call is not made again before.
    pub until: Instant,
    pub time: Timestamp,
    pub failure: Failure,
}

/// What a service refused.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub call: Call,
    pub at: Instant,
    pub time: Timestamp,
    /// It is not shown again before.
    pub until: Instant,
    pub said: String,
}

/// What is known of a principal.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The latest failures, as many as count, by both clocks.
    pub failures: Vec<(Instant, Timestamp)>,
    /// Until when they count.
    pub counts_until: Option<Instant>,
    /// The secret that the service accepted last.
    pub accepted: Option<String>,
    pub secrets: HashMap<String, Secret>,
}

/// What is known of one secret of a principal.
#[derive(Debug, Default)]
pub(super) struct Secret {
    pub refusal: Option<Refusal>,
    /// The results of the checks, by [`Source::destination`].
    pub checks: HashMap<String, Checked>,
}

/// The result of a check.
#[derive(Clone, Debug)]
pub(super) enum Checked {
    Proven(Proof),
    Unproven(Setback),
}

// === impl Memory ===

impl<C> Default for Memory<C> {
    fn default() -> Self {
        Self { sessions: HashMap::new(), principals: HashMap::new() }
    }
}

impl<C: Clone> Memory<C> {
    /// A reconcile of a provider begins, with the source as it is now and what its status says of another replica.
    pub fn begin(&mut self, provider: &Arc<str>, source: &Arc<Source>, told: Option<Told>, now: Instant) {
        let new = |logins| Session {
            source: Arc::clone(source),
            logins,
            held: None,
            refused: None,
            project: None,
            setback: None,
            told: None,
        };
        let session = self.sessions.entry(Arc::clone(provider)).or_insert_with(|| new(0));
        let is_other = session.source.version != source.version;
        if is_other {
            *session = new(session.logins);
        }
        session.source = Arc::clone(source);
        session.told = told;
        if is_other {
            self.prune(now);
        }
    }

    /// The provider does not exist any more. What was refused is remembered: it may come back.
    pub fn forget(&mut self, provider: &str, now: Instant) {
        if self.sessions.remove(provider).is_some() {
            self.prune(now);
        }
    }

    /// Drops what no provider uses and what does not count any more.
    fn prune(&mut self, now: Instant) {
        let Self { sessions, principals } = self;
        let sources = || sessions.values().map(|session| &session.source);
        let in_use = || sources().flat_map(|source| [&source.principal, &source.project_principal]);
        let ids: HashSet<_> = in_use().map(|principal| &principal.id).collect();
        let secrets: HashSet<_> = in_use().map(|principal| &principal.secret).collect();
        let checks: HashSet<_> = sessions
            .values()
            .map(|session| (&session.source.principal.secret, &session.source.destination))
            .collect();
        principals.retain(|id, known| {
            known.secrets.retain(|name, secret| {
                secret.checks.retain(|used_at, _| checks.contains(&(name, used_at)));
                secrets.contains(name) || secret.refusal.as_ref().is_some_and(|refusal| refusal.until > now)
            });
            ids.contains(id)
                || !known.secrets.is_empty()
                || known.counts_until.is_some_and(|until| until > now)
        });
    }

    /// Remembers what came of a request. If its provider has another source by now, it counts for the principal only.
    pub fn record(&mut self, request: &Request<'_>, event: Event, moment: &Moment) {
        let source = &request.used.source;
        let session = request.session(&mut self.sessions);
        match event {
            Event::ProjectFound(project) => {
                if let Some(session) = session {
                    (session.project, session.setback) = (Some(project), None);
                }
                if !source.is_exchanged {
                    self.accept(request, &source.project_principal);
                }
            }
            Event::Checked(proof) => {
                let accepted = matches!(proof, Proof::Accepted | Proof::Restricted(_));
                if accepted && !source.is_exchanged {
                    self.accept(request, &source.principal);
                }
                self.secret(&source.principal)
                    .checks
                    .insert(source.destination.clone(), Checked::Proven(proof));
            }
            Event::Refused(call, said) => self.refuse(request, call, said, moment),
            Event::Failed(Call::Check, failure) => {
                let checks = &mut self.secret(&source.principal).checks;
                let times = match checks.get(&source.destination) {
                    Some(Checked::Unproven(before)) => before.times,
                    Some(Checked::Proven(_)) | None => 0,
                };
                let setback = setback(source, Call::Check, times, failure, moment);
                checks.insert(source.destination.clone(), Checked::Unproven(setback));
            }
            Event::Failed(call, failure) => {
                if let Some(session) = session {
                    let before = session.setback.as_ref().filter(|(before, _)| *before == call);
                    let times = before.map_or(0, |(_, before)| before.times);
                    session.setback = Some((call, setback(source, call, times, failure, moment)));
                }
            }
        }
    }

    /// A login brought a credential.
    pub fn logged_in(&mut self, request: &Request<'_>, login: Login<C>) {
        if let Some(session) = request.session(&mut self.sessions) {
            session.logins += 1;
            let Login { credential, expires_at, renew_at, project } = login;
            session.held = Some(Held { login: session.logins, credential, expires_at, renew_at, project });
            session.setback = None;
        }
        self.accept(request, &request.used.source.principal);
    }

    /// What a login brought, if it is the latest of the provider.
    pub fn credential(&self, provider: &str, login: u64) -> Option<C> {
        let held = self.sessions.get(provider)?.held.as_ref()?;
        (held.login == login).then(|| held.credential.clone())
    }

    /// FunctionGraph answered an invocation in a way that shows that it accepted the credential. True if the provider's
    /// credential could not be checked before: it may be used freely from now on.
    pub fn answered(&mut self, request: &Request<'_>) -> bool {
        let source = &request.used.source;
        if let Some(session) = request.session(&mut self.sessions) {
            session.refused.take_if(|refused| refused.login != request.used.login);
        }
        if !source.is_exchanged {
            self.accept(request, &source.principal);
        }
        let known = self.principals.get_mut(&source.principal.id);
        let secret = known.and_then(|known| known.secrets.get_mut(&source.principal.secret));
        match secret.and_then(|secret| secret.checks.get_mut(&source.destination)) {
            Some(Checked::Proven(Proof::Unchecked { used, .. })) => !std::mem::replace(used, true),
            Some(Checked::Proven(Proof::Accepted | Proof::Restricted(_)) | Checked::Unproven(_)) | None => {
                false
            }
        }
    }

    /// The service refused what was shown to it.
    fn refuse(&mut self, request: &Request<'_>, call: Call, said: String, moment: &Moment) {
        let used = request.used;
        let source = &used.source;
        let at = moment.instant;
        let refusal = Refusal { call, at, time: moment.time, until: at + source.pause_after(call), said };
        let counts = source.counts(call);
        if let Some(session) = request.session(&mut self.sessions) {
            let is_current = session.held.as_ref().is_some_and(|held| held.login == used.login);
            match call {
                Call::LogIn => session.held = None,
                Call::FindProject | Call::Check if !counts && is_current => {
                    let times = match &session.refused {
                        // Several requests were under way with the same credential.
                        Some(before) if before.login == used.login => before.times,
                        Some(before) if at < before.refusal.until => before.times.saturating_add(1),
                        // What was refused long ago has nothing to do with this.
                        Some(_) | None => 1,
                    };
                    session.refused =
                        Some(RefusedLogin { login: used.login, times, refusal: refusal.clone() });
                }
                Call::FindProject | Call::Check => {}
            }
        }
        let principal = source.principal_of(call);
        let secret = self.secret(principal);
        secret.checks.clear();
        if !counts {
            return;
        }
        secret.refusal = Some(refusal);
        let known = self.principals.entry(principal.id.clone()).or_default();
        known.accepted.take_if(|accepted| *accepted == principal.secret);
        known.failures.push((at, moment.time));
        let excess = known.failures.len().saturating_sub(FAILURES_MAX);
        known.failures.drain(..excess);
        known.counts_until = Some(at + source.lock.window());
        self.prune(at);
    }

    /// The service accepted a secret. A success ends the count of an access key's failures at the gateway, and so here;
    /// but a slow answer to a request that was sent before a failure says nothing of what came after it.
    fn accept(&mut self, request: &Request<'_>, principal: &Principal) {
        if self.is_accepted(principal) {
            return;
        }
        let Principal { id, secret } = principal;
        let known = self.principals.entry(id.clone()).or_default();
        let own = known.secrets.entry(secret.clone()).or_default();
        own.refusal.take_if(|refusal| refusal.at <= request.sent);
        if own.refusal.is_some() {
            return;
        }
        known.accepted = Some(secret.clone());
        if request.used.source.lock == Lock::AccessKey {
            known.failures.retain(|(at, _)| *at > request.sent);
            for secret in known.secrets.values_mut() {
                secret.refusal.take_if(|refusal| refusal.at <= request.sent);
            }
        }
    }

    fn secret(&mut self, principal: &Principal) -> &mut Secret {
        let known = self.principals.entry(principal.id.clone()).or_default();
        known.secrets.entry(principal.secret.clone()).or_default()
    }

    fn is_accepted(&self, principal: &Principal) -> bool {
        let known = self.principals.get(&principal.id);
        known.is_some_and(|known| known.accepted.as_ref() == Some(&principal.secret))
    }

    /// When the credential that a provider has now was refused, if it was: other replicas shall know.
    pub fn refused_at(&self, provider: &str, now: Instant) -> Option<(String, Timestamp)> {
        let session = self.sessions.get(provider)?;
        let Session { source, refused, setback, .. } = session;
        let known = self.principals.get(&source.principal.id);
        let secret = known.and_then(|known| known.secrets.get(&source.principal.secret));
        let denied = setback.as_ref().filter(|(_, setback)| matches!(setback.failure, Failure::Denied(_)));
        let locked = known.filter(|known| known.is_locked(&source.principal, source.lock, now));
        let times = [
            secret.and_then(|secret| secret.refusal.as_ref()).map(|refusal| refusal.time),
            refused.as_ref().map(|refused| refused.refusal.time),
            denied.map(|(_, setback)| setback.time),
            locked.and_then(|known| known.failures.last()).map(|(_, time)| *time),
        ];
        Some((source.resource_version.clone()?, times.into_iter().flatten().max()?))
    }
}

impl Known {
    /// Whether so many secrets failed that another failure is not risked. The secret that was accepted last is not concerned.
    pub(super) fn is_locked(&self, principal: &Principal, lock: Lock, now: Instant) -> bool {
        let recent =
            self.failures.iter().filter(|(at, _)| now.saturating_duration_since(*at) < lock.window());
        self.accepted.as_ref() != Some(&principal.secret) && recent.count() >= FAILURES_MAX
    }
}

fn setback(source: &Source, call: Call, times: u32, failure: Failure, moment: &Moment) -> Setback {
    let times = times.saturating_add(1);
    let after = match &failure {
        Failure::Passing(_, asked) | Failure::Unproven(_, _, asked) => {
            let least = if call == Call::FindProject { PROJECT_PAUSE_MIN } else { Duration::ZERO };
            pause(times, *asked, moment.chance).max(least)
        }
        Failure::Denied(_) => source.pause_after(call),
        Failure::Obstacle(_, _, again) => *again,
    };
    Setback { times, until: moment.instant + after, time: moment.time, failure }
}

// === impl Request ===

impl Request<'_> {
    /// The session that it belongs to, unless the provider is gone or has another source by now.
    fn session<'a, C>(&self, sessions: &'a mut HashMap<Arc<str>, Session<C>>) -> Option<&'a mut Session<C>> {
        sessions.get_mut(self.provider).filter(|session| session.source.version == self.used.source.version)
    }
}

// === impl Told ===

impl Told {
    /// Whether it still counts. A time in the future is that of a wrong clock, or of somebody who may write what he likes.
    pub(super) fn holds(&self, source: &Source, now: Timestamp) -> bool {
        let age = now.duration_since(self.time);
        let pause = source.pause_after(Call::LogIn) + self.delay;
        age > -CLOCK_SKEW_MAX && age < SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX)
    }
}
