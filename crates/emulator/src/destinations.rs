//! Delivers what has ended: to a function of this emulator as another invocation, and in any case to the list of
//! deliveries.

use std::sync::Arc;

use functiongraph::urn::FunctionUrn;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::api::Api;
use crate::clock;
use crate::config::Receiver;
use crate::deliveries::{self, Delivery};
use crate::executions::{Event, Finished};
use crate::ledger::LedgerEntry;
use crate::state::State;

/// Delivers everything that ends from now on.
pub(crate) async fn run(state: Arc<State>, mut finished: UnboundedReceiver<Finished>) {
    while let Some(next) = finished.recv().await {
        let mut delivery = deliveries::of(&next, clock::now());
        if delivery.destination == Receiver::FunctionGraph {
            delivery.invocation = invoke(&state, &delivery);
        }
        state.deliveries.add(delivery);
    }
}

/// Invokes the function in the parameters; none if there is no such function.
fn invoke(state: &State, delivery: &Delivery) -> Option<String> {
    let param: Value = serde_json::from_str(&delivery.param).ok()?;
    let urn: FunctionUrn = param["func_urn"].as_str()?.parse().ok()?;
    let target = state.functions.find(urn).ok().filter(|target| !target.function.is_disabled())?;
    let (id, body, now) = (clock::invocation_id(), delivery.event.to_string(), clock::now());
    let urn = target.urn.to_string();
    let entry = LedgerEntry::of(now, Api::InvokeAsync, urn.clone(), id.clone(), body.as_bytes());
    state.ledger.add(entry);
    state.stats.accepted();
    let settings = state.settings.get(&urn).map(|setting| setting.config).unwrap_or_default();
    let event = Event::of(&target.function, urn, id.clone(), now);
    let event = Event {
        body_bytes: body.len(),
        body: body.into(),
        caller: format!("destination of {}", delivery.request_id),
        version: target.version().to_owned(),
        ..event.with(&settings)
    };
    state.executions.queue(&target.function, event);
    Some(id)
}
