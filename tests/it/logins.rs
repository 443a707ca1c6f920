//! Credentials that are exchanged for others: had in time, renewed in the background, and never hammered for.

use functiongraph_emulator::{Api, Config, Identity, IdentityApi, IdentityProvider, Project, User};
use functiongraph_operator::api::invocation::Outcome;
use functiongraph_operator::api::{
    Condition, ConditionStatus, ConditionType, FunctionGraphProvider, FunctionGraphProviderStatus, Reason,
};
use functiongraph_operator::clock;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::control_plane::ADMIN;
use testkit::{KEY, PROJECT, World, output, plane, text};
use tokio::process::Command;

pub const PASSWORD: &str = "emulator-pass word \"quoted\"";

/// A world whose identity service knows a user, with tokens and keys that live this long.
pub async fn world(life: Duration, change: impl FnOnce(&mut Identity)) -> World {
    World::with(|config: &mut Config| {
        config.identity = Identity {
            token_lifetime: life,
            keys_lifetime: life,
            users: vec![User { domain: "acct".into(), name: "ci".into(), password: PASSWORD.into() }],
            ..Identity::default()
        };
        change(&mut config.identity);
    })
    .await
}

/// The Secret `user` with this password, made or replaced.
pub async fn user(world: &World, password: &str) {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "user"},
        "stringData": {"domainName": "acct", "userName": "ci", "password": password},
    });
    let parameters = PatchParams::apply("test").force();
    world.api::<Secret>().patch("user", &parameters, &Patch::Apply(secret)).await.expect("a secret");
}

/// The provider `default` that logs in at the emulator; `more` is merged into its spec.
pub async fn provider(world: &World, credentials: Value, more: Value) {
    let mut spec =
        json!({"credentials": credentials, "iamEndpoint": world.emulator.url(), "projectID": null});
    for (field, value) in more.as_object().cloned().unwrap_or_default() {
        spec[field] = value;
    }
    world.provider_with(spec).await;
}

pub fn password() -> Value {
    json!({"password": {"secretRef": {"name": "user"}}})
}

/// How often an identity API was called.
pub fn calls(world: &World, api: IdentityApi) -> u64 {
    world.emulator.requests().calls.get(&Api::from(api)).copied().unwrap_or_default()
}

/// The condition `Ready` of a provider.
pub fn ready(status: &FunctionGraphProviderStatus) -> &Condition {
    Condition::find(&status.conditions, ConditionType::Ready).unwrap()
}

/// Invokes `hello`, and asserts that it is accepted.
pub async fn accepted(world: &World, name: &str) {
    world.invoke(name, json!({"function": {"name": "hello"}, "payload": {"tag": name}})).await;
    let status = world.end(name).await;
    assert_eq!(status.outcome, Some(Outcome::Accepted), "{name}: {:?}", status.error);
    assert_eq!(world.accepted(name).len(), 1, "{name}");
}

#[tokio::test]
async fn a_password_becomes_a_token_that_says_which_project_it_is_for() {
    let world = world(Duration::from_hours(24), |_| {}).await;
    user(&world, PASSWORD).await;
    provider(&world, password(), json!({})).await;
    let operator = world.operator().await;
    accepted(&world, "one").await;
    accepted(&world, "two").await;

    let status = world.provider_status(|status| ready(status).status == ConditionStatus::True).await;
    assert_eq!(status.project_id.as_deref(), Some(PROJECT));
    let left = status.credential_expiration_time.unwrap().duration_since(clock::now());
    assert!(left > SignedDuration::from_hours(23) && left <= SignedDuration::from_hours(24), "{left}");
    assert_eq!((calls(&world, IdentityApi::Password), calls(&world, IdentityApi::Projects)), (1, 0));
    operator.stop().await;
    assert!(!world.logs().contains("emulator-pass"));
}

#[tokio::test]
async fn credentials_that_live_for_seconds_are_renewed_in_the_background_and_no_invocation_fails() {
    let world = world(Duration::from_secs(12), |_| {}).await;
    user(&world, PASSWORD).await;
    provider(&world, password(), json!({})).await;
    let _operator = world.operator().await;
    let mut ends = Vec::new();
    let (mut number, mut overlap) = (0, false);
    while calls(&world, IdentityApi::Password) < 4 {
        overlap |= world.emulator.issued().tokens > 1;
        let name = format!("job-{number}");
        world.invoke(&name, json!({"function": {"name": "hello"}, "payload": {"tag": name}})).await;
        let status = world.end(&name).await;
        assert_eq!((status.outcome, status.attempts), (Some(Outcome::Accepted), Some(1)), "{name}");
        number += 1;
        let provider = world.api::<FunctionGraphProvider>().get("default").await.unwrap();
        ends.extend(provider.status.unwrap().credential_expiration_time);
    }
    ends.dedup();
    assert!(ends.len() >= 3 && ends.is_sorted(), "{ends:?}");
    assert!(overlap, "the next came only when the last had ended");
    assert_eq!(world.emulator.requests().failed_authentications, 0);
    assert_eq!(world.emulator.ledger().len(), number);
}

