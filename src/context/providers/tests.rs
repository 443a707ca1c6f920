//! What is known of providers when answers come late, and when several of them have one key.

use super::*;
use crate::api::provider::ProtocolVersion;
use crate::context::grants::Grant;
use crate::gate::Signal;
use functiongraph::{Client, ClientOptions, Credential};

const LIMITS: GateLimits = GateLimits { max_requests_per_second: 100, max_in_flight: 10 };

fn providers() -> Arc<Providers> {
    Arc::new(Providers::new(mpsc::unbounded_channel().0))
}

/// Access with the key `id`, whose secret is `version`.
fn access(id: &str, version: &str) -> Access {
    let endpoint = "https://localhost:1".parse().unwrap();
    Access {
        client: Client::new(endpoint, ClientOptions::default()).unwrap(),
        credential: Credential::access_key(id, version, None).unwrap(),
        secret_version: version.into(),
        resource_version: Some("1".into()),
        key: Some(KeyName { id: id.into(), whole: format!("{id}/{version}") }),
        login: 0,
        expires_at: None,
        not_renewed: None,
        read_at: clock::monotonic(),
        made_for: ("https://localhost:1".into(), None),
        edition: ("uid".into(), 1),
        region: "eu-de".into(),
        project_id: "p".into(),
        grant: Grant::Own,
        allowed_functions: Vec::new(),
        protocol: ProtocolVersion::V2,
        allow_cancel: false,
    }
}

fn ticket(uid: &str) -> Ticket {
    Ticket { uid: uid.into(), namespace: "ns".into(), name: uid.into(), lane: "f".into() }
}

#[test]
fn t13_a_late_refusal_of_an_old_secret_takes_nothing_from_what_is_known_of_the_new_one() {
    let (providers, key): (_, Key) = (providers(), "ns/p".into());
    providers.ready(&key, access("a", "old"), LIMITS);
    providers.ready(&key, access("a", "new"), LIMITS);
    providers.refuse(&key, &access("a", "old"), "late");
    assert!(matches!(providers.standing(&key), Standing::Ready(_)));
    assert!(providers.refusal(&key).is_none());

    providers.refuse(&key, &access("a", "new"), "in time");
    providers.refuse(&key, &access("a", "old"), "later still");
    assert_eq!(providers.refusal(&key).unwrap().message, "in time");
    assert!(matches!(providers.standing(&key), Standing::NotReady(_, why) if why.contains("in time")));

    providers.gone(&key);
    providers.refuse(&key, &access("a", "new"), "too late");
    assert!(matches!(providers.standing(&key), Standing::Unseen));
}

#[test]
fn t13_a_refusal_of_one_key_counts_for_every_provider_that_has_it() {
    let providers = providers();
    let [one, same, other]: [Key; 3] = ["ns/one", "ns/same", "other"].map(Into::into);
    providers.ready(&one, access("a", "wrong"), LIMITS);
    providers.ready(&same, access("a", "wrong"), LIMITS);
    providers.ready(&other, access("b", "right"), LIMITS);
    let mut place = providers.enter(&one, ticket("1")).unwrap();
    // Not proven, and tried already.
    assert!(providers.enter(&same, ticket("2")).is_none());
    let foreign = providers.enter(&other, ticket("3"));
    assert!(foreign.is_some(), "another key is not concerned");
    let used = access("a", "wrong");
    place.used(&used);
    providers.refuse(&one, &used, "no");
    place.leave(Signal::Unused);
    for key in [&one, &same] {
        assert!(
            matches!(providers.standing(key), Standing::NotReady(Reason::CredentialsInvalid, _)),
            "{key}"
        );
    }
    // One that comes later has heard of it, too.
    let origin = Origin { version: "wrong".into(), resource_version: Some("7".into()) };
    let late: Key = "ns/late".into();
    let held = providers.held_key(&late, used.key.as_ref().unwrap(), &origin);
    assert!(matches!(held, Some(HeldKey::Refused(failure)) if failure.message == "no"));
    assert_eq!(providers.refusal(&late).unwrap().resource_version.as_deref(), Some("7"));
}

#[test]
fn t13_a_key_that_proved_itself_is_used_by_all_at_once_and_one_that_could_not_is_tried_by_the_next() {
    let providers = providers();
    let [one, other]: [Key; 2] = ["ns/one", "ns/other"].map(Into::into);
    for key in [&one, &other] {
        providers.ready(key, access("a", "right"), LIMITS);
    }
    // Nothing was sent: that proves nothing.
    drop(providers.enter(&one, ticket("1")).unwrap());
    let mut place = providers.enter(&other, ticket("2")).unwrap();
    assert!(providers.enter(&one, ticket("3")).is_none());
    place.used(&access("a", "right"));
    place.leave(Signal::Clean);
    let called = std::cell::RefCell::new(Vec::new());
    let _ =
        providers.call_next(|_| true, |key, ticket| called.borrow_mut().push((key.to_string(), ticket.uid)));
    assert_eq!(called.into_inner(), [("ns/one".to_owned(), "3".to_owned())]);
    let places = [providers.enter(&one, ticket("3")), providers.enter(&other, ticket("4"))];
    assert!(places.iter().all(Option::is_some));
    assert!(providers.has_proven(&other, "right"));
}
