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
        subject: Subject { credential: format!("{id}/{version}"), place: "p".into() },
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

/// What happens to a provider whose credential was accepted.
fn ready(providers: &Providers, key: &Key, access: Access) {
    providers.checking(key, &access);
    providers.remember_check(&access, Checked::Proven(Proof::Accepted));
    providers.ready(key, access, LIMITS);
}

fn ticket(uid: &str) -> Ticket {
    Ticket { uid: uid.into(), namespace: "ns".into(), name: uid.into(), function: "f".into() }
}

#[test]
fn t13_a_late_refusal_of_an_old_secret_takes_nothing_from_what_is_known_of_the_new_one() {
    let (providers, key): (_, Key) = (providers(), "ns/p".into());
    ready(&providers, &key, access("a", "old"));
    ready(&providers, &key, access("a", "new"));
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
    ready(&providers, &one, access("a", "revoked"));
    ready(&providers, &same, access("a", "revoked"));
    ready(&providers, &other, access("b", "right"));
    let used = access("a", "revoked");
    assert!(providers.has_proven(&used.subject.credential));
    let mut place = providers.enter(&one, ticket("1")).unwrap();
    place.used(&used);
    providers.refuse(&one, &used, "no");
    place.leave(Signal::Unused);
    for key in [&one, &same] {
        assert!(
            matches!(providers.standing(key), Standing::NotReady(Reason::CredentialsInvalid, _)),
            "{key}"
        );
    }
    assert!(matches!(providers.standing(&other), Standing::Ready(_)), "another key is not concerned");
    // It has to prove itself again, and one that comes later has heard of it, too.
    assert!(!providers.has_proven(&used.subject.credential) && providers.checked(&used.subject).is_none());
    let origin = Origin { version: "revoked".into(), resource_version: Some("7".into()) };
    let late: Key = "ns/late".into();
    let held = providers.held_key(&late, used.key.as_ref().unwrap(), &origin);
    assert!(matches!(held, Some(HeldKey::Refused(failure)) if failure.message == "no"));
    assert_eq!(providers.refusal(&late).unwrap().resource_version.as_deref(), Some("7"));
}

#[test]
fn an_answer_to_an_invocation_counts_where_the_credential_could_not_be_checked() {
    let providers = providers();
    let (key, unchecked): (Key, _) = ("ns/p".into(), access("a", "any"));
    let proof = |used| Checked::Proven(Proof::Unchecked { said: "404".into(), used });
    providers.remember_check(&unchecked, proof(false));
    let subject = unchecked.subject.clone();
    providers.ready(&key, unchecked, LIMITS);
    for (signal, used) in
        [(Signal::Trouble, false), (Signal::Throttled { retry_after: None }, false), (Signal::Clean, true)]
    {
        // A throttle pauses the gate: another one, for the same credential.
        let key: Key = format!("{key}-{signal:?}").into();
        providers.ready(&key, access("a", "any"), LIMITS);
        let mut place = providers.enter(&key, ticket("1")).unwrap();
        place.used(&access("a", "any"));
        place.leave(signal);
        assert_eq!(providers.checked(&subject), Some(proof(used)), "{signal:?}");
        assert!(!providers.has_proven(&subject.credential), "{signal:?}");
    }
}
