//! What one provider's answers mean for the others.

use super::*;
use crate::api::{AnyProvider, FunctionGraphProvider};
use crate::context::grants::Grant;
use crate::credential::{InUse, Lock, Principal, Proof};
use crate::gate::{Level, Signal};
use functiongraph::{Client, ClientOptions};

const LIMITS: GateLimits = GateLimits { max_requests_per_second: 100, max_in_flight: 10, shared: false };

const THROTTLED: Signal = Signal::Throttled { level: Level::Account, retry_after: None };

fn providers() -> Arc<Providers> {
    Arc::new(Providers::new(mpsc::unbounded_channel().0, 100))
}

fn provider() -> AnyProvider {
    let spec = serde_json::json!({
        "region": "eu-de", "credentials": {"accessKey": {"secretRef": {"name": "s"}}},
    });
    AnyProvider::Namespaced(Arc::new(FunctionGraphProvider::new("p", serde_json::from_value(spec).unwrap())))
}

/// The access key `id`, whose secret is `version`.
fn used(id: &str, version: &str) -> Used {
    let principal = Principal { id: id.into(), secret: format!("{id}/{version}") };
    let source = Source {
        version: version.into(),
        resource_version: Some("1".into()),
        principal: principal.clone(),
        project_principal: principal,
        lock: Lock::AccessKey,
        destination: "p".into(),
        is_exchanged: false,
        project: Some("p".into()),
        name: "the credential".into(),
        remedy: String::new(),
    };
    Used { source: Arc::new(source), login: 0 }
}

fn access(used: &Used, proof: Proof) -> Access {
    let endpoint = "https://localhost:1".parse().unwrap();
    Access {
        provider: provider(),
        client: Client::new(endpoint, ClientOptions::default()).unwrap(),
        credential: Credential::access_key("id", "secret", None).unwrap(),
        used: used.clone(),
        in_use: InUse {
            login: 0,
            expires_at: None,
            project: "p".into(),
            not_renewed: None,
            decide_again_in: None,
            proof,
        },
        read_at: clock::monotonic(),
        ca_bundle: None,
        grant: Grant::Own,
    }
}

/// What happens to a provider whose credential was checked.
fn ready(providers: &Providers, key: &ProviderKey, used: &Used, proof: Proof) {
    providers.begin(key, &used.source, None);
    providers.record(key, used, clock::monotonic(), Event::Checked(proof.clone()));
    assert!(providers.ready(key, access(used, proof), LIMITS));
}

fn ticket(uid: &str) -> Ticket {
    let caller = Caller::Object { uid: uid.into(), name: uid.into() };
    Ticket { caller, function: FunctionKey { namespace: "ns".into(), function: "f".into() } }
}

#[test]
fn t13_a_late_refusal_of_an_old_secret_takes_nothing_from_what_is_known_of_the_new_one() {
    let (providers, key): (_, ProviderKey) = (providers(), "ns/p".into());
    let [old, new] = ["old", "new"].map(|version| used("a", version));
    ready(&providers, &key, &old, Proof::Accepted);
    ready(&providers, &key, &new, Proof::Accepted);
    providers.refuse(&key, &access(&old, Proof::Accepted), "late");
    assert!(matches!(providers.standing(&key), Standing::Ready(_)));
    assert!(providers.refused_at(&key).is_none());

    providers.refuse(&key, &access(&new, Proof::Accepted), "in time");
    providers.refuse(&key, &access(&old, Proof::Accepted), "later still");
    assert!(providers.refused_at(&key).is_some());
    assert!(matches!(providers.standing(&key), Standing::NotReady(_, why) if why.contains("in time")));

    providers.gone(&key);
    providers.refuse(&key, &access(&new, Proof::Accepted), "too late");
    assert!(matches!(providers.standing(&key), Standing::Unseen));
}

