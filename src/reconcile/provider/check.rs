//! Checks a provider's credential by a call of the operator's own, before an invocation is sent with it.
//!
//! A key is checked by one provider at a time: the gateway locks a key that fails too often.

use super::login::{held_back, pause, refused};
use super::source::Source;
use super::{Obstacle, exchange::CALL};
use crate::api::Reason;
use crate::api::provider::ProtocolVersion;
use crate::clock;
use crate::context::Context;
use crate::context::providers::{Access, Checked, Key, Proof, Refused, Unanswered};
use crate::gate::{Phase, Signal, Ticket};
use crate::kubernetes::secrets;
use crate::lifecycle;
use crate::reconcile::answer::{message, signal};
use functiongraph::{Answer, CredentialKind, Protocol, SendError, Verdict};
use std::time::{Duration, Instant};

/// Requests in flight while a credential could not be checked: few enough not to lock a key, and more than one, so that
/// a single slow function does not hold up the others.
pub const UNCHECKED_IN_FLIGHT: u32 = 2;

/// An endpoint that failed is looked at again this soon while invocations wait to try it.
const OTHERS_TRY: Duration = Duration::from_secs(5);

/// What an exchange with FunctionGraph says of a credential.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// It was checked, or cannot be.
    Proven(Proof),
    /// It was refused, and in which words.
    Refused(String),
    /// Nothing: what that means for the provider, and how long the service asked to wait.
    Nothing(Reason, String, Option<Duration>),
}

/// Waits for FunctionGraph to accept a credential, unless it has done so already.
///
/// # Errors
/// Why the credential cannot be used now.
pub async fn check(
    context: &Context,
    key: &Key,
    source: &Source<'_>,
    access: &Access,
) -> Result<(), Obstacle> {
    let providers = &context.providers;
    providers.checking(key, access);
    if let Some(known) = remembered(context, access) {
        return known;
    }
    let turn = match &access.key {
        Some(name) => providers.turn(name).await,
        None => None,
    };
    if turn.is_some()
        && let Some(known) = remembered(context, access)
    {
        return known;
    }
    if let Some(obstacle) = refused_meanwhile(context, key, source, access) {
        return Err(obstacle);
    }
    match finding(ask(access).await, access.credential.kind()) {
        Finding::Proven(proof) => {
            providers.remember_check(access, Checked::Proven(proof));
            Ok(())
        }
        Finding::Refused(why) => {
            tracing::warn!(provider = %key, why, "FunctionGraph refused a credential");
            providers.refuse(key, access, &why);
            let may_be_stale = providers
                .refusal(key)
                .is_some_and(|r| !r.holds(source.material.is_exchanged(), source.pause(r.at_step), r.at));
            if may_be_stale {
                providers.ask_to_inspect(key);
            }
            Err(refused(source, Refused::Credential, &why))
        }
        Finding::Nothing(reason, message, asked) => {
            let before = providers.checked(&access.subject);
            let times = match before {
                Some(Checked::Unanswered(before)) => before.times.saturating_add(1),
                Some(Checked::Proven(_)) | None => 1,
            };
            let next_try = clock::monotonic() + pause(times, asked, clock::chance());
            tracing::warn!(provider = %key, why = message, "a credential could not be checked");
            let unanswered = Unanswered { times, next_try, reason, message: message.clone() };
            providers.remember_check(access, Checked::Unanswered(unanswered));
            Err(Obstacle(reason, message))
        }
    }
}

/// What is known already.
fn remembered(context: &Context, access: &Access) -> Option<Result<(), Obstacle>> {
    match context.providers.checked(&access.subject)? {
        Checked::Proven(_) => Some(Ok(())),
        Checked::Unanswered(Unanswered { next_try, reason, message, times: _ }) => {
            (clock::monotonic() < next_try).then_some(Err(Obstacle(reason, message)))
        }
    }
}

