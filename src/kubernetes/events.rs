//! Publishes Events in the background. A full queue drops new ones, because an Event must never delay the change that
//! it explains.

use super::bounded;
use crate::api::Reason;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;

/// Maximum number of queued Events. The first Events of a burst of failures are enough.
const MAX_QUEUED: usize = 256;

/// Maximum length of a note, in bytes. The API server refuses an Event with a longer one.
const MAX_NOTE_BYTES: usize = 1024;

/// A handle to publish Events.
#[derive(Clone)]
pub struct Events(mpsc::Sender<(Event, ObjectReference)>);

impl Events {
    /// Starts the publisher. It ends when the last handle is dropped.
    #[must_use]
    pub fn start(client: Client, instance: String) -> Self {
        let reporter = Reporter { controller: "functiongraph-operator".into(), instance: Some(instance) };
        let recorder = Recorder::new(client, reporter);
        let (sender, mut receiver) = mpsc::channel::<(Event, ObjectReference)>(MAX_QUEUED);
        tokio::spawn(async move {
            while let Some((event, about)) = receiver.recv().await {
                if let Err(error) = bounded(recorder.publish(&event, &about)).await {
                    tracing::debug!(%error, "cannot publish an event");
                }
            }
        });
        Self(sender)
    }

    /// Queues an Event about an object.
    pub fn publish(&self, about: ObjectReference, warning: bool, reason: Reason, note: &str) {
        let event = Event {
            type_: if warning { EventType::Warning } else { EventType::Normal },
            reason: reason.as_str().into(),
            note: Some(note[..note.floor_char_boundary(MAX_NOTE_BYTES)].to_owned()),
            action: "Invoke".into(),
            secondary: None,
        };
        if self.0.try_send((event, about)).is_err() {
            tracing::debug!("dropped an event: the queue is full");
        }
    }
}
