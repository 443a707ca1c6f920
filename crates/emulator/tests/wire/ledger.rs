//! The ledger is exact, also with many concurrent submissions and lost answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use functiongraph_emulator::{Action, When};
use tokio::task::JoinSet;

use crate::support::{Place, fault};

#[tokio::test(flavor = "multi_thread")]
async fn every_accepted_event_is_in_the_ledger_once_whatever_its_caller_heard() {
    const CALLERS: usize = 16;
    const EVENTS: usize = 25;
    let place = Arc::new(Place::new().await);
    place.emulator.add_fault(fault(When::Every(7), Action::DropBefore));
    place.emulator.add_fault(fault(When::Every(5), Action::DropAfter));
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let place = Arc::clone(&place);
        callers.spawn(async move {
            let mut heard = Vec::new();
            for event in 0..EVENTS {
                let tag = format!("{caller}-{event}");
                let request = place.submission("hello", &format!(r#"{{"tag":"{tag}"}}"#));
                if let Ok(response) = request.send().await {
                    assert_eq!(response.status(), 202);
                    heard.push(tag);
                }
            }
            heard
        });
    }
    let heard: BTreeSet<String> = callers.join_all().await.into_iter().flatten().collect();

    let dropped: Vec<u64> = place.emulator.faults().iter().map(|fault| fault.fired).collect();
    let (before, after) = (usize::try_from(dropped[0]).unwrap(), usize::try_from(dropped[1]).unwrap());
    let ledger = place.emulator.ledger();
    assert_eq!(ledger.len(), CALLERS * EVENTS - before);
    assert_eq!(heard.len(), ledger.len() - after);
    let tags: BTreeSet<String> = ledger.iter().filter_map(|entry| entry.tag.clone()).collect();
    assert_eq!(tags.len(), ledger.len(), "no event twice");
    assert!(heard.is_subset(&tags), "whoever heard an id is in the ledger");
    let ids: BTreeSet<&String> = ledger.iter().map(|entry| &entry.request_id).collect();
    assert_eq!(ids.len(), ledger.len(), "no id twice");
    assert_eq!(place.emulator.requests().seen, (CALLERS * EVENTS) as u64);
    assert_eq!(place.emulator.requests().accepted, ledger.len() as u64);
}

#[tokio::test]
async fn an_entry_names_the_function_with_its_qualifier_and_digests_the_event() {
    let place = Place::new().await;
    let id = place.submit("default:hello", r#"{"k":"v","tag":"t"}"#).await.json()["request_id"].clone();
    let entry = &place.emulator.ledger()[0];
    assert_eq!(
        entry.function,
        "urn:fss:eu-de:7aad83af3e8d42e99ac194e8419e2c9b:function:default:hello:latest"
    );
    assert_eq!(id, *entry.request_id);
    assert_eq!((entry.body_bytes, entry.tag.as_deref()), (19, Some("t")));
    assert_eq!(entry.body_sha256.len(), 64);
    place.emulator.clear_ledger();
    assert_eq!(place.emulator.ledger(), []);
}
