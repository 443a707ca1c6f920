//! What an answer of FunctionGraph means: for the object, for the endpoint, and for the credential.

use crate::api::ProviderKey;
use crate::api::invocation::{
    ErrorClass, Execution, ExecutionStatus, FunctionInvocationSpec, InvocationResult, Summary, SyncOptions,
};
use crate::context::Context;
use crate::context::providers::{Access, Permit};
use crate::credential::CLOCK_DIFFERS;
use crate::gate::{Level, Signal};
use crate::lifecycle::{Acceptance, Executed, Reply, Trouble, backoff};
use functiongraph::answer::SyncResult;
use functiongraph::{Answer, CredentialKind, Kind, SendError, Verdict};
use std::time::Duration;

/// The longest pause of an account, of a function, or of logins that a `Retry-After` can cause.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(15);

/// The longest beginning of a function's result that a status keeps, in bytes.
const MAX_RESULT_BYTES: usize = 8192;

/// What the answer to an invocation means for the object and for the endpoint. `strict_503`: a 503 without an error code
/// of the service is ambiguous.
pub fn judge(
    answer: &Answer,
    spec: &FunctionInvocationSpec,
    kind: Kind,
    credential: CredentialKind,
    strict_503: bool,
) -> (Reply, Signal) {
    let retry_after = answer.retry_after.map(|asked| backoff::clamp_retry_after(asked, &spec.retry_policy));
    let verdict = answer.verdict(kind, credential);
    let class = match verdict {
        Verdict::Accepted => {
            let acceptance = Acceptance {
                request_id: answer.request_id.clone(),
                instance_id: answer.instance_id.clone(),
                executed: answer.sync.as_ref().map(|result| Box::new(executed(result, spec))),
            };
            return (Reply::Accepted(acceptance), signal(verdict, answer));
        }
        Verdict::Unavailable { by_the_service } if strict_503 && !by_the_service => {
            return (trouble(ErrorClass::Ambiguous, answer, retry_after), Signal::Unreachable);
        }
        Verdict::Throttled => ErrorClass::Throttled,
        Verdict::Unavailable { .. } => ErrorClass::Unavailable,
        Verdict::FunctionDisabled => ErrorClass::FunctionDisabled,
        Verdict::Unauthenticated => ErrorClass::Unauthenticated,
        Verdict::Refused => ErrorClass::Rejected,
        Verdict::Redirected => ErrorClass::Redirected,
        Verdict::Ambiguous => ErrorClass::Ambiguous,
    };
    (trouble(class, answer, retry_after), signal(verdict, answer))
}

/// What it means that an invocation got no answer.
pub fn unanswered(error: &SendError) -> (Reply, Signal) {
    let (class, signal) = match error {
        SendError::NotSent(_) => (ErrorClass::NotSent, Signal::Unreachable),
        SendError::Interrupted(_) => (ErrorClass::Ambiguous, Signal::Unreachable),
        SendError::TimedOut(_) => (ErrorClass::Ambiguous, Signal::Unanswered),
    };
    (Reply::Trouble(Trouble::unanswered(class, error.to_string())), signal)
}

/// What an answer says about the account and the function. No object's `retryAfterMaxSeconds` counts here.
pub fn signal(verdict: Verdict, answer: &Answer) -> Signal {
    match verdict {
        Verdict::Accepted | Verdict::Refused | Verdict::Redirected => Signal::Answered,
        Verdict::FunctionDisabled => Signal::Disabled,
        Verdict::Throttled | Verdict::Unavailable { .. } => {
            let level = if answer.is_about_the_function() { Level::Function } else { Level::Account };
            let retry_after = answer.retry_after.map(|asked| asked.min(LONGEST_RETRY_AFTER));
            Signal::Throttled { level, retry_after }
        }
        Verdict::Unauthenticated => Signal::Unused,
        Verdict::Ambiguous if answer.is_from_the_service() => Signal::FunctionFailed,
        Verdict::Ambiguous if answer.status >= 500 => Signal::Unreachable,
        // A status that nobody expects: the function may be the reason.
        Verdict::Ambiguous => Signal::Unanswered,
    }
}

