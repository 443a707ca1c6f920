//! Exchanges a provider's source for a credential, early enough, and not more often than it helps.

use super::Obstacle;
use super::exchange::{CALL, Failure, exchange, iam};
use super::source::{Material, Source};
use crate::api::{AnyProvider, Condition, ConditionType, Reason};
use crate::clock;
use crate::context::Context;
use crate::context::providers::{Held, HeldKey, Key, Refused, Setback};
use crate::reconcile::Error;
use crate::reconcile::answer::{CLOCK, LONGEST_RETRY_AFTER};
use functiongraph::Credential;
use functiongraph::login::{Login, renew_at};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// When to renew a credential of which nobody said when it ends: the shortest that the service makes lives 15 minutes.
const UNKNOWN: SignedDuration = SignedDuration::from_mins(10);

/// The pause after the first failure of an identity service; it doubles with each one in a row.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// How far the clocks of two replicas may be apart.
const SKEW: SignedDuration = SignedDuration::from_mins(1);

/// A credential is looked at again after this long at the latest: timers do not notice when the clock jumps, or when the
/// machine sleeps.
const LOOK: Duration = Duration::from_mins(10);

/// What to send with, for the moment.
pub struct Credentials {
    /// As whom.
    pub credential: Credential,
    /// Which login brought it; 0 if none was needed.
    pub login: u64,
    /// When it ends, if that is known.
    pub expires_at: Option<Timestamp>,
    /// The project that it is for, if it said so.
    pub project_id: Option<String>,
    /// Why it could not be renewed, if it could not.
    pub not_renewed: Option<String>,
    /// When to look at it again.
    pub look_again: Option<Duration>,
}

/// The credential that a source stands for: itself, the one that is held, or a new one.
///
/// There is never more than one login of a provider at a time, because there is never more than one look at it.
///
/// # Errors
/// When the API server did not answer.
pub async fn credentials(
    provider: &AnyProvider,
    context: &Context,
    key: &Key,
    source: &Source<'_>,
) -> Result<Result<Credentials, Obstacle>, Error> {
    let (now, moment) = (clock::now(), clock::monotonic());
    let exchanged = source.material.is_exchanged();
    let refusal = context.providers.refusal(key).filter(|refusal| refusal.is_of(&source.origin.version));
    if let Some(refusal) = &refusal
        && refusal.holds(exchanged, source.pause(refusal.at_step), moment)
    {
        return Ok(Err(refused(source, refusal.at_step, &refusal.message)));
    }
    if let Some(obstacle) = held_back(context, key, source) {
        return Ok(Err(obstacle));
    }
    if let Material::Credential(credential) = &source.material {
        if let Some(obstacle) = refused_elsewhere(provider, context, source, now) {
            return Ok(Err(obstacle));
        }
        return Ok(Ok(Credentials {
            credential: credential.clone(),
            login: 0,
            expires_at: None,
            project_id: None,
            not_renewed: None,
            look_again: None,
        }));
    }
    let logins = context.providers.logins(key);
    let held = logins.held.filter(|held| held.is_good(&source.origin.version, refusal.as_ref(), now));
    if let Some(held) = &held
        && now < held.renew_at
    {
        return Ok(Ok(in_use(held.clone(), None, now)));
    }
    if held.is_none()
        && let Some(obstacle) = refused_elsewhere(provider, context, source, now)
    {
        return Ok(Err(obstacle));
    }
    let setback = logins.setback.filter(|setback| setback.secret_version == source.origin.version);
    let failed = match setback {
        Some(setback) if moment < setback.next_try => setback,
        setback => match exchange(provider, context, &source.material).await? {
            Ok(login) => {
                let held = keep(context, key, &source.origin.version, login);
                tracing::info!(provider = %key, expires_at = ?held.expires_at, "logged in");
                return Ok(Ok(in_use(held, None, clock::now())));
            }
            Err(Failure::Obstacle(obstacle)) => match held {
                Some(held) => {
                    let why = obstacle.1.trim_end_matches('.').to_owned();
                    return Ok(Ok(in_use(held, Some((why, context.options.secret_poll)), now)));
                }
                None => return Ok(Err(obstacle)),
            },
            Err(Failure::Refused { why, of_credential }) if of_credential || held.is_none() => {
                tracing::warn!(provider = %key, why, "a login was refused");
                context.providers.refuse_step(key, &source.origin, Refused::Login, why.clone());
                return Ok(Err(refused(source, Refused::Login, &why)));
            }
            // Nobody has said that what is held is not good any more.
            Err(Failure::Refused { why, .. }) => {
                let pause = source.pause(Refused::Login);
                set_back(context, key, source, 1, pause, why, true)
            }
            Err(Failure::Passing(why, asked)) => {
                let times = setback.map_or(0, |setback| setback.times).saturating_add(1);
                let pause = pause(times, asked, clock::chance());
                set_back(context, key, source, times, pause, why, false)
            }
        },
    };
    let (now, moment) = (clock::now(), clock::monotonic());
    let next_try = failed.next_try.saturating_duration_since(moment);
    if let Some(held) = held.filter(|held| held.expires_at.is_none_or(|end| end > now)) {
        return Ok(Ok(in_use(held, Some((failed.why, next_try)), now)));
    }
    if failed.refused {
        return Ok(Err(refused(source, Refused::Login, &failed.why)));
    }
    let why = format!(
        "No credential could be had for {}: {}. It is tried again until it works.",
        source.name,
        failed.why.trim_end_matches('.')
    );
    Ok(Err(Obstacle(Reason::EndpointUnreachable, why)))
}

