//! Publishes Events in the background: a queue that drops when it is full, because an Event explains and
//! must never hold up what it explains.

use super::bounded;
use crate::api::Reason;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;

/// How many Events may wait: a burst of failures is told by its first ones.
const WAITING: usize = 256;

/// The longest note, in bytes: the API server refuses an Event with a longer one.
const NOTE: usize = 1024;

/// Where Events are handed in.
#[derive(Clone)]
pub struct Events(mpsc::Sender<(Event, ObjectReference)>);

impl Events {
    /// Starts the publisher. It ends when the last handle is dropped.
    #[must_use]
    pub fn start(client: Client, instance: String) -> Self {
        let reporter = Reporter { controller: "functiongraph-operator".into(), instance: Some(instance) };
        let recorder = Recorder::new(client, reporter);
        let (sender, mut receiver) = mpsc::channel::<(Event, ObjectReference)>(WAITING);
        tokio::spawn(async move {
            while let Some((event, about)) = receiver.recv().await {
                if let Err(error) = bounded(recorder.publish(&event, &about)).await {
                    tracing::debug!(%error, "an event was not published");
                }
            }
        });
        Self(sender)
    }

    /// Hands in an Event about an object.
    pub fn publish(&self, about: ObjectReference, warning: bool, reason: Reason, note: &str) {
        let event = Event {
            type_: if warning { EventType::Warning } else { EventType::Normal },
            reason: reason.as_str().into(),
            note: Some(note[..note.floor_char_boundary(NOTE)].to_owned()),
            action: "Invoke".into(),
            secondary: None,
        };
        if self.0.try_send((event, about)).is_err() {
            tracing::debug!("an event was dropped: too many are waiting");
        }
    }
}