#[tokio::test]
async fn t13_a_wrong_password_is_tried_once_and_the_right_one_as_soon_as_it_is_there() {
    let world = world(Duration::from_hours(24), |_| {}).await;
    user(&world, "wrong-canary").await;
    provider(&world, password(), json!({})).await;
    let operator = world.operator().await;
    world.invoke("waits", json!({"function": {"name": "hello"}})).await;

    let said = world.provider_says(Reason::CredentialsInvalid).await;
    let words = "The identity service does not accept the credential in Secret user: refused with status 401";
    assert!(said.message.starts_with(words), "{}", said.message);
    assert!(
        said.message.ends_with("Correct the Secret. The operator reads it again every 1 s."),
        "{}",
        said.message
    );
    world.tells("waits", "is not ready (CredentialsInvalid)").await;
    // It is read again and again, also when it is touched without a change, and not tried again.
    for touch in 0..3 {
        let touched = json!({"metadata": {"annotations": {"touched": touch.to_string()}}});
        world.change::<Secret>("user", touched).await;
        let limits = json!({"spec": {"limits": {"maxInFlight": 10 + touch}}});
        let changed = world.change::<FunctionGraphProvider>("default", limits).await;
        world.provider_status(|status| status.observed_generation == changed.metadata.generation).await;
    }
    assert_eq!(calls(&world, IdentityApi::Password), 1);

    user(&world, PASSWORD).await;
    assert_eq!(world.end("waits").await.outcome, Some(Outcome::Accepted));
    world.provider_status(|status| ready(status).status == ConditionStatus::True).await;
    assert_eq!(calls(&world, IdentityApi::Password), 2);
    operator.stop().await;
    assert!(!world.logs().contains("wrong-canary"));
}

#[tokio::test]
async fn a_renewal_that_fails_leaves_the_old_credential_in_use_and_is_told() {
    let world = world(Duration::from_secs(15), |_| {}).await;
    user(&world, PASSWORD).await;
    provider(&world, password(), json!({})).await;
    let _operator = world.operator().await;
    accepted(&world, "before").await;
    let busy = json!({"when": "forever", "api": "v3/tokens", "action": {"status": {"status": 503}}});
    world.fault(busy);

    let status = world.provider_status(|status| ready(status).message.contains("could not be renewed")).await;
    assert_eq!(ready(&status).status, ConditionStatus::True);
    assert!(ready(&status).message.contains("status 503"), "{}", ready(&status).message);
    accepted(&world, "meanwhile").await;

    // What has ended is not used, and not offered to the service either.
    let status = world.provider_status(|status| ready(status).status == ConditionStatus::False).await;
    assert_eq!(ready(&status).reason, Reason::EndpointUnreachable, "{}", ready(&status).message);
    assert_eq!(status.credential_expiration_time, None);
    world.invoke("later", json!({"function": {"name": "hello"}, "payload": {"tag": "later"}})).await;
    world.tells("later", "is not ready (EndpointUnreachable)").await;
    world.emulator.clear_faults();
    assert_eq!(world.end("later").await.outcome, Some(Outcome::Accepted));
    assert_eq!(world.emulator.requests().failed_authentications, 0);
}

#[tokio::test]
async fn t13_a_renewal_that_is_forbidden_for_other_reasons_leaves_the_old_credential_in_use() {
    let world = world(Duration::from_secs(20), |_| {}).await;
    user(&world, PASSWORD).await;
    provider(&world, password(), json!({})).await;
    let _operator = world.operator().await;
    accepted(&world, "before").await;
    let forbidden = json!({"status": 403, "errorCode": "IAM.0002", "errorMsg": "a policy in between"});
    world.fault(json!({"when": "forever", "api": "v3/tokens", "action": {"status": forbidden}}));
    let status = world.provider_status(|status| ready(status).message.contains("could not be renewed")).await;
    assert_eq!(ready(&status).status, ConditionStatus::True, "{}", ready(&status).message);
    assert!(ready(&status).message.contains("a policy in between"), "{}", ready(&status).message);
    accepted(&world, "meanwhile").await;
    // Tried once, and not again before it ended; then it says what was said.
    let status = world.provider_status(|status| ready(status).status == ConditionStatus::False).await;
    assert_eq!(ready(&status).reason, Reason::CredentialsInvalid, "{}", ready(&status).message);
    assert!(ready(&status).message.contains("a policy in between"), "{}", ready(&status).message);
    assert_eq!(calls(&world, IdentityApi::Password), 2);
    assert_eq!(world.emulator.requests().failed_authentications, 0);
}

