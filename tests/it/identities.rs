//! Identities without a Secret: agencies, the operator's own Pod and node, files of the kubelet; and who may use which.

use crate::chart::rendered;
use crate::cluster::{alone_with, apply, assert_admitted, grant_rights, invoke, says, share_as};
use crate::logins::{accepted, calls, federated_with, provider, ready, world};
use functiongraph_emulator::{
    Agency, Config, Identity, IdentityApi, IdentityProvider, Metadata, PodIdentity,
};
use functiongraph_operator::api::invocation::Outcome;
use functiongraph_operator::api::{ConditionStatus, FunctionGraphProvider, Reason};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use serde_json::json;
use std::fs;
use std::time::Duration;
use testkit::{NOBODY, PROJECT, World};

const AGENCY: &str = "iam::emulator:agency:invoker";

fn agency(identity: &mut Identity) {
    identity.agencies.push(Agency { urn: AGENCY.into(), subjects: Vec::new() });
}

#[tokio::test]
async fn a_service_account_assumes_an_agency_through_the_security_token_service() {
    let world = federated_with("functiongraph", Duration::from_hours(1), agency).await;
    let sts =
        |agency: &str| json!({"providerURN": "iam::emulator:oidcProvider:my-cluster", "agencyURN": agency});
    let oidc = json!({"serviceAccountRef": {"name": "deployer"}, "sts": sts("iam::emulator:agency:other")});
    let place = json!({"stsEndpoint": world.emulator.url()});
    provider(&world, json!({"oidc": oidc}), place).await;
    let _operator = world.operator().flags(&["--token-audience=functiongraph"]).await;
    let said = world.provider_says(Reason::CredentialsInvalid).await;
    assert!(said.message.contains("The identity service does not accept"), "{}", said.message);
    assert_eq!(calls(&world, IdentityApi::AssumeAgency), 1);

    let right = json!({"spec": {"credentials": {"oidc": {"sts": sts(AGENCY)}}}});
    world.change::<FunctionGraphProvider>("default", right).await;
    accepted(&world, "assumed").await;
    let status = world.provider_status(|status| ready(status).status == ConditionStatus::True).await;
    // Keys belong to no project: it is looked up.
    assert_eq!(status.project_id.as_deref(), Some(PROJECT));
    assert!(status.credential_expiration_time.is_some());
    assert_eq!((calls(&world, IdentityApi::AssumeAgency), calls(&world, IdentityApi::Projects)), (2, 1));

    let elsewhere = world.emulator.url().replace("localhost", "127.0.0.1");
    world.change::<FunctionGraphProvider>("default", json!({"spec": {"stsEndpoint": elsewhere}})).await;
    let said = world.provider_says(Reason::EndpointRefused).await;
    assert!(said.message.contains("The host 127.0.0.1 of the stsEndpoint is not on"), "{}", said.message);
}

