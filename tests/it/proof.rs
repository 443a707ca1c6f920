//! What proves a credential: a call of the operator's own, never the invocation of a user.

use functiongraph_emulator::{Api, Function};
use functiongraph_operator::api::invocation::{AttemptState, Outcome};
use functiongraph_operator::api::{ConditionStatus, FunctionGraphProvider, Reason};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{KEY, World, until, within};

const IN_FLIGHT: &str = "functiongraph_operator_in_flight";
const WAITING: &str = "functiongraph_operator_waiting";

/// An invocation through a provider.
fn of(function: &str, provider: &str, tag: &str) -> Value {
    json!({"function": {"name": function}, "providerRef": {"name": provider}, "payload": {"tag": tag}})
}

/// A fault of the operator's check, as long as it is not taken back.
fn check_meets(world: &World, action: &Value) {
    world.fault(json!({"when": "forever", "api": "v2/functions", "action": action}));
}

#[tokio::test]
async fn a_slow_first_call_holds_up_nobody_who_uses_the_same_key() {
    let slow = Function {
        latency: Duration::from_secs(80),
        timeout: Duration::from_secs(90),
        ..Function::named("slow")
    };
    let world = World::with(|config| config.functions.push(slow)).await;
    world.provider().await;
    world.provider_named("other", json!({})).await;
    let mut spec = of("slow", "default", "slow");
    spec["invocationType"] = "Sync".into();
    spec["requestTimeoutSeconds"] = 90.into();
    world.invoke("slow", spec).await;
    let _operator = world.operator().await;
    within(until(async || world.calls(Api::Invoke) > 0)).await;

    for provider in ["other", "default"] {
        world.invoke(provider, of("hello", provider, provider)).await;
        assert_eq!(world.end(provider).await.outcome, Some(Outcome::Accepted), "{provider}");
    }
    let slow = world.get("slow").await.status.unwrap();
    assert_eq!(slow.attempt.unwrap().state, Some(AttemptState::Claimed), "the first call is still running");
}

#[tokio::test]
async fn an_endpoint_that_is_silent_at_the_start_holds_up_no_other_and_is_ready_once_it_answers() {
    let world = World::new().await;
    let silent = World::new().await;
    world.provider().await;
    let elsewhere = json!({"endpoint": silent.emulator.url(), "caBundle": silent.emulator.ca_pem()});
    world.provider_named("silent", elsewhere).await;
    check_meets(&silent, &json!({"hang": {}}));
    world.invoke("beside", of("hello", "default", "beside")).await;
    let _operator = world.operator().await;
    assert_eq!(world.end("beside").await.outcome, Some(Outcome::Accepted));

    let said = world.provider_ready("silent", |c| c.reason == Reason::EndpointUnreachable).await;
    assert_eq!(said.status, ConditionStatus::False);
    assert!(said.message.contains("no answer within"), "{}", said.message);
    // Nobody invokes through it, before or after.
    silent.emulator.clear_faults();
    let said = world.provider_ready("silent", |c| c.reason == Reason::ProviderReady).await;
    assert!(
        said.message.starts_with("FunctionGraph accepted the credential. The operator has read"),
        "{}",
        said.message
    );
    assert_eq!(silent.seen(), 0);
}

#[tokio::test]
async fn an_endpoint_that_failed_is_found_again_by_itself_when_nobody_invokes() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    world.provider_says(Reason::ProviderReady).await;
    world.fault(json!({"when": "forever", "action": "dropBefore"}));
    for number in 0..5 {
        world.invoke(&format!("cut-{number}"), of("hello", "default", "cut")).await;
    }
    let said = world.provider_says(Reason::EndpointUnreachable).await;
    assert_eq!(said.status, ConditionStatus::False);
    for number in 0..5 {
        assert_eq!(world.end(&format!("cut-{number}")).await.outcome, Some(Outcome::Unknown));
    }
    world.emulator.clear_faults();
    let seen = world.seen();
    assert_eq!(world.provider_says(Reason::ProviderReady).await.status, ConditionStatus::True);
    assert_eq!(world.seen(), seen, "no invocation was needed for it");
}

