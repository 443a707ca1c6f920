//! Providers, Secrets and keys that are missing or wrong: invocations wait, and nobody locks a key.

use functiongraph_operator::api::invocation::Outcome;
use functiongraph_operator::api::{
    ConditionStatus, ConditionType, FunctionGraphProvider, FunctionInvocation, Reason,
};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use testkit::{KEY, World, condition, message, ready};

#[tokio::test]
async fn an_invocation_waits_for_its_provider_and_says_what_to_create() {
    let world = World::new().await;
    let _operator = world.operator().await;
    world.invoke("early", json!({"function": {"name": "hello"}, "payload": {"tag": "early"}})).await;

    let status = world.says("early", Reason::WaitingForProvider).await;
    let missing = format!("FunctionGraphProvider default does not exist in namespace {}.", world.namespace);
    let remedy = "Create it, or ask your platform team for a provider.";
    let then = "The operator sends the invocation when the provider is ready.";
    assert_eq!(message(&status), format!("{missing} {remedy} {then}"));
    let event = world.event("early", "WaitingForProvider").await;
    assert_eq!((event.type_.as_deref(), event.note), (Some("Warning"), Some(message(&status).to_owned())));
    assert_eq!(ready(&status).0, Some(ConditionStatus::Unknown));
    assert_eq!(condition(&status, ConditionType::Finished).0, Some(ConditionStatus::False));
    let reconciling = condition(&status, ConditionType::Reconciling);
    assert_eq!(reconciling, (Some(ConditionStatus::True), Some(Reason::WaitingForProvider)));
    assert_eq!((status.attempts, status.outcome), (None, None));

    world.provider().await;
    assert_eq!(world.end("early").await.outcome, Some(Outcome::Accepted));
    assert_eq!(world.accepted("early").len(), 1);
}

#[tokio::test]
async fn an_invocation_with_a_misspelt_provider_lists_those_of_its_namespace() {
    let (world, elsewhere) = (World::new().await, World::new().await);
    world.provider().await;
    elsewhere.provider().await;
    let _operator = world.operator().await;
    let spec = json!({"function": {"name": "hello"}, "providerRef": {"name": "defalt"}});
    world.invoke("misspelt", spec).await;
    let status = world.tells("misspelt", "The namespace may use: FunctionGraphProvider default.").await;
    let told =
        "To use one of these, create a new FunctionInvocation with its kind and name in spec.providerRef.";
    assert!(message(&status).contains(told), "{}", message(&status));
    assert_eq!(world.count_events("misspelt").await, 1);

    // Another provider does not cost a write for each object that waits.
    world.provider_named("other", json!({})).await;
    world.invoke("later", json!({"function": {"name": "hello"}, "providerRef": {"name": "defalt"}})).await;
    world.tells("later", "FunctionGraphProvider default, FunctionGraphProvider other.").await;
    let ttl = json!({"spec": {"ttlSecondsAfterFinished": 600}});
    let generation = world.change::<FunctionInvocation>("misspelt", ttl).await.metadata.generation;
    let again = world.until_status("misspelt", |status| status.observed_generation == generation).await;
    assert_eq!(message(&again), message(&status));
}

#[tokio::test]
async fn an_invocation_with_the_longest_name_gets_its_events() {
    let world = World::new().await;
    let _operator = world.operator().await;
    let name = "x".repeat(253);
    world.invoke(&name, json!({"function": {"name": "hello"}})).await;
    let event = world.event(&name, "WaitingForProvider").await;
    assert_eq!((event.type_.as_deref(), event.action.as_deref()), (Some("Warning"), Some("Invoke")));
    assert!(event.note.unwrap().contains("does not exist"));
}

#[tokio::test]
async fn an_invocation_whose_deadline_passes_says_what_it_waited_for() {
    let world = World::new().await;
    let _operator = world.operator().await;
    let spec = json!({"function": {"name": "hello"}, "activeDeadlineSeconds": 6, "requestTimeoutSeconds": 1});
    world.invoke("waits", spec).await;
    let status = world.end("waits").await;
    assert_eq!(ready(&status).1, Some(Reason::DeadlineExceeded));
    let expected =
        "activeDeadlineSeconds (6 s) has passed. It waited: FunctionGraphProvider default does not exist";
    assert!(message(&status).starts_with(expected), "{}", message(&status));
}