/// Why a credential must not be tried, if it was refused since this reconcile began.
fn refused_meanwhile(context: &Context, key: &Key, source: &Source<'_>, access: &Access) -> Option<Obstacle> {
    let of_this = context.providers.refusal(key).filter(|refusal| {
        let same = refusal.is_of(&access.secret_version) && refusal.login == access.login;
        same && refusal.holds(false, source.pause(refusal.at_step), clock::monotonic())
    });
    held_back(context, key, source)
        .or_else(|| of_this.map(|refusal| refused(source, refusal.at_step, &refusal.message)))
}

/// What tells a check from others: a key that several providers have is checked once for each project.
pub fn place(project_id: &str, ca_bundle: Option<&str>) -> String {
    secrets::name_of(&[project_id, ca_bundle.unwrap_or_default()])
}

async fn ask(access: &Access) -> Result<Answer, SendError> {
    let protocol = match access.protocol {
        ProtocolVersion::V1 => Protocol::V1,
        ProtocolVersion::V2 | ProtocolVersion::Other => Protocol::V2,
    };
    let Access { client, credential, project_id, .. } = access;
    client.check_credential(project_id, protocol, credential, clock::now(), CALL).await
}

fn finding(result: Result<Answer, SendError>, credential: CredentialKind) -> Finding {
    let answer = match result {
        Ok(answer) => answer,
        Err(error) => {
            let cause = error.cause();
            let remedy = lifecycle::remedy(cause);
            let message = format!(
                "FunctionGraph cannot be reached: {}.{remedy} The operator tries again until it answers.",
                cause.trim_end_matches('.')
            );
            return Finding::Nothing(Reason::EndpointUnreachable, message, None);
        }
    };
    let said = said(&answer);
    let nothing = |reason, message| Finding::Nothing(reason, message, answer.retry_after);
    match answer.verdict_of_call(credential) {
        Verdict::Accepted => Finding::Proven(Proof::Accepted),
        // The gateway looks for the API before it looks at the credential.
        Verdict::Refused if is_of_no_api(&answer) => Finding::Proven(Proof::Unchecked { said, used: false }),
        Verdict::Refused => Finding::Proven(Proof::Restricted(said)),
        Verdict::Unauthenticated => {
            Finding::Refused(Some(message(&answer)).filter(|text| !text.is_empty()).unwrap_or(said))
        }
        Verdict::Throttled | Verdict::FunctionDisabled => nothing(
            Reason::Throttled,
            format!(
                "FunctionGraph answered {said}, so the credential is not checked yet. The operator tries again until it is."
            ),
        ),
        Verdict::Redirected => nothing(
            Reason::EndpointUnreachable,
            format!(
                "The endpoint answered {said}. Redirects are never followed: correct spec.endpoint. The operator tries again."
            ),
        ),
        Verdict::Unavailable { .. } | Verdict::Ambiguous => nothing(
            Reason::EndpointUnreachable,
            format!("FunctionGraph answered {said}. The operator tries again until it is available."),
        ),
    }
}

/// Whether the gateway knows no such API at this address.
fn is_of_no_api(answer: &Answer) -> bool {
    answer.error_code.as_deref().is_some_and(|code| matches!(code, "APIG.0101" | "APIGW.0101"))
}

/// An answer in words, such as `403 FSS.0403: Forbidden`.
fn said(answer: &Answer) -> String {
    let code = answer.error_code.as_ref().map(|code| format!(" {code}")).unwrap_or_default();
    let message = answer.error_message.as_deref().unwrap_or_default().trim_end_matches('.');
    let message = if message.is_empty() { String::new() } else { format!(": {message}") };
    format!("{}{code}{message}", answer.status)
}

/// What a provider that is ready says of its credential.
#[must_use]
pub fn words(proof: &Proof) -> String {
    match proof {
        Proof::Accepted => "FunctionGraph accepted the credential.".into(),
        Proof::Restricted(said) => format!(
            "FunctionGraph accepted the credential and refused to list functions ({said}). Invoking needs no such permission. If invocations fail too, check spec.projectID and the permissions of the credential."
        ),
        Proof::Unchecked { said, used: _ } => format!(
            "The credential could not be checked, because the endpoint does not know the list of functions ({said}). If invocations fail too, check spec.endpoint and spec.protocolVersion."
        ),
    }
}

