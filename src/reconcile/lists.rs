//! Reads FunctionGraph's lists of executions: one loop for all followed objects. Each object writes its own status.

use super::answer::refused_call;
use crate::api::invocation::{self, Execution};
use crate::clock;
use crate::context::followed::{Line, Topic};
use crate::context::providers::{Access, Permit, Standing};
use crate::context::{Context, Owner};
use crate::gate::{Caller, FunctionKey, Signal, Ticket};
use functiongraph::{ExecutionStatus, FunctionUrn, Listed, Record, Verdict};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// No call about an execution takes longer.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads the lists for ever. `called` brings the tickets of lists whose turn has come, `tell` wakes an object that has
/// news, and `wanted` knows which objects still exist.
pub async fn run(
    context: Arc<Context>,
    mut called: mpsc::UnboundedReceiver<Ticket>,
    wanted: impl Fn(&Owner) -> bool,
    tell: impl Fn(Owner),
) {
    let mut questions = FuturesUnordered::new();
    let mut queued: Vec<(Ticket, Topic)> = Vec::new();
    loop {
        let (due, next) = context.followed.due(&wanted, clock::monotonic());
        // The provider may be gone together with the objects, and then calls nobody.
        queued.retain(|(ticket, topic)| {
            let is_followed = context.followed.is_followed(topic);
            if !is_followed {
                context.providers.forget(&topic.provider, &ticket.caller);
                context.followed.failed(topic, None, clock::monotonic());
            }
            is_followed
        });
        for topic in due {
            let ticket = ticket(&topic);
            match context.providers.enter(&topic.provider, ticket.clone()) {
                Some(permit) => questions.push(ask_guarded(&context, topic, permit)),
                None => queued.push((ticket, topic)),
            }
        }
        tokio::select! {
            Some(owners) = questions.next() => owners.into_iter().for_each(&tell),
            Some(ticket) = called.recv() => {
                let Some(index) = queued.iter().position(|(waiting, _)| *waiting == ticket) else { continue };
                let topic = &queued[index].1;
                if let Some(permit) = context.providers.enter(&topic.provider, ticket) {
                    questions.push(ask_guarded(&context, queued.swap_remove(index).1, permit));
                }
            }
            () = clock::until(next) => {}
            () = context.followed.changed() => {}
        }
    }
}

/// The ticket of a list: it takes turns with the namespaces, so that neither waits long for the other.
fn ticket(Topic { provider, endpoint, urn }: &Topic) -> Ticket {
    let caller = Caller::List {
        provider: provider.to_string(),
        endpoint: endpoint.clone(),
        function: urn.to_string(),
    };
    Ticket { caller, function: FunctionKey { namespace: String::new(), function: urn.to_string() } }
}

/// Asks for one page. A panic ends this round only.
async fn ask_guarded(context: &Context, topic: Topic, permit: Permit) -> Vec<Owner> {
    match AssertUnwindSafe(ask(context, topic.clone(), permit)).catch_unwind().await {
        Ok(owners) => owners,
        Err(_panic) => {
            tracing::error!(provider = %topic.provider, "a defect in the operator: reading a list panicked. Report it");
            context.followed.failed(&topic, None, clock::monotonic())
        }
    }
}

/// Asks for one page, and says which objects have news.
async fn ask(context: &Context, topic: Topic, mut permit: Permit) -> Vec<Owner> {
    let followed = &context.followed;
    // A provider that leads elsewhere by now does not know these requests. Their objects say so themselves.
    let leads_there = |access: &Access| leads_to(access, Some(&topic.endpoint), &topic.urn);
    let access = match context.providers.standing(&topic.provider) {
        Standing::Ready(access) if leads_there(&access) => access,
        Standing::Ready(_) | Standing::NotReady(..) | Standing::Unseen => {
            return followed.failed(&topic, None, clock::monotonic());
        }
    };
    let Some(question) = followed.question(&topic, clock::monotonic()) else { return Vec::new() };
    let Ok(_kept) = access.client.keep().await else {
        return followed.failed(&topic, None, clock::monotonic());
    };
    permit.used(&access);
    context.metrics.listed(&topic.provider);
    let credential = &access.credential;
    let listed =
        access.client.list_async_invocations(&topic.urn, &question, credential, clock::now(), CALL_TIMEOUT);
    let trouble = match listed.await {
        Ok(Listed::Page(page)) => {
            permit.leave(Signal::Answered);
            let lines = page.records.into_iter().map(line).collect();
            let now = (context.now(), clock::monotonic());
            return followed.told(&topic, lines, page.next_marker, page.date, now);
        }
        Ok(Listed::Answer(answer)) if answer.is_success() && followed.shorten(&topic, clock::monotonic()) => {
            permit.leave(Signal::Answered);
            return Vec::new();
        }
        Ok(Listed::Answer(answer)) => {
            let passing = matches!(
                answer.verdict_of_call(access.credential.kind()),
                Verdict::Throttled | Verdict::Unavailable { .. } | Verdict::Unauthenticated
            );
            let why = refused_call(context, &topic.provider, &access, permit, &answer);
            (!passing).then_some(why)
        }
        Err(error) => {
            permit.complain(&error.to_string());
            permit.leave(Signal::Unreachable);
            None
        }
    };
    followed.failed(&topic, trouble, clock::monotonic())
}

/// Whether the provider leads to where a request went. Without an endpoint, it went to where the provider leads.
pub(super) fn leads_to(access: &Access, endpoint: Option<&str>, urn: &FunctionUrn) -> bool {
    urn.region() == access.spec().region
        && urn.project_id() == access.project_id()
        && endpoint.is_none_or(|endpoint| *endpoint == access.client.endpoint().to_string())
}

fn line(record: Record) -> Line {
    let Record { request_id, status, error_code, error_message, start_time, end_time } = record;
    let status = match status {
        ExecutionStatus::Success => invocation::ExecutionStatus::Success,
        ExecutionStatus::Fail => invocation::ExecutionStatus::Fail,
        ExecutionStatus::Discard => invocation::ExecutionStatus::Discard,
        ExecutionStatus::Wait | ExecutionStatus::Running | ExecutionStatus::Other => {
            return (request_id, None);
        }
    };
    let error_message = error_message.map(String::from);
    let execution = Execution { status: Some(status), start_time, end_time, error_code, error_message };
    (request_id, Some(execution))
}