/// Remembers why a login did not work, and when it is tried again.
fn set_back(
    context: &Context,
    key: &Key,
    source: &Source<'_>,
    times: u32,
    pause: Duration,
    why: String,
    refused: bool,
) -> Setback {
    tracing::warn!(provider = %key, why, retry_in = ?pause, "a login failed");
    let next_try = clock::monotonic() + pause;
    let secret_version = source.origin.version.clone();
    let setback = Setback { secret_version, times, next_try, why, refused };
    context.providers.change_logins(key, |logins| logins.setback = Some(setback.clone()));
    setback
}

/// What another replica, or this one before a restart, was told of this very Secret: it is not tried by each of them.
fn refused_elsewhere(
    provider: &AnyProvider,
    context: &Context,
    source: &Source<'_>,
    now: Timestamp,
) -> Option<Obstacle> {
    let status = provider.status()?;
    let refusal = status.credential_refusal.as_ref()?;
    let is_this = Some(&refusal.secret_resource_version) == source.origin.resource_version.as_ref()
        && status.observed_generation == provider.meta().generation;
    let age = now.duration_since(refusal.time);
    // A time in the future is that of a clock that is wrong, or of somebody who may write what he likes.
    let pause = source.pause(Refused::Login) + apart(&context.holder);
    let is_recent = age > -SKEW && age < SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
    if !is_this || !is_recent || context.providers.has_proven(source.credential()) {
        return None;
    }
    let ready = Condition::find(&status.conditions, ConditionType::Ready)?;
    (ready.reason == Reason::CredentialsInvalid)
        .then(|| Obstacle(Reason::CredentialsInvalid, ready.message.clone()))
}

/// Replicas come back to a refused credential one after the other: the first to try says for all what came of it.
fn apart(holder: &str) -> Duration {
    let number = holder.get(..4).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default();
    Duration::from_secs(number % 60)
}

/// Why an access key must not be tried, if it must not.
pub fn held_back(context: &Context, key: &Key, source: &Source<'_>) -> Option<Obstacle> {
    Some(match context.providers.held_key(key, source.key.as_ref()?, &source.origin)? {
        HeldKey::Refused(failure) => refused(source, Refused::Credential, &failure.message),
        HeldKey::Locked(_) => locked(source),
    })
}