#[tokio::test]
async fn t13_a_key_is_checked_once_for_all_its_providers_and_not_again_by_edits() {
    let world = World::new().await;
    world.secret(KEY.1).await;
    let names: Vec<String> = (0..6).map(|n| format!("p-{n}")).collect();
    for name in &names {
        world.provider_named(name, json!({})).await;
    }
    let operator = world.operator().await;
    for name in &names {
        world.provider_ready(name, |c| c.reason == Reason::ProviderReady).await;
    }
    assert_eq!(world.checks(), 1);
    let limits = json!({"spec": {"limits": {"maxInFlight": 7}}});
    let changed = world.change::<FunctionGraphProvider>("p-0", limits).await;
    let generation = changed.metadata.generation;
    world.provider_ready("p-0", |c| Some(c.observed_generation) == generation).await;
    assert_eq!(world.checks(), 1);
    // What it is about has changed: another project is another question.
    world.change::<FunctionGraphProvider>("p-0", json!({"spec": {"projectID": "0123456789abcdef"}})).await;
    let said = world.provider_ready("p-0", |c| c.message.contains("403 FSS.0403")).await;
    assert_eq!(said.status, ConditionStatus::True, "a credential that may only invoke looks like this");
    assert!(said.message.contains("spec.projectID"), "{}", said.message);
    assert_eq!(world.checks(), 2);
    operator.kill().await;

    let _next = world.operator().await;
    world.invoke("after", of("hello", "p-1", "after")).await;
    assert_eq!(world.end("after").await.outcome, Some(Outcome::Accepted));
    assert_eq!((world.checks(), world.emulator.requests().failed_authentications), (4, 0));
}

#[tokio::test]
async fn t13_a_wrong_key_is_found_out_before_anybody_invokes() {
    let world = World::new().await;
    world.secret("wrong-secret-key-00000000000000000000005").await;
    world.provider_with(json!({})).await;
    let _operator = world.operator().await;
    let said = world.provider_says(Reason::CredentialsInvalid).await;
    assert!(said.message.contains("verify aksk signature fail"), "{}", said.message);
    for rate in 10..13 {
        let limits = json!({"spec": {"limits": {"maxInFlight": rate}}});
        let generation = world.change::<FunctionGraphProvider>("default", limits).await.metadata.generation;
        world.provider_ready("default", |c| Some(c.observed_generation) == generation).await;
    }
    assert_eq!((world.checks(), world.emulator.requests().failed_authentications), (1, 1));
    world.secret(KEY.1).await;
    assert_eq!(world.provider_says(Reason::ProviderReady).await.status, ConditionStatus::True);
    assert_eq!((world.checks(), world.emulator.requests().failed_authentications), (2, 1));
}

#[tokio::test]
async fn t13_an_answer_that_proves_nothing_is_asked_for_again_and_nobody_is_sent_ahead() {
    let throttled = json!({"status": {"status": 429, "errorCode": "APIG.0308", "retryAfter": "1"}});
    let broken = json!({"status": {"status": 500}});
    let elsewhere = json!({"redirect": {"location": "https://localhost/"}});
    for (meets, reason, words) in [
        (throttled, Reason::Throttled, "429 APIG.0308"),
        (broken, Reason::EndpointUnreachable, "500 FSS.0500"),
        (
            elsewhere,
            Reason::EndpointUnreachable,
            "The operator does not follow redirects. Correct spec.endpoint",
        ),
    ] {
        let world = World::new().await;
        check_meets(&world, &meets);
        world.provider().await;
        world.invoke("waits", of("hello", "default", "waits")).await;
        let _operator = world.operator().await;
        let said = world.provider_says(reason).await;
        assert_eq!(said.status, ConditionStatus::False, "{words}");
        assert!(said.message.contains(words), "{words}: {}", said.message);
        world.tells("waits", &format!("is not ready ({})", reason.as_str())).await;
        assert_eq!(world.seen(), 0, "{words}");
        world.emulator.clear_faults();
        assert_eq!(world.end("waits").await.outcome, Some(Outcome::Accepted), "{words}");
        assert_eq!(world.provider_says(Reason::ProviderReady).await.status, ConditionStatus::True);
    }
}

