//! IAM's own calls, made by the SDK for Node, which has them all.

use functiongraph_emulator::{Agency, Config, IdentityProvider, User};
use serde_json::{Value, json};

use crate::driver::{Called, Language};
use crate::identity::id_token;
use crate::place::{PROJECT, Place};

async fn place() -> Place {
    Place::with(Language::Node, |config: &mut Config| {
        config.identity.users =
            vec![User { domain: "acct".into(), name: "ci".into(), password: "pw".into() }];
        config.identity.identity_providers = vec![IdentityProvider::named("kubernetes")];
        config.identity.agencies =
            vec![Agency { urn: "iam::emulator:agency:invoker".into(), subjects: vec![] }];
    })
    .await
}

/// The body of a request for a token with a password.
fn password() -> Value {
    let user = json!({"name": "ci", "password": "pw", "domain": {"name": "acct"}});
    let identity = json!({"methods": ["password"], "password": {"user": user}});
    json!({"auth": {"identity": identity, "scope": {"project": {"name": "eu-de"}}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_issued_shown_and_exchanged() {
    let mut place = place().await;
    let sdk = &mut place.sdk;
    let issued = sdk.done(201, "KeystoneCreateUserTokenByPassword", &json!({"body": password()}));
    let token = issued["X-Subject-Token"].as_str().unwrap().to_owned();
    assert_eq!(issued["token"]["project"]["id"], PROJECT);
    let mut services: Vec<&str> = issued["token"]["catalog"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["type"].as_str().unwrap())
        .collect();
    services.sort_unstable();
    assert!(services.contains(&"functiongraph") && services.contains(&"identity"), "{services:?}");
    let without = json!({"nocatalog": "true", "body": password()});
    let without = sdk.done(201, "KeystoneCreateUserTokenByPassword", &without);
    assert!(without["token"].get("catalog").is_none(), "{without}");

    let shown = sdk.done(200, "KeystoneValidateToken", &json!({"X-Subject-Token": token}));
    assert_eq!(shown["token"]["user"]["name"], "ci");
    let unknown = sdk.call("KeystoneValidateToken", &json!({"X-Subject-Token": "unknown"}));
    assert!(matches!(unknown, Called::Refused { status: 404, .. }), "{unknown:?}");
    let by_token = json!({"methods": ["token"], "token": {"id": token}});
    let by_token = json!({"body": {"auth": {"identity": by_token, "scope": {"project": {"id": PROJECT}}}}});
    let scoped = sdk.done(201, "KeystoneCreateScopedToken", &by_token);
    assert_eq!(scoped["token"]["user"]["domain"]["name"], "acct");
    let key = json!({"methods": ["token"], "token": {"id": token, "duration_seconds": 900}});
    let key = sdk.done(201, "CreateTemporaryAccessKeyByToken", &json!({"body": {"auth": {"identity": key}}}));
    assert_eq!(key["credential"]["access"].as_str().map(str::len), Some(20));
    let role = json!({"methods": ["assume_role"], "assume_role": {"domain_name": "emulator", "agency_name": "invoker"}});
    let role = json!({"body": {"auth": {"identity": role, "scope": {"project": {"name": "eu-de"}}}}});
    assert_eq!(sdk.done(201, "KeystoneCreateAgencyToken", &role)["token"]["user"]["name"], "invoker");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_token_is_exchanged_for_a_token_of_a_project() {
    let mut place = place().await;
    let sdk = &mut place.sdk;
    let id_token = id_token("https://kubernetes");
    let body = json!({"auth": {"id_token": {"id": id_token}, "scope": {"project": {"id": PROJECT}}}});
    let scoped = sdk.done(201, "CreateTokenWithIdToken", &json!({"X-Idp-Id": "kubernetes", "body": body}));
    assert_eq!(scoped["token"]["project"]["id"], PROJECT);
    // The SDK's own signature replaces the id token in the header, so the service cannot accept this call.
    let federated =
        json!({"idp_id": "kubernetes", "protocol_id": "oidc", "Authorization": format!("Bearer {id_token}")});
    let refused = sdk.call("CreateUnscopedTokenWithIdToken", &federated);
    assert!(matches!(refused, Called::Refused { status: 401, .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_catalog_projects_and_domains_are_read() {
    let mut place = place().await;
    let url = place.emulator.url();
    let sdk = &mut place.sdk;
    assert_eq!(
        sdk.done(200, "KeystoneShowVersion", &json!({}))["version"]["links"][0]["href"],
        format!("{url}/v3/")
    );
    let catalog = sdk.done(200, "KeystoneShowCatalog", &json!({}));
    let functiongraph = &catalog["catalog"][0]["endpoints"][0];
    assert_eq!(functiongraph["url"], format!("{url}/v2/{PROJECT}"));
    for call in ["KeystoneListProjects", "KeystoneListAuthProjects"] {
        assert_eq!(sdk.done(200, call, &json!({}))["projects"][0]["id"], PROJECT, "{call}");
    }
    let named = sdk.done(200, "KeystoneListProjects", &json!({"name": "elsewhere"}));
    assert_eq!(named["projects"], json!([]));
    // The SDK asks for the project of the key.
    assert_eq!(sdk.done(200, "KeystoneShowProject", &json!({}))["project"]["name"], "eu-de");
    assert_eq!(sdk.done(200, "KeystoneListAuthDomains", &json!({}))["domains"][0]["name"], "acct");
}