/// What a provider says while too many keys of one id were refused.
fn locked(source: &Source<'_>) -> Obstacle {
    // No time that is left: it would be another text, and another write, at each look.
    let why = format!(
        "The access key id of {} was refused with several secrets in a row, and one more could lock it for everybody: it is tried again within five minutes or so.",
        source.name
    );
    Obstacle(Reason::CredentialsInvalid, why)
}

/// What a provider says of a refusal, at once and until it is tried again.
pub fn refused(source: &Source<'_>, step: Refused, message: &str) -> Obstacle {
    let (name, message) = (&source.name, message.trim_end_matches('.'));
    let why = match step {
        Refused::Credential if message.starts_with(CLOCK) => {
            format!(
                "The service does not accept the signature, because {message}, and the operator tries again."
            )
        }
        Refused::Credential => format!("The service does not accept {name}: {message}. {}", source.remedy),
        Refused::Login => {
            format!("The identity service does not accept {name}: {message}. {}", source.remedy)
        }
        Refused::Project => {
            format!("The project cannot be looked up: {message}. Set spec.projectID, or correct the cause.")
        }
    };
    Obstacle(Reason::CredentialsInvalid, why)
}

/// The credential that is held, and when to look at it again: when it shall be renewed, or at the latest when it ends.
fn in_use(held: Held, not_renewed: Option<(String, Duration)>, now: Timestamp) -> Credentials {
    let until = |time: Timestamp| {
        // Rounded up, so that the time has come when we look.
        time.duration_since(now).unsigned_abs() + Duration::from_millis(1)
    };
    let renewal = match &not_renewed {
        Some((_, next_try)) => *next_try,
        None => until(held.renew_at.max(now)),
    };
    let end = held.expires_at.map_or(LOOK, |end| until(end.max(now)));
    let look_again = renewal.min(end).min(LOOK);
    Credentials {
        credential: held.credential,
        login: held.login,
        expires_at: held.expires_at,
        project_id: held.project_id,
        not_renewed: not_renewed.map(|(why, _)| why),
        look_again: Some(look_again),
    }
}

/// Remembers what a login brought.
fn keep(context: &Context, key: &Key, version: &str, login: Login) -> Held {
    let now = clock::now();
    let Login { credential, expires_at, project_id } = login;
    let renew_at = match expires_at {
        Some(end) => renew_at(now, end),
        None => now.checked_add(UNKNOWN).unwrap_or(Timestamp::MAX),
    };
    let secret_version = version.to_owned();
    let mut held = Held { secret_version, login: 0, credential, expires_at, renew_at, project_id };
    context.providers.step_worked(key, Refused::Login, |logins| {
        logins.count += 1;
        held.login = logins.count;
        logins.held = Some(held.clone());
    });
    held
}

/// How long to wait after a failure: between half and all of a pause that doubles, or as long as the service asked, up
/// to what it could ask for anywhere else.
pub fn pause(times: u32, asked: Option<Duration>, chance: u64) -> Duration {
    let full = FIRST_PAUSE.saturating_mul(1 << (times - 1).min(8)).min(LONGEST_PAUSE);
    let half = full / 2;
    let jitter = Duration::from_millis(chance % u64::try_from(half.as_millis()).unwrap_or(1).max(1));
    asked.unwrap_or_default().min(LONGEST_RETRY_AFTER).max(half + jitter)
}