#[tokio::test]
async fn what_the_owner_takes_back_counts_also_while_a_login_takes_its_time() {
    let world = world(Duration::from_hours(24), |_| {}).await;
    user(&world, PASSWORD).await;
    provider(&world, password(), json!({})).await;
    let _operator = world.operator().await;
    accepted(&world, "before").await;
    world.fault(json!({"when": "forever", "api": "v3/tokens", "action": {"hang": {}}}));
    let less = json!({"spec": {"allowedFunctions": ["default:other:*"], "projectID": PROJECT}});
    world.change::<FunctionGraphProvider>("default", less).await;
    let asked = json!({"function": {"name": "hello"}, "payload": {"tag": "after"}});
    world.invoke("after", asked).await;
    // The login has been given up, and nothing was sent meanwhile.
    world.provider_status(|status| ready(status).reason == Reason::EndpointUnreachable).await;
    assert_eq!(world.accepted("after").len(), 0);
    world.emulator.clear_faults();
    let status = world.end("after").await;
    let reason = Condition::find(&status.conditions, ConditionType::Ready).map(|ready| ready.reason);
    assert_eq!((status.outcome, reason), (Some(Outcome::Failed), Some(Reason::AccessDenied)));
    assert_eq!(world.accepted("after").len(), 0);
}

#[tokio::test]
async fn t13_a_token_that_was_revoked_is_renewed_once() {
    let world = world(Duration::from_hours(24), |_| {}).await;
    user(&world, PASSWORD).await;
    provider(&world, password(), json!({})).await;
    let _operator = world.operator().await;
    accepted(&world, "before").await;
    world.emulator.revoke_issued();
    let names: Vec<String> = (0..5).map(|n| format!("after-{n}")).collect();
    for name in &names {
        world.invoke(name, json!({"function": {"name": "hello"}, "payload": {"tag": name}})).await;
    }
    for name in &names {
        assert_eq!(world.end(name).await.outcome, Some(Outcome::Accepted), "{name}");
    }
    assert_eq!(calls(&world, IdentityApi::Password), 2);
    world.provider_status(|status| ready(status).status == ConditionStatus::True).await;
}

#[tokio::test]
async fn t13_a_renewed_token_that_is_refused_too_is_left_alone() {
    let world = world(Duration::from_hours(24), |_| {}).await;
    user(&world, PASSWORD).await;
    provider(&world, password(), json!({})).await;
    let answer = json!({"status": 401, "errorCode": "APIG.0301", "errorMsg": "decrypt token fail"});
    world.fault(json!({"when": "forever", "action": {"status": answer}}));
    let _operator = world.operator().await;
    world.invoke("waits", json!({"function": {"name": "hello"}})).await;

    let said = world.provider_says(Reason::CredentialsInvalid).await;
    let words = "The service does not accept the credential in Secret user: ";
    assert!(
        said.message.starts_with(words) && said.message.contains("decrypt token fail"),
        "{}",
        said.message
    );
    let tried = world.emulator.requests();
    assert_eq!(calls(&world, IdentityApi::Password), 2);
    // It rests: what changes without being a correction changes nothing.
    for rate in 10..13 {
        let limits = json!({"spec": {"limits": {"maxInFlight": rate}}});
        let changed = world.change::<FunctionGraphProvider>("default", limits).await;
        world.provider_status(|status| status.observed_generation == changed.metadata.generation).await;
    }
    assert_eq!(world.emulator.requests(), tried);
}

#[tokio::test]
async fn a_project_is_looked_up_once_by_the_name_of_the_region() {
    let world = world(Duration::from_hours(24), |_| {}).await;
    world.secret(KEY.1).await;
    provider(&world, json!({"accessKey": {"secretRef": {"name": "key"}}}), json!({})).await;
    let _operator = world.operator().await;
    accepted(&world, "one").await;
    accepted(&world, "two").await;
    let status = world.provider_status(|status| ready(status).status == ConditionStatus::True).await;
    assert_eq!(status.project_id.as_deref(), Some(PROJECT));
    assert_eq!((status.credential_expiration_time, calls(&world, IdentityApi::Projects)), (None, 1));
}

