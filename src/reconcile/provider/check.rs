//! Checks a provider's credential by a call of the operator's own, before an invocation is sent with it.

use super::identity::CALL_TIMEOUT;
use crate::api::provider::ProtocolVersion;
use crate::api::{ProviderKey, Reason};
use crate::clock;
use crate::context::Context;
use crate::context::providers::Access;
use crate::credential::{Call, Event, Failure, Proof};
use crate::gate::{Caller, FunctionKey, Phase, Signal, Ticket};
use crate::lifecycle;
use crate::reconcile::answer::{LONGEST_RETRY_AFTER, message, signal};
use functiongraph::{Answer, Client, Credential, CredentialKind, Protocol, SendError, Verdict};
use std::time::{Duration, Instant};

/// An endpoint that failed is checked again this soon while invocations wait to try it.
const OTHERS_TRY_INTERVAL: Duration = Duration::from_secs(5);

/// Asks FunctionGraph for something harmless.
pub async fn ask(
    client: &Client,
    protocol: ProtocolVersion,
    project_id: &str,
    credential: &Credential,
) -> Result<Answer, SendError> {
    let protocol = match protocol {
        ProtocolVersion::V1 => Protocol::V1,
        ProtocolVersion::V2 | ProtocolVersion::Other => Protocol::V2,
    };
    client.check_credential(project_id, protocol, credential, clock::now(), CALL_TIMEOUT).await
}

/// What the answer shows of the credential.
pub fn event(result: Result<Answer, SendError>, credential: CredentialKind) -> Event {
    let answer = match result {
        Ok(answer) => answer,
        Err(error) => {
            let cause = error.cause();
            let remedy = lifecycle::remedy(cause);
            let message = format!(
                "FunctionGraph cannot be reached: {}.{remedy} The operator tries again until it answers.",
                cause.trim_end_matches('.')
            );
            return unproven(Reason::EndpointUnreachable, message, None);
        }
    };
    let said = said(&answer);
    let unproven = |reason, message| unproven(reason, message, answer.retry_after);
    match answer.verdict_of_call(credential) {
        Verdict::Accepted => Event::Checked(Proof::Accepted),
        // The gateway looks for the API before it looks at the credential.
        Verdict::Refused if is_of_no_api(&answer) => Event::Checked(Proof::Unchecked { said, used: false }),
        Verdict::Refused => Event::Checked(Proof::Restricted(said)),
        Verdict::Unauthenticated => {
            let words = Some(message(&answer)).filter(|text| !text.is_empty());
            Event::Refused(Call::Check, words.unwrap_or(said))
        }
        Verdict::Throttled | Verdict::FunctionDisabled => unproven(
            Reason::Throttled,
            format!(
                "FunctionGraph answered {said}, so the credential is not checked yet. The operator tries again until it is."
            ),
        ),
        Verdict::Redirected => unproven(
            Reason::EndpointUnreachable,
            format!(
                "The endpoint answered {said}. The operator does not follow redirects. Correct spec.endpoint. The operator tries again."
            ),
        ),
        Verdict::Unavailable { .. } | Verdict::Ambiguous => unproven(
            Reason::EndpointUnreachable,
            format!("FunctionGraph answered {said}. The operator tries again until it is available."),
        ),
    }
}