#[tokio::test]
async fn a_provider_waits_for_its_secret_and_then_for_all_of_its_keys() {
    let world = World::new().await;
    world.provider_with(json!({})).await;
    let _operator = world.operator().await;
    world.invoke("waits", json!({"function": {"name": "hello"}})).await;

    let said = world.provider_says(Reason::SecretNotFound).await;
    assert_eq!(said.status, ConditionStatus::False);
    let missing = format!("Secret key does not exist in namespace {}: create it.", world.namespace);
    assert_eq!(said.message, missing);
    let event = world.event("default", "SecretNotFound").await;
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    world.tells("waits", "is not ready (SecretNotFound): kubectl describe fgp default").await;

    world.create::<Secret>("key", json!({"stringData": {"accessKeyID": KEY.0}})).await.unwrap();
    let said = world.provider_says(Reason::CredentialsInvalid).await;
    assert_eq!(said.message, "Secret key has no key secretAccessKey: add it.");

    world.secret(KEY.1).await;
    assert_eq!(world.provider_says(Reason::ProviderReady).await.status, ConditionStatus::True);
    assert_eq!(world.end("waits").await.outcome, Some(Outcome::Accepted));
    assert_eq!((world.seen(), world.emulator.requests().failed_authentications), (1, 0));
}

#[tokio::test]
async fn t02_the_token_of_a_service_account_is_not_sent_to_the_cloud() {
    let world = World::new().await;
    let secret = json!({
        "metadata": {"annotations": {"kubernetes.io/service-account.name": "default"}},
        "type": "kubernetes.io/service-account-token",
        "stringData": {"token": "eyJ-canary"},
    });
    world.create::<Secret>("key", secret).await.unwrap();
    world.provider_with(json!({"credentials": {"token": {"secretRef": {"name": "key"}}}})).await;
    let operator = world.operator().await;
    world.invoke("waits", json!({"function": {"name": "hello"}})).await;
    let said = world.provider_says(Reason::CredentialsInvalid).await;
    assert!(said.message.contains("put the credential into one of type Opaque"), "{}", said.message);
    world.tells("waits", "is not ready (CredentialsInvalid)").await;
    assert_eq!((world.seen(), world.checks()), (0, 0));
    operator.stop().await;
    assert!(!world.logs().contains("canary"));
}

#[tokio::test]
async fn t13_twenty_invocations_with_a_wrong_key_wait_unsent_until_the_secret_is_corrected() {
    let world = World::new().await;
    world.secret("wrong-secret-key-00000000000000000000001").await;
    world.provider_with(json!({})).await;
    let _operator = world.operator().await;
    let names: Vec<String> = (0..20).map(|n| format!("waits-{n}")).collect();
    for name in &names {
        world.invoke(name, json!({"function": {"name": "hello"}, "payload": {"tag": name}})).await;
    }

    let said = world.provider_says(Reason::CredentialsInvalid).await;
    assert_eq!(said.status, ConditionStatus::False);
    assert!(said.message.contains("verify aksk signature fail"), "{}", said.message);
    for name in &names {
        let status = world.says(name, Reason::WaitingForProvider).await;
        assert_eq!((status.outcome, status.attempts), (None, None), "{name}");
    }
    assert_eq!((world.seen(), world.emulator.requests().failed_authentications), (0, 1));

    world.secret(KEY.1).await;
    for name in &names {
        let status = world.end(name).await;
        assert_eq!(status.outcome, Some(Outcome::Accepted), "{name}");
        assert_eq!((status.failed_attempts, status.throttled_attempts), (None, None), "{name}");
        assert_eq!(world.accepted(name).len(), 1, "{name}");
    }
    assert_eq!(world.provider_says(Reason::ProviderReady).await.status, ConditionStatus::True);
    assert_eq!((world.seen(), world.emulator.requests().failed_authentications), (20, 1));
}

#[tokio::test]
async fn t13_a_wrong_key_in_the_secrets_of_many_providers_is_tried_once_and_corrected_in_all_of_them() {
    let world = World::new().await;
    let wrong = "wrong-secret-key-00000000000000000000002";
    let names: Vec<String> = (0..8).map(|n| format!("p-{n}")).collect();
    let jobs = || names.iter().flat_map(|name| (0..3).map(move |n| (name, format!("{name}-job-{n}"))));
    for name in &names {
        let data = json!({"stringData": {"accessKeyID": KEY.0, "secretAccessKey": wrong}});
        world.create::<Secret>(name, data).await.unwrap();
        let credentials = json!({"accessKey": {"secretRef": {"name": name}}});
        world.provider_named(name, json!({"credentials": credentials})).await;
    }
    for (provider, job) in jobs() {
        let reference = json!({"name": provider});
        world.invoke(&job, json!({"function": {"name": "hello"}, "providerRef": reference})).await;
    }
    let _operator = world.operator().await;
    for (_, job) in jobs() {
        world.tells(&job, "is not ready (CredentialsInvalid)").await;
    }
    assert_eq!(world.emulator.requests().failed_authentications, 1);

    for name in &names {
        world.change::<Secret>(name, json!({"stringData": {"secretAccessKey": KEY.1}})).await;
    }
    for (_, job) in jobs() {
        assert_eq!(world.end(&job).await.outcome, Some(Outcome::Accepted), "{job}");
    }
    assert_eq!(world.emulator.requests().failed_authentications, 1);
}

