//! One exchange with FunctionGraph: the only place from which an invocation is sent.

use crate::api::FunctionInvocation;
use crate::api::invocation::{
    ErrorClass, Execution, ExecutionStatus, FunctionInvocationSpec, InvocationResult, Summary, SyncOptions,
};
use crate::clock;
use crate::context::providers::Access;
use crate::context::{Context, Owner};
use crate::gate::Signal;
use crate::kubernetes::payload::Event;
use crate::kubernetes::status::Claim;
use crate::lifecycle::{Acceptance, Executed, Reply, Target, Trouble, backoff};
use crate::metrics::class_name;
use crate::traces::Attempt;
use functiongraph::answer::SyncResult;
use functiongraph::{Answer, Credential, FunctionUrn, Invocation, Kind, Protocol, SendError, Verdict};
use std::sync::Arc;
use std::time::Duration;

/// The longest pause of a whole provider, or of its logins, that a `Retry-After` can cause.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(15);

/// What is kept of a function's result, in bytes.
const RESULT: usize = 8192;

/// Everything about a request that could fail, done before the claim.
pub struct Prepared {
    /// Where and as whom.
    pub access: Arc<Access>,
    /// What is invoked.
    pub urn: FunctionUrn,
    /// How.
    pub kind: Kind,
    /// In which version of the API.
    pub protocol: Protocol,
    /// With how much memory, if not the function's own.
    pub instance_memory_mb: Option<u32>,
    /// The event, if it is not in the object itself.
    pub event: Option<Event>,
    /// The size of the event.
    pub event_bytes: usize,
    /// What is claimed: where it goes, and which event.
    pub target: Target,
}

/// What an exchange ended with.
pub struct Exchange {
    /// The object, to write to.
    pub object: FunctionInvocation,
    /// The attempt's number.
    pub number: i64,
    /// What it means for the object.
    pub reply: Reply,
    /// What it says about the endpoint.
    pub signal: Signal,
    /// Whether the service refused the credential.
    pub unauthenticated: bool,
}

/// Sends the attempt that `claim` proves to be ours: once, whatever happens.
pub async fn send(
    context: &Context,
    provider: &str,
    prepared: &Prepared,
    event: Event,
    claim: Claim,
    trace: &mut Attempt,
) -> Exchange {
    let number = claim.number();
    let object = claim.spend();
    let owner = Owner::of(&object);
    let event = event.into_bytes();
    let timeout = Duration::from_secs(object.spec.request_timeout_seconds.unsigned_abs());
    let Access { client, credential, .. } = &*prepared.access;

    let &Prepared { kind, protocol, instance_memory_mb, .. } = prepared;
    let invocation = Invocation { urn: &prepared.urn, kind, protocol, event, instance_memory_mb };

    let started = clock::monotonic();
    // From this line on a byte may have been written, and this attempt is never sent again.
    context.journal.sent(&owner, number);
    trace.step("sent", clock::now());
    let result = client.invoke(invocation, credential, clock::now(), timeout).await;
    let took = clock::monotonic().duration_since(started);

    let http_status = result.as_ref().ok().map(|answer| answer.status);
    trace.step("answered", clock::now());
    context.metrics.requested(provider, http_status, took, trace.trace_id());
    let (reply, signal, unauthenticated) = match result {
        Ok(answer) => judge(context, &object.spec, kind, credential, &answer),
        Err(error) => failed(&error),
    };
    let reply = if object.spec.has_secret_event() { without_words(reply) } else { reply };
    context.journal.answered(&owner, number, reply.clone());
    let class = class_of(&reply);
    trace.came_to(http_status, class_name(class));
    context.metrics.attempted(provider, class);
    Exchange { object, number, reply, signal, unauthenticated }
}