#[test]
fn t13_a_refusal_of_one_key_counts_for_every_provider_that_has_it() {
    let providers = providers();
    let [one, same, other]: [ProviderKey; 3] = ["ns/one", "ns/same", "other"].map(Into::into);
    let (revoked, right) = (used("a", "revoked"), used("b", "right"));
    ready(&providers, &one, &revoked, Proof::Accepted);
    ready(&providers, &same, &revoked, Proof::Accepted);
    ready(&providers, &other, &right, Proof::Accepted);
    let mut permit = providers.enter(&one, ticket("1")).unwrap();
    permit.used(&access(&revoked, Proof::Accepted));
    providers.refuse(&one, &access(&revoked, Proof::Accepted), "no");
    permit.leave(Signal::Unused);
    for key in [&one, &same] {
        let standing = providers.standing(key);
        assert!(matches!(standing, Standing::NotReady(Reason::CredentialsInvalid, _)), "{key}");
    }
    assert!(matches!(providers.standing(&other), Standing::Ready(_)), "another key is not concerned");
    // A provider that comes later has heard of it, too.
    let late: ProviderKey = "ns/late".into();
    providers.begin(&late, &revoked.source, None);
    assert!(matches!(providers.decide(&late), Step::Stop(stop) if stop.message.contains("no")));
    assert_eq!(providers.refused_at(&late).unwrap().0, "1");
}

#[test]
fn an_answer_to_an_invocation_counts_where_the_credential_could_not_be_checked() {
    let providers = providers();
    let (key, unchecked): (ProviderKey, _) = ("ns/p".into(), used("a", "any"));
    let proof = |used| Proof::Unchecked { said: "404".into(), used };
    ready(&providers, &key, &unchecked, proof(false));
    for (signal, used) in [(Signal::Unreachable, false), (THROTTLED, false), (Signal::Answered, true)] {
        // A throttle pauses the gate: another one, for the same credential.
        let other: ProviderKey = format!("{key}-{signal:?}").as_str().into();
        providers.begin(&other, &unchecked.source, None);
        assert!(providers.ready(&other, access(&unchecked, proof(false)), LIMITS));
        let mut permit = providers.enter(&other, ticket("1")).unwrap();
        permit.used(&access(&unchecked, proof(false)));
        permit.leave(signal);
        let Step::Use(in_use) = providers.decide(&key) else { panic!("it can be used") };
        assert_eq!(in_use.proof, proof(used), "{signal:?}");
    }
}

#[test]
fn a_throttle_of_an_account_pauses_every_provider_with_its_endpoint_and_credential() {
    for (level, is_paused) in [(Level::Function, false), (Level::Account, true)] {
        let providers = providers();
        let [one, same, other]: [ProviderKey; 3] = ["ns/one", "else/same", "ns/other"].map(Into::into);
        for (key, id) in [(&one, "a"), (&same, "a"), (&other, "b")] {
            ready(&providers, key, &used(id, "right"), Proof::Accepted);
        }
        let mut permit = providers.enter(&one, ticket("1")).unwrap();
        permit.used(&access(&used("a", "right"), Proof::Accepted));
        permit.leave(Signal::Throttled { level, retry_after: Some(Duration::from_mins(1)) });
        let phases = [&one, &same, &other].map(|key| providers.state(key).phase);
        let paused = phases.map(|phase| matches!(phase, Phase::Paused { .. }));
        assert_eq!(paused, [is_paused, is_paused, false], "{level:?}");
    }
}

#[test]
fn what_a_login_brought_outlives_a_reconcile_that_takes_its_time() {
    let (providers, key): (_, ProviderKey) = (providers(), "ns/p".into());
    let used = used("a", "any");
    providers.begin(&key, &used.source, None);
    let (credential, renew_at) = (Credential::token("t").unwrap(), clock::now());
    let login = Login { credential, expires_at: None, renew_at, project: None };
    providers.logged_in(&key, &used, clock::monotonic(), login);
    // Others come and go, and what nobody needs is forgotten.
    providers.call_next(|_| true, |_| ());
    assert!(providers.credential(&key, 1).is_some());
    providers.gone(&key);
    assert!(providers.credential(&key, 1).is_none());
}