/// A world with a machine and a pod around the operator, and the flags that tell it of them.
async fn with_surroundings(life: Duration) -> (World, tempfile::TempDir, Vec<String>) {
    let world = world(life, |identity| {
        identity.metadata = Some(Metadata::default());
        identity.pod_identity = Some(PodIdentity::with("pod-token-canary"));
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "pod-token-canary\n").unwrap();
    let flags = vec![
        format!("--metadata-url={}", world.emulator.metadata_url().unwrap()),
        format!("--pod-identity-url={}", world.emulator.pod_identity_url().unwrap()),
        format!("--pod-identity-token-file={}", file.display()),
    ];
    (world, folder, flags)
}

fn borrowed(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn t02_the_operators_own_identity_is_for_providers_that_the_platform_team_lists() {
    for (credentials, api) in [
        (json!({"podIdentity": {}}), IdentityApi::PodIdentity),
        (json!({"instanceMetadata": {}}), IdentityApi::MetadataKey),
    ] {
        let (world, _folder, mut flags) = with_surroundings(Duration::from_hours(1)).await;
        provider(&world, credentials.clone(), json!({})).await;
        world.invoke("waits", json!({"function": {"name": "hello"}})).await;
        let mut nearly = flags.clone();
        // The one of the cluster, one of another namespace, and another of the same.
        nearly.push(format!("--own-identity-providers=default,other/default,{}/others", world.namespace));
        for flags in [&flags, &nearly] {
            let operator = world.operator().flags(&borrowed(flags)).await;
            let said = world.provider_says(Reason::AccessDenied).await;
            let words = format!("--own-identity-providers={}/default", world.namespace);
            assert!(said.message.contains(&words), "{}", said.message);
            operator.stop().await;
        }
        assert_eq!(calls(&world, api), 0, "{credentials}");

        flags.push(format!("--own-identity-providers=a/b,{}/default", world.namespace));
        let operator = world.operator().flags(&borrowed(&flags)).await;
        assert_eq!(world.end("waits").await.outcome, Some(Outcome::Accepted), "{credentials}");
        let status = world.provider_status(|status| ready(status).status == ConditionStatus::True).await;
        assert_eq!(status.project_id.as_deref(), Some(PROJECT), "{credentials}");
        assert!(status.credential_expiration_time.is_some(), "{credentials}");
        assert_eq!(calls(&world, api), 1, "{credentials}");
        operator.stop().await;
        assert!(!world.logs().contains("pod-token-canary"));
    }
}

#[tokio::test]
async fn keys_of_the_operators_pod_are_renewed_with_the_file_as_it_is_then() {
    let (world, folder, mut flags) = with_surroundings(Duration::from_secs(12)).await;
    flags.push(format!("--own-identity-providers={}/default", world.namespace));
    provider(&world, json!({"podIdentity": {}}), json!({"projectID": PROJECT})).await;
    let _operator = world.operator().flags(&borrowed(&flags)).await;
    accepted(&world, "first").await;
    // Not readable for a while: it goes on with what it has, and says so.
    fs::rename(folder.path().join("token"), folder.path().join("away")).unwrap();
    let status = world.provider_status(|status| ready(status).message.contains("could not be renewed")).await;
    assert_eq!(ready(&status).status, ConditionStatus::True, "{}", ready(&status).message);
    fs::rename(folder.path().join("away"), folder.path().join("token")).unwrap();
    accepted(&world, "second").await;
    let mut number = 0;
    while calls(&world, IdentityApi::PodIdentity) < 4 {
        accepted(&world, &format!("job-{number}")).await;
        number += 1;
    }
    assert_eq!(world.emulator.requests().failed_authentications, 0);
}

/// What an id token says of itself is not looked at here, but when it ends.
fn believing(config: &mut Config) {
    config.identity.identity_providers = vec![IdentityProvider {
        audience: Some("functiongraph".into()),
        ..IdentityProvider::named("my-cluster")
    }];
}

/// A token of a ServiceAccount, as the kubelet would write it.
async fn projected(world: &World) -> String {
    world.create::<ServiceAccount>("kubelet", json!({})).await.unwrap();
    let spec = TokenRequestSpec {
        audiences: Some(vec!["functiongraph".into()]),
        expiration_seconds: Some(600),
        bound_object_ref: None,
    };
    let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
    let api = world.api::<ServiceAccount>();
    let made = api.create_token_request("kubelet", &PostParams::default(), &request).await.unwrap();
    made.status.unwrap().token.unwrap()
}

#[tokio::test]
async fn t02_a_projected_token_is_for_providers_of_the_cluster_and_from_one_folder_only() {
    let (world, _turn) = alone_with(believing).await;
    let outside = tempfile::tempdir().unwrap();
    let folder = outside.path().join("tokens");
    fs::create_dir(&folder).unwrap();
    let token = projected(&world).await;
    fs::write(folder.join("functiongraph"), &token).unwrap();
    fs::write(outside.path().join("secret"), &token).unwrap();
    std::os::unix::fs::symlink("../secret", folder.join("link")).unwrap();
    let everybody = json!({"selector": {}});
    let of = |file: &str| json!({"oidc": {"projectedTokenFile": file, "idpID": "my-cluster"}});
    share_as(&world, "inside", everybody.clone(), of("functiongraph")).await.unwrap();
    share_as(&world, "outside", everybody.clone(), of("link")).await.unwrap();
    for file in ["../secret", "/etc/passwd", "a/b", "..", ".hidden", ""] {
        assert!(share_as(&world, "tricks", everybody.clone(), of(file)).await.is_err(), "{file}");
    }
    let Err(kube::Error::Api(said)) = world
        .create::<FunctionGraphProvider>(
            "tenant",
            json!({"spec": {"region": "eu-de", "credentials": of("functiongraph")}}),
        )
        .await
    else {
        panic!("a tenant names a file of the operator");
    };
    assert!(
        said.message.contains("projectedTokenFile is only for a ClusterFunctionGraphProvider"),
        "{}",
        said.message
    );

    let none = world.operator().cluster_wide(&world.namespace).await;
    let said = says(&world, "inside", Reason::Unsupported).await;
    assert!(said.message.contains("--token-folder"), "{}", said.message);
    none.stop().await;
    let flag = format!("--token-folder={}", folder.display());
    let operator = world.operator().cluster_wide(&world.namespace).flags(&[&flag]).await;
    assert_admitted("inside", invoke(&world, &world.namespace, "inside", "inside").await, true);
    says(&world, "inside", Reason::ProviderReady).await;
    let said = says(&world, "outside", Reason::CredentialsInvalid).await;
    assert!(said.message.contains("it is a link out of the folder"), "{}", said.message);
    assert_eq!(calls(&world, IdentityApi::IdToken), 1);
    operator.stop().await;
    assert!(!world.logs().contains(&token));
}

#[tokio::test]
async fn t10_tokens_of_one_service_account_are_made_with_the_documented_role_and_of_no_other() {
    let (world, _turn) = alone_with(believing).await;
    grant_rights().await;
    let of = |name: &str| json!({"oidc": {"serviceAccountRef": {"name": name}, "idpID": "my-cluster"}});
    for name in ["functiongraph", "other"] {
        world.create::<ServiceAccount>(name, json!({})).await.unwrap();
        share_as(&world, name, json!({"selector": {}}), of(name)).await.unwrap();
    }
    let _operator = world
        .operator()
        .cluster_wide(&world.namespace)
        .user(NOBODY)
        .flags(&["--token-audience=functiongraph"])
        .await;
    for name in ["functiongraph", "other"] {
        let said = says(&world, name, Reason::CredentialsInvalid).await;
        assert!(said.message.contains("grant it create on serviceaccounts/token"), "{}", said.message);
    }
    let allowed = format!(
        "settings.tokenAudience=functiongraph,rbac.tokenServiceAccounts[0].namespace={},\
         rbac.tokenServiceAccounts[0].names={{functiongraph}}",
        world.namespace
    );
    let rights = rendered("functiongraph", &["-s", "templates/rbac-tokens.yaml", "--set", &allowed]).await;
    apply(&rights).await;
    let subject = json!({"kind": "User", "name": NOBODY, "apiGroup": "rbac.authorization.k8s.io"});
    let name = "functiongraph-functiongraph-operator-tokens";
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "operator-under-test", "namespace": world.namespace},
        "subjects": [subject],
        "roleRef": {"kind": "Role", "name": name, "apiGroup": "rbac.authorization.k8s.io"},
    });
    apply(&binding.to_string()).await;

    says(&world, "functiongraph", Reason::ProviderReady).await;
    assert_admitted("allowed", invoke(&world, &world.namespace, "functiongraph", "allowed").await, true);
    let said = says(&world, "other", Reason::CredentialsInvalid).await;
    assert!(said.message.contains("may not make tokens of ServiceAccount other"), "{}", said.message);
}