fn judge(
    context: &Context,
    spec: &FunctionInvocationSpec,
    kind: Kind,
    credential: &Credential,
    answer: &Answer,
) -> (Reply, Signal, bool) {
    let retry_after = answer.retry_after.map(|asked| backoff::clamp_retry_after(asked, &spec.retry_policy));
    let verdict = answer.verdict(kind, credential.kind());
    let signal = signal(verdict, retry_after);
    let class = match verdict {
        Verdict::Accepted => {
            let acceptance = Acceptance {
                request_id: answer.request_id.clone(),
                instance_id: answer.instance_id.clone(),
                executed: answer.sync.as_ref().map(|result| Box::new(executed(result, spec))),
            };
            return (Reply::Accepted(acceptance), signal, false);
        }
        Verdict::Unavailable { by_the_service } if context.options.strict_503 && !by_the_service => {
            let reply = trouble(ErrorClass::Ambiguous, answer, retry_after);
            return (reply, Signal::Trouble, false);
        }
        Verdict::Throttled => ErrorClass::Throttled,
        Verdict::Unavailable { .. } => ErrorClass::Unavailable,
        Verdict::FunctionDisabled => ErrorClass::FunctionDisabled,
        Verdict::Unauthenticated => ErrorClass::Unauthenticated,
        Verdict::Refused => ErrorClass::Rejected,
        Verdict::Redirected => ErrorClass::Redirected,
        Verdict::Ambiguous => ErrorClass::Ambiguous,
    };
    (trouble(class, answer, retry_after), signal, class == ErrorClass::Unauthenticated)
}

/// What an answer says about the endpoint.
pub fn signal(verdict: Verdict, retry_after: Option<Duration>) -> Signal {
    match verdict {
        Verdict::Accepted | Verdict::FunctionDisabled | Verdict::Refused | Verdict::Redirected => {
            Signal::Clean
        }
        // One object's patience must not hold up its neighbours for longer than this.
        Verdict::Throttled | Verdict::Unavailable { .. } => {
            Signal::Throttled { retry_after: retry_after.map(|asked| asked.min(LONGEST_RETRY_AFTER)) }
        }
        Verdict::Unauthenticated => Signal::Unused,
        Verdict::Ambiguous => Signal::Trouble,
    }
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

/// How the message of an answer begins that is about the time of the signature.
pub const CLOCK: &str = "the clock of the operator differs from the service's by more than 15 minutes";

/// What an answer says.
pub fn message(answer: &Answer) -> String {
    let said = answer.error_message.clone().map(String::from).unwrap_or_default();
    if !answer.is_about_the_clock() {
        return said;
    }
    let date = answer.date.map(|date| format!(", which says {date:.0}")).unwrap_or_default();
    format!("{CLOCK}{date} ({}). Correct the clock of the node", said.trim_end_matches('.'))
}

/// The end of an execution that came with the answer, and as much of the result as is asked for.
fn executed(answer: &SyncResult, spec: &FunctionInvocationSpec) -> Executed {
    let SyncResult { function_error, summary, log, body, truncated } = answer;
    let SyncOptions { log_tail, capture_result } = spec.sync.unwrap_or_default();
    let status = if function_error.is_some() { ExecutionStatus::Fail } else { ExecutionStatus::Success };
    let execution =
        Execution { status: Some(status), error_code: function_error.clone(), ..Execution::default() };
    let (kept, cut) = beginning(body);
    let result = InvocationResult {
        summary: summary.map(|summary| Summary {
            duration: summary.duration_ms,
            billing_duration: summary.billing_duration_ms,
            memory_size: summary.memory_size_mb,
            memory_used: summary.memory_used_mb,
        }),
        log_tail: log.clone().filter(|_| log_tail).map(String::from),
        truncated: capture_result.then_some(cut || *truncated),
        body: capture_result.then_some(kept),
    };
    Executed { execution, result }
}

/// The beginning of a result, and whether there is more.
fn beginning(text: &str) -> (String, bool) {
    let kept = &text[..text.floor_char_boundary(RESULT)];
    (kept.to_owned(), kept.len() < text.len())
}

fn failed(error: &SendError) -> (Reply, Signal, bool) {
    let class = match error {
        SendError::NotSent(_) => ErrorClass::NotSent,
        SendError::Interrupted(_) => ErrorClass::Ambiguous,
    };
    let trouble = Trouble {
        class,
        http_status: None,
        code: None,
        message: error.to_string(),
        gateway_request_id: None,
        retry_after: None,
    };
    (Reply::Trouble(trouble), Signal::Trouble, false)
}

/// The kind of error that an answer is, if it is none of acceptance.
pub fn class_of(reply: &Reply) -> Option<ErrorClass> {
    match reply {
        Reply::Accepted(_) => None,
        Reply::Trouble(trouble) => Some(trouble.class),
    }
}

/// Leaves out what the service said and what the function returned, which may repeat the event.
fn without_words(reply: Reply) -> Reply {
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