fn unproven(reason: Reason, message: String, asked: Option<Duration>) -> Event {
    let asked = asked.map(|asked| asked.min(LONGEST_RETRY_AFTER));
    Event::Failed(Call::Check, Failure::Unproven(reason, message, asked))
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

/// Tries an endpoint that failed again and again, once its pause is over and if no invocation does. Says when to check
/// it again; `None` if it answers.
pub async fn try_again(context: &Context, key: &ProviderKey, access: &Access) -> Option<Duration> {
    let providers = &context.providers;
    if !providers.is_suspect(key) {
        return None;
    }
    let until = |time: Instant| time.saturating_duration_since(clock::monotonic());
    if let Phase::BreakerOpen { until: time } = providers.state(key).phase {
        return Some(until(time));
    }
    let namespace = access.provider.meta().namespace.as_deref().unwrap_or_default();
    let Some(_turn) = providers.turn(&access.used.source.principal.id, namespace).await else {
        return Some(OTHERS_TRY_INTERVAL);
    };
    let ticket = Ticket { caller: Caller::Check, function: FunctionKey::default() };
    let Some(mut permit) = providers.enter(key, ticket) else {
        providers.forget(key, &Caller::Check);
        return Some(OTHERS_TRY_INTERVAL);
    };
    let Ok(_kept) = access.client.keep().await else { return Some(OTHERS_TRY_INTERVAL) };
    permit.used(access);
    let Access { client, credential, .. } = access;
    let result = ask(client, access.spec().protocol_version, access.project_id(), credential).await;
    let signal = match &result {
        Ok(answer) => signal(answer.verdict_of_call(access.credential.kind()), answer),
        Err(_) => Signal::Unreachable,
    };
    match event(result, access.credential.kind()) {
        Event::Refused(_, why) => {
            providers.refuse(key, access, &why);
            providers.ask_to_check(key);
        }
        Event::Failed(_, Failure::Unproven(_, message, _)) => permit.complain(&message),
        Event::Failed(..) | Event::Checked(_) | Event::ProjectFound(_) => {}
    }
    permit.leave(signal);
    match providers.state(key).phase {
        Phase::BreakerOpen { until: time } => Some(until(time)),
        Phase::Probing => Some(OTHERS_TRY_INTERVAL),
        Phase::Shut | Phase::Paused { .. } | Phase::Open => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::CLOCK_DIFFERS;
    use functiongraph::Kind;
    use http::HeaderMap;

    fn answer(status: u16, body: &str) -> Answer {
        Answer::from_parts(Kind::Async, Protocol::V2, status, &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn each_answer_proves_what_it_can_prove() {
        let unchecked = || Event::Checked(Proof::Unchecked { said: "404 APIG.0101".into(), used: false });
        let restricted = |said: &str| Event::Checked(Proof::Restricted(said.into()));
        for (status, body, expected) in [
            (200, r#"{"functions":[]}"#, Event::Checked(Proof::Accepted)),
            (403, r#"{"error_code":"FSS.1126","error_msg":"No."}"#, restricted("403 FSS.1126: No")),
            (404, r#"{"error_code":"FSS.0404"}"#, restricted("404 FSS.0404")),
            (401, r#"{"error_code":"FSS.1118"}"#, restricted("401 FSS.1118")),
            (404, r#"{"error_code":"APIG.0101"}"#, unchecked()),
            (
                401,
                r#"{"error_code":"APIG.0301","error_msg":"ak not exist"}"#,
                Event::Refused(Call::Check, "ak not exist".into()),
            ),
            (401, r#"{"error_code":"APIG.0301"}"#, Event::Refused(Call::Check, "401 APIG.0301".into())),
            (
                401,
                r#"{"error_code":"APIG.0301","error_msg":"calc ak sk signature fail:signature expired"}"#,
                Event::Refused(
                    Call::Check,
                    format!(
                        "{CLOCK_DIFFERS} (calc ak sk signature fail:signature expired). Correct the clock of the node"
                    ),
                ),
            ),
        ] {
            assert_eq!(
                event(Ok(answer(status, body)), CredentialKind::AccessKey),
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
            let found = event(Ok(answer(status, "")), CredentialKind::AccessKey);
            assert!(
                matches!(&found, Event::Failed(_, Failure::Unproven(reason, ..)) if *reason == expected),
                "{status}: {found:?}"
            );
        }
        let cut = Err(SendError::NotSent("invalid peer certificate: UnknownIssuer".into()));
        let Event::Failed(_, Failure::Unproven(_, message, _)) = event(cut, CredentialKind::Token) else {
            panic!("it proves nothing")
        };
        assert!(message.contains("Add it to spec.caBundle of the provider. The operator tries"), "{message}");
    }
}
