//! Publishes Events in the background. A full queue drops new ones, because an Event must never delay the change that
//! it explains.

use super::{Error, bounded, with_causes};
use crate::api::Reason;
use crate::clock;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event as Stored;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client};
use tokio::sync::mpsc;

/// Maximum number of queued Events. The first Events of a burst of failures are enough.
const MAX_QUEUED: usize = 256;

/// Maximum length of a note, in bytes. The API server refuses an Event with a longer one.
const MAX_NOTE_BYTES: usize = 1024;

/// kube names an Event after its object, with a dot and 16 digits. With a longer name than this, that is no name.
const MAX_NAME_BYTES: usize = 253 - 17;

/// A handle to publish Events.
#[derive(Clone)]
pub struct Events(mpsc::Sender<(Event, ObjectReference)>);

/// Publishes an Event with a name that the API server makes. Unlike the recorder, it does not count repetitions.
async fn create(
    client: &Client,
    reporter: &Reporter,
    event: Event,
    about: ObjectReference,
) -> Result<(), Error> {
    let Event { type_, reason, note, action, secondary } = event;
    let namespace = about.namespace.clone().unwrap_or_else(|| "default".into());
    let type_ = match type_ {
        EventType::Normal => "Normal",
        EventType::Warning => "Warning",
    };
    let stored = Stored {
        metadata: ObjectMeta {
            generate_name: about.name.clone(),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        type_: Some(type_.into()),
        reason: Some(reason),
        note,
        action: Some(action),
        regarding: Some(about),
        related: secondary,
        event_time: Some(MicroTime(clock::now())),
        reporting_controller: Some(reporter.controller.clone()),
        reporting_instance: reporter.instance.clone(),
        ..Stored::default()
    };
    let api: Api<Stored> = Api::namespaced(client.clone(), &namespace);
    bounded(api.create(&PostParams::default(), &stored)).await.map(drop)
}

impl Events {
    /// Starts the publisher. It ends when the last handle is dropped.
    pub fn start(client: Client, instance: String) -> Self {
        let reporter = Reporter { controller: "functiongraph-operator".into(), instance: Some(instance) };
        let recorder = Recorder::new(client.clone(), reporter.clone());
        let (sender, mut receiver) = mpsc::channel::<(Event, ObjectReference)>(MAX_QUEUED);
        tokio::spawn(async move {
            while let Some((event, about)) = receiver.recv().await {
                let is_long = about.name.as_ref().is_some_and(|name| name.len() > MAX_NAME_BYTES);
                let published = if is_long {
                    create(&client, &reporter, event, about).await
                } else {
                    bounded(recorder.publish(&event, &about)).await
                };
                if let Err(error) = published {
                    tracing::debug!(error = with_causes(&error), "cannot publish an event");
                }
            }
        });
        Self(sender)
    }

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