#[tokio::test]
async fn an_endpoint_that_does_not_know_the_check_is_used_two_requests_at_a_time_until_one_is_answered() {
    let world = World::new().await;
    check_meets(&world, &json!({"status": {"status": 404, "errorCode": "APIG.0101"}}));
    world.fault(json!({"when": "forever", "action": {"hang": {}}}));
    world.provider().await;
    for number in 0..6 {
        let mut spec = of("hello", "default", "job");
        spec["requestTimeoutSeconds"] = 10.into();
        world.invoke(&format!("job-{number}"), spec).await;
    }
    let operator = world.operator().await;
    let said = world.provider_ready("default", |c| c.message.contains("404 APIG.0101")).await;
    assert_eq!(said.status, ConditionStatus::True);
    let now = async |name| operator.metric(name, &["/default"]).await.round();
    // A permit is taken before its request arrives.
    let pace = async || (now(IN_FLIGHT).await, now(WAITING).await, world.seen());
    within(until(async || pace().await == (2.0, 4.0, 2))).await;
    world.emulator.clear_faults();
    check_meets(&world, &json!({"status": {"status": 404, "errorCode": "APIG.0101"}}));
    let mut outcomes = Vec::new();
    for number in 0..6 {
        outcomes.push(world.end(&format!("job-{number}")).await.outcome.unwrap());
    }
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Accepted).count(), 4, "{outcomes:?}");
}

#[tokio::test]
async fn the_old_edition_of_the_api_is_checked_by_its_own_call() {
    let world = World::new().await;
    world.secret(KEY.1).await;
    world.provider_with(json!({"protocolVersion": "v1.0"})).await;
    let _operator = world.operator().await;
    let said = world.provider_says(Reason::ProviderReady).await;
    assert!(
        said.message.starts_with("FunctionGraph accepted the credential. The operator has read"),
        "{}",
        said.message
    );
    assert_eq!((world.calls(Api::ListFunctionsV1), world.checks()), (1, 1));
}

#[tokio::test]
async fn a_corrected_version_of_the_api_is_checked_again() {
    let world = World::new().await;
    let unknown = json!({"status": 404, "errorCode": "APIG.0101", "errorMsg": "The API does not exist"});
    world.fault(json!({"when": "forever", "api": "v2/functions", "action": {"status": unknown}}));
    world.provider().await;
    let _operator = world.operator().await;
    world.provider_ready("default", |ready| ready.message.contains("could not be checked")).await;
    let corrected = json!({"spec": {"protocolVersion": "v1.0"}});
    world.change::<FunctionGraphProvider>("default", corrected).await;
    world
        .provider_ready("default", |ready| {
            ready.message.starts_with("FunctionGraph accepted the credential. ")
        })
        .await;
}

#[tokio::test]
async fn a_provider_that_logs_in_while_others_work_gets_ready() {
    let world = crate::logins::world(Duration::from_hours(24), |_| {}).await;
    world.provider().await;
    crate::logins::user(&world, crate::logins::PASSWORD).await;
    let _operator = world.operator().await;
    world.provider_ready("default", |ready| ready.reason == Reason::ProviderReady).await;
    // A check takes long enough for others to come and go.
    world.fault(json!({"when": "forever", "api": "v2/functions", "action": {"delay": "300ms"}}));
    let login = json!({"credentials": crate::logins::password(), "iamEndpoint": world.emulator.url()});
    for name in ["a", "b", "c"] {
        let mut spec = login.clone();
        spec["caBundle"] = format!("{}\n# {name}\n", world.emulator.ca_pem()).into();
        world.provider_named(name, spec).await;
    }
    let busy = async {
        for number in 0.. {
            world.invoke(&format!("busy-{number}"), of("hello", "default", "busy")).await;
        }
    };
    let ready = async {
        for name in ["a", "b", "c"] {
            world.provider_ready(name, |ready| ready.reason == Reason::ProviderReady).await;
        }
    };
    tokio::select! { () = busy => {}, () = ready => {} }
}