#[tokio::test]
async fn t13_a_wrong_key_of_many_providers_looks_for_their_project_once() {
    let world = world(Duration::from_hours(24), |_| {}).await;
    world.secret("wrong-secret-key-00000000000000000000004").await;
    let names: Vec<String> = (0..8).map(|n| format!("p-{n}")).collect();
    for name in &names {
        let iam = world.emulator.url();
        world.provider_named(name, json!({"projectID": null, "iamEndpoint": iam})).await;
        let spec = json!({"function": {"name": "hello"}, "providerRef": {"name": name}});
        world.invoke(name, spec).await;
    }
    let _operator = world.operator().await;
    for name in &names {
        world.tells(name, "is not ready (CredentialsInvalid)").await;
    }
    assert_eq!(world.emulator.requests().failed_authentications, 1);

    world.secret(KEY.1).await;
    for name in &names {
        assert_eq!(world.end(name).await.outcome, Some(Outcome::Accepted), "{name}");
    }
    assert_eq!(world.emulator.requests().failed_authentications, 1);
}

#[tokio::test]
async fn of_several_projects_the_owner_chooses() {
    let world = world(Duration::from_hours(24), |identity| {
        identity.projects.push(Project { id: PROJECT.into(), name: "eu-de".into() });
        identity.projects.push(Project { id: "0123456789abcdef".into(), name: "eu-de".into() });
    })
    .await;
    world.secret(KEY.1).await;
    provider(&world, json!({"accessKey": {"secretRef": {"name": "key"}}}), json!({})).await;
    let _operator = world.operator().await;
    let said = world.provider_says(Reason::CredentialsInvalid).await;
    let both = [PROJECT, "0123456789abcdef", "spec.projectID"];
    assert!(both.iter().all(|part| said.message.contains(part)), "{}", said.message);

    world.change::<FunctionGraphProvider>("default", json!({"spec": {"projectID": PROJECT}})).await;
    accepted(&world, "chosen").await;
    assert_eq!(calls(&world, IdentityApi::Projects), 1);
}

#[tokio::test]
async fn t01_the_identity_service_is_held_to_the_list_of_hosts_too() {
    let world = world(Duration::from_hours(24), |_| {}).await;
    user(&world, PASSWORD).await;
    let elsewhere = world.emulator.url().replace("localhost", "127.0.0.1");
    provider(&world, password(), json!({"iamEndpoint": elsewhere})).await;
    let _operator = world.operator().await;
    let said = world.provider_says(Reason::EndpointRefused).await;
    assert!(said.message.contains("The host 127.0.0.1 of the iamEndpoint is not on"), "{}", said.message);
    assert_eq!(world.seen(), 0);
}

/// Keys that IAM believes, as the API server publishes them, for one ServiceAccount and one audience.
pub async fn federated(audience: &str, life: Duration) -> World {
    federated_with(audience, life, |_| {}).await
}

/// The same, with more that the identity services know.
pub async fn federated_with(audience: &str, life: Duration, more: impl FnOnce(&mut Identity)) -> World {
    // The namespace is known only afterwards: any ServiceAccount named `deployer` of any namespace will do.
    let keys = testkit::plane().await.client().unwrap();
    let request = http::Request::get("/openid/v1/jwks").body(Vec::new()).unwrap();
    let keys: Value = serde_json::from_str(&keys.request_text(request).await.unwrap()).unwrap();
    let world = world(life, |identity| {
        identity.identity_providers.push(IdentityProvider {
            issuer: Some("https://kubernetes.default.svc".into()),
            audience: Some(audience.into()),
            jwks: Some(keys),
            ..IdentityProvider::named("my-cluster")
        });
        more(identity);
    })
    .await;
    world.create::<ServiceAccount>("deployer", json!({})).await.unwrap();
    world
}

#[tokio::test]
async fn a_service_account_becomes_keys_or_a_token_without_any_secret() {
    for (mode, exchanged) in [("Keys", 1), ("Token", 0)] {
        let world = federated("functiongraph", Duration::from_hours(1)).await;
        let oidc = json!({"serviceAccountRef": {"name": "deployer"}, "idpID": "my-cluster", "mode": mode});
        provider(&world, json!({"oidc": oidc}), json!({})).await;
        let operator = world.operator().flags(&["--token-audience=functiongraph"]).await;
        accepted(&world, "one").await;
        accepted(&world, "two").await;

        let status = world.provider_status(|status| ready(status).status == ConditionStatus::True).await;
        assert_eq!(status.project_id.as_deref(), Some(PROJECT), "{mode}");
        assert!(status.credential_expiration_time.is_some(), "{mode}");
        assert_eq!(calls(&world, IdentityApi::IdToken), 1, "{mode}");
        assert_eq!(calls(&world, IdentityApi::SecurityTokens), exchanged, "{mode}");
        assert_eq!(calls(&world, IdentityApi::Projects), exchanged, "{mode}");
        operator.stop().await;
        assert!(!world.logs().contains("eyJ"), "{mode}: a token is in the log");
    }
}

