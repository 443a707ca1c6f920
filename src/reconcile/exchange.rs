//! One exchange with FunctionGraph: the only place from which an invocation is sent.

use super::provider::Access;
use crate::api::FunctionInvocation;
use crate::api::invocation::{ErrorClass, RetryPolicy};
use crate::clock;
use crate::context::Context;
use crate::gate::Signal;
use crate::kubernetes::status::Claim;
use crate::lifecycle::{Reply, Trouble, backoff};
use functiongraph::{Answer, Credential, FunctionUrn, Invocation, Kind, Protocol, SendError, Verdict};
use std::sync::Arc;
use std::time::Duration;

/// The longest pause of a whole provider that a `Retry-After` can cause.
const GATE_PAUSE: Duration = Duration::from_mins(15);

/// The one way in which events are sent.
const KIND: Kind = Kind::Async;

/// Everything about a request that could fail, done before the claim.
pub struct Prepared {
    /// Where and as whom.
    pub access: Arc<Access>,
    /// What is invoked.
    pub urn: FunctionUrn,
    /// The event, if it does not stand in the object itself.
    pub event: Option<Vec<u8>>,
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
pub async fn send(context: &Context, provider: &str, prepared: &Prepared, claim: Claim) -> Exchange {
    let number = claim.number();
    let object = claim.spend();
    let uid = object.metadata.uid.clone().unwrap_or_default();
    let inline = || object.spec.payload.as_ref().map(|payload| payload.as_str().as_bytes().to_vec());
    let event = prepared.event.clone().or_else(inline).unwrap_or_else(|| b"{}".to_vec());
    let timeout = Duration::from_secs(object.spec.request_timeout_seconds.unsigned_abs());
    let Access { client, credential, .. } = &*prepared.access;

    let invocation = Invocation {
        urn: &prepared.urn,
        kind: KIND,
        protocol: Protocol::V2,
        event: event.into(),
        instance_memory_mb: None,
    };

    let started = clock::monotonic();
    // From this line on a byte may have been written, and this attempt is never sent again.
    context.journal.sent(&uid, number);
    let result = client.invoke(invocation, credential, clock::now(), timeout).await;
    let took = clock::monotonic().duration_since(started);

    let http_status = result.as_ref().ok().map(|answer| answer.status);
    context.metrics.requested(provider, http_status, took);
    let (reply, signal, unauthenticated) = match result {
        Ok(answer) => judge(context, &object.spec.retry_policy, credential, &answer),
        Err(error) => failed(&error),
    };
    let reply = scrub(reply, credential);
    let reply = if object.spec.has_secret_event() { without_words(reply) } else { reply };
    context.journal.answered(&uid, number, reply.clone());
    context.metrics.attempted(provider, class_of(&reply));
    Exchange { object, number, reply, signal, unauthenticated }
}

fn judge(
    context: &Context,
    policy: &RetryPolicy,
    credential: &Credential,
    answer: &Answer,
) -> (Reply, Signal, bool) {
    let retry_after = answer.retry_after.map(|asked| backoff::clamp_retry_after(asked, policy));
    // One object's patience must not hold up its neighbours for longer than this.
    let throttled = Signal::Throttled { retry_after: retry_after.map(|asked| asked.min(GATE_PAUSE)) };
    let (class, signal) = match answer.verdict(KIND, credential.kind()) {
        Verdict::Accepted => {
            return (Reply::Accepted { request_id: answer.request_id.clone() }, Signal::Clean, false);
        }
        Verdict::Throttled => (ErrorClass::Throttled, throttled),
        Verdict::Unavailable { by_the_service } if context.options.strict_503 && !by_the_service => {
            (ErrorClass::Ambiguous, Signal::Trouble)
        }
        Verdict::Unavailable { .. } => (ErrorClass::Unavailable, throttled),
        Verdict::FunctionDisabled => (ErrorClass::FunctionDisabled, Signal::Clean),
        Verdict::Unauthenticated => (ErrorClass::Unauthenticated, Signal::Unused),
        Verdict::Refused => (ErrorClass::Rejected, Signal::Clean),
        Verdict::Redirected => (ErrorClass::Redirected, Signal::Clean),
        Verdict::Ambiguous => (ErrorClass::Ambiguous, Signal::Trouble),
    };
    let trouble = Trouble {
        class,
        http_status: Some(answer.status),
        code: answer.error_code.clone(),
        message: answer.error_message.clone().unwrap_or_default(),
        gateway_request_id: answer.gateway_request_id.clone(),
        retry_after,
    };
    (Reply::Trouble(trouble), signal, class == ErrorClass::Unauthenticated)
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

/// What metrics call an answer.
pub fn class_of(reply: &Reply) -> &'static str {
    match reply {
        Reply::Accepted { .. } => "Accepted",
        Reply::Trouble(trouble) => trouble.class.as_str(),
    }
}

/// Takes the credential out of texts that will be kept, should a server have echoed it.
fn scrub(reply: Reply, credential: &Credential) -> Reply {
    match reply {
        Reply::Accepted { request_id } => Reply::Accepted { request_id },
        Reply::Trouble(trouble) => Reply::Trouble(Trouble {
            message: credential.scrub(&trouble.message),
            code: trouble.code.map(|code| credential.scrub(&code)),
            ..trouble
        }),
    }
}

/// Leaves out what the service said, which may repeat the event.
fn without_words(reply: Reply) -> Reply {
    match reply {
        Reply::Trouble(trouble) if trouble.http_status.is_some() => {
            let message = "what the service said is left out, because the event is from a Secret".into();
            Reply::Trouble(Trouble { message, ..trouble })
        }
        reply => reply,
    }
}
