//! The logins of the client crate against the emulator, which must read the documents alike.

use std::time::Duration;

use functiongraph::login::{Agency, Iam, Login, LoginError, Metadata, PodIdentity, Project, Sts, User};
use functiongraph::{ClientOptions, Credential, CredentialKind};
use functiongraph_emulator::{Metadata as Machine, MetadataTokens, PodIdentity as Pod};
use serde_json::json;

use super::id_token::{AGENCY, federated, id_token};
use super::place;
use crate::support::{PROJECT, Place, now};

const PATIENT: Duration = Duration::from_secs(30);

/// A lifetime of an hour.
const LIFETIME: Duration = Duration::from_hours(1);

const ASSUMED: Agency<'_> = Agency {
    provider_urn: "iam::emulator:oidcProvider:kubernetes",
    agency_urn: AGENCY,
    session_name: "functiongraph-operator",
};

fn options(place: &Place) -> ClientOptions {
    let ca_bundle_pem = Some(place.emulator.ca_pem().to_owned());
    ClientOptions { ca_bundle_pem, ..ClientOptions::default() }
}

fn iam(place: &Place) -> Iam {
    Iam::new(place.emulator.url().parse().unwrap(), options(place)).unwrap()
}

fn sts(place: &Place) -> Sts {
    Sts::new(place.emulator.url().parse().unwrap(), options(place)).unwrap()
}

async fn assert_submits(place: &Place, login: Login) {
    assert!(login.expires_at.unwrap() > now());
    assert_eq!(place.submit_with(login.credential, now()).await.unwrap().status, 202);
}

#[tokio::test]
async fn a_password_becomes_a_token_that_submits() {
    let place = place(|_| {}).await;
    let user = User { domain: "acct", name: "ci", password: &"right".into() };
    let login = iam(&place).password(user, Project::Id(PROJECT), PATIENT).await.unwrap();
    assert_eq!(login.credential.kind(), CredentialKind::Token);
    assert_eq!(login.project_id.as_deref(), Some(PROJECT));
    assert_submits(&place, login).await;
}

#[tokio::test]
async fn an_id_token_becomes_every_kind_of_credential_that_submits() {
    let place = place(federated).await;
    // With the line break of a file.
    let token = format!("{}\n", id_token(&json!({}))).into();
    let iam = iam(&place);
    let scoped = iam.token_for_id_token("kubernetes", &token, Project::Name("eu-de"), PATIENT).await.unwrap();
    assert_eq!(scoped.project_id.as_deref(), Some(PROJECT));
    assert_submits(&place, scoped).await;
    assert_submits(&place, iam.keys_for_id_token("kubernetes", &token, LIFETIME, PATIENT).await.unwrap())
        .await;
    let keys = sts(&place).assume_with_oidc(ASSUMED, &token, LIFETIME, PATIENT).await.unwrap();
    assert_submits(&place, keys).await;
}

#[tokio::test]
async fn an_id_token_that_is_not_believed_is_a_refusal_that_has_a_code() {
    let place = place(federated).await;
    let token = id_token(&json!({"aud": "other"})).into();
    let iam = iam(&place);
    let errors = [
        iam.token_for_id_token("kubernetes", &token, Project::Name("eu-de"), PATIENT).await.unwrap_err(),
        iam.keys_for_id_token("kubernetes", &token, LIFETIME, PATIENT).await.unwrap_err(),
        sts(&place).assume_with_oidc(ASSUMED, &token, LIFETIME, PATIENT).await.unwrap_err(),
    ];
    for error in errors {
        assert!(error.is_refusal(), "{error:?}");
        let LoginError::Refused { code: Some(_), message: Some(_), gateway_request_id: Some(_), .. } = error
        else {
            panic!("{error:?}")
        };
    }
}

#[tokio::test]
async fn machines_of_every_age_and_pods_get_keys_that_submit() {
    for tokens in [MetadataTokens::Required, MetadataTokens::Optional, MetadataTokens::Unsupported] {
        let place = place(|identity| identity.metadata = Some(Machine { tokens })).await;
        let url = place.emulator.metadata_url().unwrap().parse().unwrap();
        let login = Metadata::new(url, ClientOptions::default()).unwrap().login(PATIENT).await.unwrap();
        assert_submits(&place, login).await;
    }
    let place = place(|identity| identity.pod_identity = Some(Pod::with("from the file"))).await;
    let url = place.emulator.pod_identity_url().unwrap().parse().unwrap();
    let client = PodIdentity::new(url, ClientOptions::default()).unwrap();
    assert_submits(&place, client.login(&"from the file\n".into(), PATIENT).await.unwrap()).await;
    let error = client.login(&"from elsewhere".into(), PATIENT).await.unwrap_err();
    assert!(error.is_refusal(), "{error:?}");
}

#[tokio::test]
async fn a_wrong_password_is_a_refusal_with_its_reason() {
    let place = place(|_| {}).await;
    let user = User { domain: "acct", name: "ci", password: &"guessed".into() };
    let error = iam(&place).password(user, Project::Id(PROJECT), PATIENT).await.unwrap_err();
    assert!(error.is_refusal());
    let LoginError::Refused { status, code, message, gateway_request_id, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!((status, code.as_deref()), (401, Some("401")));
    assert_eq!(message.as_deref(), Some("The username or password is wrong."));
    assert!(gateway_request_id.is_some());
}

#[tokio::test]
async fn a_region_has_one_project_for_keys_and_for_tokens() {
    let place = place(|_| {}).await;
    let user = User { domain: "acct", name: "ci", password: &"right".into() };
    let token = iam(&place).password(user, Project::Name("eu-de"), PATIENT).await.unwrap().credential;
    let temporary = Credential::access_key("TEMPORARY", "SK", Some("st".into())).unwrap();
    for credential in [Credential::access_key("AK", "SK", None).unwrap(), temporary, token] {
        let found = iam(&place).project_id("eu-de", &credential, now(), PATIENT).await;
        assert_eq!(found.as_deref(), Ok(PROJECT), "{credential:?}");
        let none = iam(&place).project_id("eu-nl", &credential, now(), PATIENT).await;
        assert_eq!(none, Err(LoginError::NoProject("eu-nl".into())));
    }
}