#[tokio::test]
async fn t13_one_call_of_a_principal_and_few_of_a_namespace_are_made_at_the_same_time() {
    let providers = providers();
    let first = providers.turn("a", "ns").await;
    assert!(first.is_some() && providers.turn("a", "other").await.is_none(), "one of a principal");
    let mut held = Vec::from([first]);
    while let Some(turn) = providers.turn(&held.len().to_string(), "ns").await {
        held.push(Some(turn));
    }
    assert_eq!(held.len(), 16, "few of a namespace");
    assert!(providers.turn("b", "other").await.is_some(), "another tenant does not wait");
    held.clear();
    assert!(providers.turn("a", "ns").await.is_some());
}

#[test]
fn t13_a_credential_that_is_refused_before_its_provider_is_ready_is_not_used() {
    let (providers, key): (_, ProviderKey) = (providers(), "ns/p".into());
    let used = used("a", "revoked");
    ready(&providers, &key, &used, Proof::Accepted);
    let found = access(&used, Proof::Accepted);
    providers.refuse(&"ns/other".into(), &access(&used, Proof::Accepted), "no");
    assert!(!providers.ready(&key, found, LIMITS));
    assert!(matches!(providers.standing(&key), Standing::NotReady(_, why) if why.contains("no")));
}

#[test]
fn metrics_show_throttling_as_such_and_no_queue_that_is_empty() {
    let providers = providers();
    let [missing, waits, throttled]: [ProviderKey; 3] =
        ["ns/missing", "ns/waits", "ns/throttled"].map(Into::into);
    assert!(providers.enter(&missing, ticket("1")).is_none());
    providers.not_ready(&waits, Reason::SecretNotFound, "no".into());
    ready(&providers, &throttled, &used("a", "any"), Proof::Accepted);
    let permit = providers.enter(&throttled, ticket("2")).unwrap();
    permit.leave(Signal::Throttled { level: Level::Account, retry_after: Some(Duration::from_mins(1)) });
    let (known, queues) = providers.readings();
    let held = |name: &str| known.iter().find(|provider| provider.name == name).unwrap().held;
    assert!(!held("ns/waits") && held("ns/throttled"));
    assert_eq!(queues, [("ns/missing".to_owned(), 1)]);

    // The objects of a deleted namespace.
    providers.prune(|_| false, clock::monotonic());
    assert_eq!(providers.readings().1, []);
}

/// Timers do not notice that a clock jumps.
#[test]
fn a_check_is_asked_for_when_a_credential_has_ended_before_its_timer() {
    let (checks, mut asked) = mpsc::unbounded_channel();
    let (providers, key): (_, ProviderKey) = (Arc::new(Providers::new(checks, 100)), "ns/p".into());
    let (used, proof) = (used("a", "1"), Proof::Accepted);
    ready(&providers, &key, &used, proof.clone());
    assert!(matches!(providers.standing(&key), Standing::Ready(_)));
    assert!(asked.try_recv().is_err());

    let mut ended = access(&used, proof);
    ended.in_use.expires_at = Some(Timestamp::UNIX_EPOCH);
    assert!(providers.ready(&key, ended, LIMITS));
    for _ in 0..2 {
        assert!(matches!(providers.standing(&key), Standing::NotReady(Reason::CredentialsInvalid, _)));
    }
    assert_eq!(asked.try_recv().ok(), Some(key));
    assert!(asked.try_recv().is_err(), "once is enough");
}

#[test]
fn a_dispute_is_ended_by_the_replica_whose_duty_that_is() {
    let (providers, key): (_, ProviderKey) = (providers(), "ns/p".into());
    let found = || (1, Reason::CredentialsInvalid, "refused".to_owned(), None);
    for is_ours in [true, false] {
        providers.not_reported(&key);
        assert_eq!(providers.news(&key, found(), true, is_ours), News::Fresh);
        let again = providers.news(&key, found(), true, is_ours);
        assert_eq!(matches!(again, News::Disputed(rest) if !rest.is_zero()), is_ours, "{again:?}");
    }
    assert_eq!(providers.news(&key, found(), true, false), News::Known);
    assert_eq!(providers.news(&key, found(), false, true), News::Known);
}
