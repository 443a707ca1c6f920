//! What comes next for a provider's credential.

use super::memory::{Checked, Held, Known, RefusedLogin, Session, Setback};
use super::{Call, Failure, InUse, Memory, Moment, Principal, Step, Stop, words};
use crate::api::Reason;
use jiff::Timestamp;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The operator decides again after this long at the latest, because timers do not notice that a clock jumps or that the
/// machine sleeps.
const DECIDE_AGAIN_MAX: Duration = Duration::from_mins(10);

/// Why the latest renewal did not work, and when the operator tries again.
type NotRenewed = (String, Option<Instant>);

impl<C: Clone> Memory<C> {
    /// What comes next for a provider after [`Memory::begin`].
    pub fn decide(&self, provider: &str, moment: &Moment) -> Step {
        let Some(session) = self.sessions.get(provider) else {
            return Step::Stop(words::stop(Reason::CredentialsInvalid, "The provider was deleted.".into()));
        };
        let source = &session.source;
        let known = self.principals.get(&source.principal.id);
        let (held, not_renewed) = if source.is_exchanged {
            let held =
                session.held.as_ref().filter(|held| held.is_good(session.refused.as_ref(), moment.time));
            match held {
                Some(held) if moment.time < held.renew_at => (Some(held), None),
                held => match (session.obstacle(&self.principals, moment), held) {
                    (None, _) => return Step::LogIn,
                    (Some((stop, _)), None) => return Step::Stop(stop),
                    (Some((stop, why)), Some(held)) => (Some(held), Some((why, stop.until))),
                },
            }
        } else {
            if let Some((stop, _)) = session.obstacle(&self.principals, moment) {
                return Step::Stop(stop);
            }
            (None, None)
        };
        let login = held.map_or(0, |held| held.login);
        let of_login = held.and_then(|held| held.project.as_ref());
        let Some(project) = source.project.as_ref().or(of_login).or(session.project.as_ref()) else {
            let refused = session.refused(&self.principals, &source.project_principal, moment);
            let setback =
                || Some(session.setback(Call::FindProject, moment)?.stop(session, Call::FindProject));
            return match refused.map(|(stop, _)| stop).or_else(setback) {
                Some(stop) => Step::Stop(stop),
                None => Step::FindProject(login),
            };
        };
        let secret = known.and_then(|known| known.secrets.get(&source.principal.secret));
        match secret.and_then(|secret| secret.checks.get(&source.destination)) {
            Some(Checked::Proven(proof)) => Step::Use(InUse {
                login,
                expires_at: held.and_then(|held| held.expires_at),
                project: project.clone(),
                decide_again_in: held.map(|held| held.decide_again_in(not_renewed.as_ref(), moment)),
                not_renewed: not_renewed.map(|(why, _)| why),
                proof: proof.clone(),
            }),
            Some(Checked::Unproven(setback)) if moment.instant < setback.until => {
                Step::Stop(setback.stop(session, Call::Check))
            }
            Some(Checked::Unproven(_)) | None => Step::Check(login, project.clone()),
        }
    }
}

impl<C> Session<C> {
    /// What keeps the source from being shown to a service now, and the same as a clause.
    fn obstacle(&self, principals: &HashMap<String, Known>, moment: &Moment) -> Option<(Stop, String)> {
        let source = &self.source;
        if let Some(RefusedLogin { times, refusal, .. }) = &self.refused
            // The first may only be out of date, because a change of the password ends all tokens: the operator logs in
            // again at once.
            && *times > 1
            && moment.instant < refusal.until
        {
            return Some((words::refused(source, refusal.call, &refusal.said), refusal.said.clone()));
        }
        if let Some(refused) = self.refused(principals, &source.principal, moment) {
            return Some(refused);
        }
        let known = principals.get(&source.principal.id);
        let is_accepted =
            known.is_some_and(|known| known.accepted.as_ref() == Some(&source.principal.secret));
        if let Some(told) = self.told.as_ref().filter(|told| !is_accepted && told.holds(source, moment.time))
        {
            let stop = words::stop(Reason::CredentialsInvalid, told.message.clone());
            return Some((stop, told.message.trim_end_matches('.').to_owned()));
        }
        let setback = self.setback(Call::LogIn, moment)?;
        let clause = setback.failure.why().trim_end_matches('.').to_owned();
        Some((setback.stop(self, Call::LogIn), clause))
    }

    /// Why a secret must not be shown, if it was refused, or too many of its principal were.
    fn refused(
        &self,
        principals: &HashMap<String, Known>,
        principal: &Principal,
        moment: &Moment,
    ) -> Option<(Stop, String)> {
        let source = &self.source;
        let known = principals.get(&principal.id)?;
        let refusal = known.secrets.get(&principal.secret).and_then(|secret| secret.refusal.as_ref());
        if let Some(refusal) = refusal.filter(|refusal| moment.instant < refusal.until) {
            return Some((words::refused(source, refusal.call, &refusal.said), refusal.said.clone()));
        }
        if !known.is_locked(principal, source.lock, moment.instant) {
            return None;
        }
        let stop = words::locked(source);
        let clause = stop.message.trim_end_matches('.').to_owned();
        Some((stop, clause))
    }

    fn setback(&self, call: Call, moment: &Moment) -> Option<&Setback> {
        let (_, setback) = self.setback.as_ref().filter(|(of, _)| *of == call)?;
        (moment.instant < setback.until).then_some(setback)
    }
}

impl Setback {
    fn stop<C>(&self, session: &Session<C>, call: Call) -> Stop {
        let stop = words::failed(&session.source, call, &self.failure);
        match self.failure {
            // The Secret may change first.
            Failure::Denied(_) => stop,
            Failure::Passing(..) | Failure::Obstacle(..) | Failure::Unproven(..) => {
                Stop { until: Some(self.until), ..stop }
            }
        }
    }
}

impl<C> Held<C> {
    /// Whether it can be used: it has not ended and was not refused.
    fn is_good(&self, refused: Option<&RefusedLogin>, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| end > now)
            && refused.is_none_or(|refused| refused.login != self.login)
    }

    /// When it is renewed, and at the latest when it ends.
    fn decide_again_in(&self, not_renewed: Option<&NotRenewed>, moment: &Moment) -> Duration {
        // Rounded up, so that the time has come by then.
        let until = |time: Timestamp| {
            time.max(moment.time).duration_since(moment.time).unsigned_abs() + Duration::from_millis(1)
        };
        let renewal = match not_renewed {
            Some((_, again)) => {
                again.map_or(DECIDE_AGAIN_MAX, |again| again.saturating_duration_since(moment.instant))
            }
            None => until(self.renew_at),
        };
        self.expires_at.map_or(DECIDE_AGAIN_MAX, until).min(renewal).min(DECIDE_AGAIN_MAX)
    }
}