/// Tries an endpoint that failed again and again, once its pause is over and if no invocation does. Says when to look
/// at it again; `None` if it answers.
pub async fn try_again(context: &Context, key: &Key, access: &Access) -> Option<Duration> {
    let providers = &context.providers;
    if !providers.is_suspect(key) {
        return None;
    }
    let until = |time: Instant| time.saturating_duration_since(clock::monotonic());
    if let Phase::BreakerOpen { until: time } = providers.state(key).phase {
        return Some(until(time));
    }
    let uid = format!("the check of {key}");
    // No object has such a namespace, so that nobody is called for it.
    let ticket = Ticket { uid: uid.clone(), namespace: "/".into(), name: String::new(), lane: String::new() };
    let Some(mut place) = providers.enter(key, ticket) else {
        providers.forget(key, &uid);
        return Some(OTHERS_TRY);
    };
    place.used(access);
    let result = ask(access).await;
    let signal = match &result {
        Ok(answer) => signal(answer.verdict_of_call(access.credential.kind()), answer.retry_after),
        Err(_) => Signal::Trouble,
    };
    match finding(result, access.credential.kind()) {
        Finding::Refused(why) => {
            providers.refuse(key, access, &why);
            providers.ask_to_inspect(key);
        }
        Finding::Nothing(_, message, _) => place.complain(&message),
        Finding::Proven(_) => {}
    }
    place.leave(signal);
    match providers.state(key).phase {
        Phase::BreakerOpen { until: time } => Some(until(time)),
        Phase::Probing => Some(OTHERS_TRY),
        Phase::Shut | Phase::Paused { .. } | Phase::Open => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::answer::CLOCK;
    use functiongraph::Kind;
    use http::HeaderMap;

    fn answer(status: u16, body: &str) -> Answer {
        Answer::from_parts(Kind::Async, Protocol::V2, status, &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn each_answer_proves_what_it_can_prove() {
        let unchecked = || Finding::Proven(Proof::Unchecked { said: "404 APIG.0101".into(), used: false });
        let restricted = |said: &str| Finding::Proven(Proof::Restricted(said.into()));
        for (status, body, expected) in [
            (200, r#"{"functions":[]}"#, Finding::Proven(Proof::Accepted)),
            (403, r#"{"error_code":"FSS.1126","error_msg":"No."}"#, restricted("403 FSS.1126: No")),
            (404, r#"{"error_code":"FSS.0404"}"#, restricted("404 FSS.0404")),
            (401, r#"{"error_code":"FSS.1118"}"#, restricted("401 FSS.1118")),
            (404, r#"{"error_code":"APIG.0101"}"#, unchecked()),
            (
                401,
                r#"{"error_code":"APIG.0301","error_msg":"ak not exist"}"#,
                Finding::Refused("ak not exist".into()),
            ),
            (401, r#"{"error_code":"APIG.0301"}"#, Finding::Refused("401 APIG.0301".into())),
            (
                401,
                r#"{"error_code":"APIG.0301","error_msg":"calc ak sk signature fail:signature expired"}"#,
                Finding::Refused(format!(
                    "{CLOCK} (calc ak sk signature fail:signature expired). Correct the clock of the node"
                )),
            ),
        ] {
            assert_eq!(
                finding(Ok(answer(status, body)), CredentialKind::AccessKey),
                expected,
                "{status} {body}"
            );
        }
        for (status, expected) in [
            (302, Reason::EndpointUnreachable),
            (408, Reason::EndpointUnreachable),
            (429, Reason::Throttled),
            (500, Reason::EndpointUnreachable),
            (503, Reason::EndpointUnreachable),
        ] {
            let found = finding(Ok(answer(status, "")), CredentialKind::AccessKey);
            assert!(
                matches!(&found, Finding::Nothing(reason, ..) if *reason == expected),
                "{status}: {found:?}"
            );
        }
        let cut = Err(SendError::NotSent("invalid peer certificate: UnknownIssuer".into()));
        let Finding::Nothing(_, message, _) = finding(cut, CredentialKind::Token) else {
            panic!("it proves nothing")
        };
        assert!(
            message.contains("put it into spec.caBundle of the provider. The operator tries"),
            "{message}"
        );
    }
}