#[tokio::test]
async fn t13_what_one_replica_was_told_of_a_key_the_next_one_does_not_try() {
    let world = World::new().await;
    world.secret("wrong-secret-key-00000000000000000000003").await;
    world.provider_with(json!({})).await;
    let first = world.operator().await;
    world.invoke("one", json!({"function": {"name": "hello"}})).await;
    world.tells("one", "is not ready (CredentialsInvalid)").await;
    let told = world.provider_status(|status| status.credential_refusal.is_some()).await;
    let refusal = told.credential_refusal.unwrap();
    let secret = world.api::<Secret>().get("key").await.unwrap();
    assert_eq!(Some(refusal.secret_resource_version), secret.metadata.resource_version);
    let failures = world.emulator.requests().failed_authentications;
    first.kill().await;

    let _second = world.operator().await;
    world.invoke("two", json!({"function": {"name": "hello"}})).await;
    world.tells("two", "is not ready (CredentialsInvalid)").await;
    assert_eq!(world.emulator.requests().failed_authentications, failures);
    assert!(
        world.provider_says(Reason::CredentialsInvalid).await.message.contains("verify aksk signature fail")
    );

    world.secret(KEY.1).await;
    for name in ["one", "two"] {
        assert_eq!(world.end(name).await.outcome, Some(Outcome::Accepted), "{name}");
    }
    world.provider_status(|status| status.credential_refusal.is_none()).await;
    assert_eq!(world.emulator.requests().failed_authentications, failures);
}

#[tokio::test]
async fn t13_a_token_opens_the_door_and_a_wrong_one_waits_to_be_replaced() {
    let world = World::new().await;
    let token = |value: &str| json!({"stringData": {"token": value}});
    world.create::<Secret>("token", token("expired-token")).await.unwrap();
    world.provider_with(json!({"credentials": {"token": {"secretRef": {"name": "token"}}}})).await;
    let operator = world.operator().await;
    world.invoke("with-token", json!({"function": {"name": "hello"}})).await;

    let said = world.provider_says(Reason::CredentialsInvalid).await;
    assert!(said.message.contains("Secret token"), "{}", said.message);

    world.change::<Secret>("token", token("test-token")).await;
    assert_eq!(world.end("with-token").await.outcome, Some(Outcome::Accepted));
    assert_eq!(world.emulator.ledger().len(), 1);
    assert!(world.emulator.requests().failed_authentications <= 3);
    operator.stop().await;
    let logs = world.logs();
    assert!(!logs.contains("expired-token") && !logs.contains("test-token"));
}

#[tokio::test]
async fn invocations_outlive_their_provider_and_go_on_with_the_next_of_its_name() {
    let world = World::new().await;
    world.provider_with(json!({})).await;
    let _operator = world.operator().await;
    let names = ["orphan-1", "orphan-2", "orphan-3"];
    for name in names {
        world.invoke(name, json!({"function": {"name": "hello"}, "payload": {"tag": name}})).await;
    }
    for name in names {
        world.tells(name, "is not ready (SecretNotFound)").await;
    }

    world.api::<FunctionGraphProvider>().delete("default", &DeleteParams::default()).await.unwrap();
    for name in names {
        world.tells(name, "FunctionGraphProvider default does not exist").await;
    }

    world.provider().await;
    for name in names {
        assert_eq!(world.end(name).await.outcome, Some(Outcome::Accepted), "{name}");
        assert_eq!(world.accepted(name).len(), 1, "{name}");
    }
}

#[tokio::test]
async fn what_a_dead_replica_found_does_not_stand_for_ever() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    let found = world.provider_says(Reason::ProviderReady).await;
    // As another replica would write that cannot reach the endpoint, and is gone then.
    let mut theirs = serde_json::to_value(&found).unwrap();
    theirs["status"] = "False".into();
    theirs["reason"] = "EndpointUnreachable".into();
    let patch = Patch::Merge(json!({"status": {"conditions": [theirs]}}));
    let providers = world.api::<FunctionGraphProvider>();
    providers.patch_status("default", &PatchParams::default(), &patch).await.unwrap();

    assert_eq!(world.provider_says(Reason::ProviderReady).await.status, ConditionStatus::True);
}