pub fn message(answer: &Answer) -> String {
    let message = answer.error_message.clone().map(String::from).unwrap_or_default();
    if !answer.is_about_the_clock() {
        return message;
    }
    let date = answer.date.map(|date| format!(", which says {date:.0}")).unwrap_or_default();
    format!("{CLOCK_DIFFERS}{date} ({}). Correct the clock of the node", message.trim_end_matches('.'))
}

/// The kind of error that a reply is; `None` for an acceptance.
pub fn class_of(reply: &Reply) -> Option<ErrorClass> {
    match reply {
        Reply::Accepted(_) => None,
        Reply::Trouble(trouble) => Some(trouble.class),
    }
}

/// Leaves out the service's message and the function's result, because both may repeat an event that is secret.
pub fn without_texts(reply: Reply) -> Reply {
    match reply {
        Reply::Trouble(trouble) if trouble.http_status.is_some() => {
            let message = "what the service said is left out, because the event is from a Secret".into();
            Reply::Trouble(Trouble { message, ..trouble })
        }
        Reply::Accepted(mut acceptance) => {
            if let Some(executed) = &mut acceptance.executed {
                executed.execution.error_message = None;
                (executed.result.body, executed.result.log_tail) = (None, None);
            }
            Reply::Accepted(acceptance)
        }
        reply @ Reply::Trouble(_) => reply,
    }
}

/// Ends the permit of a call about executions that did not succeed, and says in a sentence what FunctionGraph answered.
pub fn refused_call(
    context: &Context,
    provider: &ProviderKey,
    access: &Access,
    permit: Permit,
    answer: &Answer,
) -> String {
    let verdict = answer.verdict_of_call(access.credential.kind());
    let parts = [Some(answer.status.to_string()), answer.error_code.clone()];
    let label = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let message = message(answer);
    let why = match message.trim_end_matches('.') {
        _ if answer.is_success() => {
            format!("FunctionGraph answered {label} with something else than was asked for.")
        }
        "" => format!("FunctionGraph answered {label}."),
        text => format!("FunctionGraph answered {label}: {text}."),
    };
    if verdict == Verdict::Unauthenticated {
        refuse_credential(context, provider, access, &message);
    }
    let signal = signal(verdict, answer);
    if signal == Signal::Unreachable {
        permit.complain(&why);
    }
    permit.leave(signal);
    why
}

/// FunctionGraph refused the credential. It is read again at once, because its Secret may have changed already.
pub fn refuse_credential(context: &Context, provider: &ProviderKey, access: &Access, message: &str) {
    context.providers.refuse(provider, access, message);
    context.providers.ask_to_check(provider);
}

fn trouble(class: ErrorClass, answer: &Answer, retry_after: Option<Duration>) -> Reply {
    Reply::Trouble(Trouble {
        class,
        http_status: Some(answer.status),
        code: answer.error_code.clone(),
        message: message(answer),
        gateway_request_id: answer.gateway_request_id.clone(),
        retry_after,
    })
}

/// The end of an execution that came with the answer, and as much of the result as the spec asks for.
fn executed(answer: &SyncResult, spec: &FunctionInvocationSpec) -> Executed {
    let SyncResult { function_error, summary, log, body, truncated } = answer;
    let SyncOptions { log_tail, capture_result } = spec.sync.unwrap_or_default();
    let status = if function_error.is_some() { ExecutionStatus::Fail } else { ExecutionStatus::Success };
    let execution =
        Execution { status: Some(status), error_code: function_error.clone(), ..Execution::default() };
    let kept = &body[..body.floor_char_boundary(MAX_RESULT_BYTES)];
    let result = InvocationResult {
        summary: summary.map(|summary| Summary {
            duration: summary.duration_ms,
            billing_duration: summary.billing_duration_ms,
            memory_size: summary.memory_size_mb,
            memory_used: summary.memory_used_mb,
        }),
        log_tail: log.clone().filter(|_| log_tail).map(String::from),
        truncated: capture_result.then_some(kept.len() < body.len() || *truncated),
        body: capture_result.then(|| kept.to_owned()),
    };
    Executed { execution, result }
}