#[tokio::test]
async fn keys_of_a_service_account_are_renewed_with_a_new_token_each_time() {
    let world = federated("functiongraph", Duration::from_secs(12)).await;
    let oidc = json!({"serviceAccountRef": {"name": "deployer"}, "idpID": "my-cluster"});
    provider(&world, json!({"oidc": oidc}), json!({"projectID": PROJECT})).await;
    let _operator = world.operator().flags(&["--token-audience=functiongraph"]).await;
    let (mut number, mut overlap) = (0, false);
    while calls(&world, IdentityApi::SecurityTokens) < 4 {
        overlap |= world.emulator.issued().keys > 1;
        let name = format!("job-{number}");
        world.invoke(&name, json!({"function": {"name": "hello"}, "payload": {"tag": name}})).await;
        let status = world.end(&name).await;
        assert_eq!((status.outcome, status.attempts), (Some(Outcome::Accepted), Some(1)), "{name}");
        number += 1;
    }
    assert!(overlap, "the next came only when the last had ended");
    assert_eq!(world.emulator.requests().failed_authentications, 0);
}

#[tokio::test]
async fn t01_an_audience_that_the_api_server_takes_itself_is_refused_at_the_start() {
    let world = World::new().await;
    world.create::<ServiceAccount>("operator", json!({})).await.unwrap();
    let token = text(&world.kubectl(&["create", "token", "operator"]).await.stdout);
    let admins = plane().await.kubeconfig(ADMIN).unwrap();
    let config = std::fs::read_to_string(&admins).unwrap();
    let (before, _) = config.rsplit_once("{token: ").unwrap();
    // Beside the other, because it names the authority's file without a folder.
    let own = admins.with_file_name(format!("{}.kubeconfig", world.namespace));
    std::fs::write(&own, format!("{before}{{token: {}}}\n", token.trim())).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_functiongraph-operator"));
    command.args(["run", "--probe-listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0"]);
    command.args(["--token-audience=https://kubernetes.default.svc"]);
    command.arg("--kubeconfig").arg(&own);
    let said = output(command, "").await;
    assert!(!said.status.success());
    let words = "--token-audience=https://kubernetes.default.svc is an audience that the API server accepts";
    assert!(text(&said.stderr).contains(words), "{}", text(&said.stderr));
}

#[tokio::test]
async fn t02_the_audience_is_the_operators_and_without_one_no_token_is_made() {
    let world = federated("functiongraph", Duration::from_hours(1)).await;
    let oidc = json!({"serviceAccountRef": {"name": "deployer"}, "idpID": "my-cluster"});
    provider(&world, json!({"oidc": oidc}), json!({})).await;
    let none = world.operator().await;
    let said = world.provider_says(Reason::Unsupported).await;
    assert!(said.message.contains("--token-audience"), "{}", said.message);
    none.stop().await;
    assert_eq!(world.seen(), 0);

    let another = world.operator().flags(&["--token-audience=somebody-else"]).await;
    let said = world.provider_says(Reason::CredentialsInvalid).await;
    assert!(said.message.contains("the token of ServiceAccount deployer"), "{}", said.message);
    another.stop().await;

    let missing = json!({"spec": {"credentials": {"oidc": {"serviceAccountRef": {"name": "absent"}}}}});
    world.change::<FunctionGraphProvider>("default", missing).await;
    let _operator = world.operator().flags(&["--token-audience=functiongraph"]).await;
    let words = format!("ServiceAccount absent does not exist in namespace {}: create it.", world.namespace);
    world.provider_status(|status| ready(status).message == words).await;
    // No field of a provider can ask for another audience.
    let asks = json!({"spec": {"credentials": {"oidc": {"audience": "https://kubernetes.default.svc"}}}});
    let manifest = asks.to_string();
    let patch =
        ["patch", "fgp", "default", "--type=merge", "--dry-run=server", "-o", "json", "-p", &manifest];
    let said = text(&world.kubectl(&patch).await.stdout);
    let pruned: DynamicObject = serde_json::from_str(&said).unwrap();
    assert_eq!(pruned.data.pointer("/spec/credentials/oidc/audience"), None);
}