/// The id of the project that has the name of the provider's region, asked for once for each source.
///
/// # Errors
/// Why it is not known.
pub async fn project(
    provider: &AnyProvider,
    context: &Context,
    key: &Key,
    source: &Source<'_>,
    credential: &Credential,
) -> Result<String, Obstacle> {
    let spec = provider.spec();
    let logins = context.providers.logins(key);
    if let Some((of, project)) = logins.project
        && of == source.origin.version
    {
        return Ok(project);
    }
    if let Some(setback) = logins.setback.filter(|setback| setback.secret_version == source.origin.version)
        && clock::monotonic() < setback.next_try
    {
        return Err(unknown_project(&setback.why));
    }
    let iam = iam(spec, context)?;
    let turn = match &source.key {
        Some(name) => context.providers.turn(name).await,
        None => None,
    };
    // What came of it for another provider meanwhile.
    if let Some(obstacle) = turn.as_ref().and_then(|_| held_back(context, key, source)) {
        return Err(obstacle);
    }
    match iam.project_id(&spec.region, credential, clock::now(), CALL).await {
        Ok(project) => {
            if let Some(name) = &source.key {
                context.providers.accept_key(name);
            }
            let found = Some((source.origin.version.clone(), project.clone()));
            context.providers.step_worked(key, Refused::Project, |logins| logins.project = found);
            Ok(project)
        }
        Err(error) => Err(match Failure::from(error) {
            Failure::Obstacle(obstacle) => obstacle,
            Failure::Refused { why, of_credential } => {
                if let Some(name) = source.key.as_ref().filter(|_| of_credential) {
                    context.providers.refuse_key(name, why.clone());
                }
                context.providers.refuse_step(key, &source.origin, Refused::Project, why.clone());
                refused(source, Refused::Project, &why)
            }
            Failure::Passing(why, asked) => {
                let pause = pause(1, asked, clock::chance()).max(Duration::from_secs(10));
                let setback = Setback {
                    secret_version: source.origin.version.clone(),
                    times: 1,
                    next_try: clock::monotonic() + pause,
                    why: why.clone(),
                    refused: false,
                };
                context.providers.change_logins(key, |logins| logins.setback = Some(setback));
                unknown_project(&why)
            }
        }),
    }
}

fn unknown_project(why: &str) -> Obstacle {
    let why = format!(
        "The project could not be looked up: {why}. It is tried again; spec.projectID makes it unnecessary."
    );
    Obstacle(Reason::EndpointUnreachable, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_follow_what_the_service_asks() {
        let seconds = Duration::from_secs;
        for (times, least, most) in [(1, 1, 2), (2, 2, 4), (5, 16, 32), (6, 30, 60), (99, 30, 60)] {
            for chance in [0, 1, u64::MAX / 3, u64::MAX] {
                let pause = pause(times, None, chance);
                assert!(seconds(least) <= pause && pause <= seconds(most), "{times}: {pause:?}");
            }
        }
        assert_eq!(pause(1, Some(seconds(7)), 0), seconds(7));
        assert_eq!(pause(1, Some(seconds(300)), 0), seconds(300));
        assert_eq!(pause(1, Some(seconds(7000)), 0), LONGEST_RETRY_AFTER);
        assert_eq!(pause(1, Some(Duration::MAX), 0), LONGEST_RETRY_AFTER);
    }

    #[test]
    fn a_held_credential_is_looked_at_when_it_is_to_be_renewed_and_at_the_latest_when_it_ends() {
        let now = clock::now();
        let held = |renew: i64, end: Option<i64>| Held {
            secret_version: "v".into(),
            login: 1,
            credential: Credential::token("t").unwrap(),
            expires_at: end.map(|end| now + SignedDuration::from_secs(end)),
            renew_at: now + SignedDuration::from_secs(renew),
            project_id: None,
        };
        let whole = |credentials: Credentials| credentials.look_again.unwrap().as_secs();
        assert_eq!(whole(in_use(held(20, Some(30)), None, now)), 20);
        assert_eq!(whole(in_use(held(20, None), None, now)), 20);
        assert_eq!(whole(in_use(held(20_000, Some(22_000)), None, now)), 600);
        assert_eq!(whole(in_use(held(20_000, None), None, now)), 600);
        let failed = |seconds| Some(("no".to_owned(), Duration::from_secs(seconds)));
        assert_eq!(whole(in_use(held(20, Some(30)), failed(5), now)), 5);
        assert_eq!(whole(in_use(held(20, Some(30)), failed(60), now)), 30);
        let kept = in_use(held(20, Some(30)), failed(5), now);
        assert_eq!(kept.not_renewed.as_deref(), Some("no"));
    }
}
