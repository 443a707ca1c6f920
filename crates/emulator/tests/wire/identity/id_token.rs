//! Tokens and temporary keys for id tokens, through IAM and through the STS.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use functiongraph::{Credential, Kind, Verdict};
use functiongraph_emulator::{Agency, Identity, IdentityApi, IdentityProvider};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{place, post, submit, time};
use crate::support::{PROJECT, Place, Seen, now};

pub const AGENCY: &str = "iam::emulator:agency:invoker";
const SUBJECT: &str = "system:serviceaccount:functiongraph:operator";

/// Accepts tokens of `kubernetes`, one service account, and one of its agencies.
pub fn federated(identity: &mut Identity) {
    identity.identity_providers = vec![IdentityProvider {
        issuer: Some("https://kubernetes".into()),
        audience: Some("functiongraph".into()),
        subjects: vec![SUBJECT.into()],
        ..IdentityProvider::named("kubernetes")
    }];
    identity.agencies = vec![
        Agency { urn: AGENCY.into(), subjects: vec![] },
        Agency { urn: "iam::emulator:agency:other".into(), subjects: vec!["somebody else".into()] },
    ];
}

/// A changed id token of the provider.
pub fn id_token(changes: &Value) -> String {
    let mut claims = json!({"iss": "https://kubernetes", "sub": SUBJECT, "aud": ["functiongraph"]});
    claims["exp"] = (now().as_second() + 600).into();
    claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2lnbmF0dXJl", part(json!({"alg": "RS256"})), part(claims))
}

async fn exchange(place: &Place, provider: &str, token: &str, scope: Option<Value>) -> Seen {
    let mut auth = json!({"id_token": {"id": token}});
    if let Some(scope) = scope {
        auth["scope"] = scope;
    }
    post(place, "/v3.0/OS-AUTH/id-token/tokens", &json!({"auth": auth}), &[("x-idp-id", provider)]).await
}

#[tokio::test]
async fn an_id_token_in_the_header_gives_an_unscoped_token() {
    let place = place(federated).await;
    let path =
        |provider: &str| format!("/v3/OS-FEDERATION/identity_providers/{provider}/protocols/oidc/auth");
    let bearer = |token: &str| format!("Bearer {token}");
    let good = bearer(&id_token(&json!({})));
    let seen = post(&place, &path("kubernetes"), &json!({}), &[("authorization", &good)]).await;
    assert_eq!(seen.status, 201, "{}", seen.text);
    let described = &seen.json()["token"];
    assert_eq!((&described["user"]["name"], described.get("project")), (&json!(SUBJECT), None));
    let subject = seen.header("x-subject-token").unwrap();
    assert_eq!(submit(&place, subject).await.error().0, 403, "it has no project");
    let unknown = post(&place, &path("nope"), &json!({}), &[("authorization", &good)]).await;
    super::assert_keystone(&unknown, 404, "Not Found", "Could not find identity_provider: nope.");
    for bad in [bearer(&id_token(&json!({"iss": "https://elsewhere"}))), "Basic eA==".to_owned()] {
        let seen = post(&place, &path("kubernetes"), &json!({}), &[("authorization", &bad)]).await;
        assert_eq!(seen.status, 401, "{bad}");
    }
}

async fn assume(place: &Place, changes: Value) -> Seen {
    let mut body = json!({
        "provider_urn": "iam::emulator:oidcProvider:kubernetes",
        "agency_urn": AGENCY,
        "agency_session_name": "oidc-sts-session",
        "id_token": id_token(&json!({})),
    });
    body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    post(place, "/v5/agencies/assume-with-oidc", &body, &[]).await
}

async fn assert_signs(place: &Place, id: &Value, secret: &Value, security_token: &Value) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let credential =
        Credential::access_key(text(id), text(secret), Some(text(security_token).into())).unwrap();
    let kind = credential.kind();
    let answer = place.submit_with(credential, now()).await.unwrap();
    assert_eq!(answer.verdict(Kind::Async, kind), Verdict::Accepted, "{answer:?}");
}

#[tokio::test]
async fn an_id_token_gives_a_token_for_a_project_that_is_used_directly() {
    let place = place(federated).await;
    let scope = Some(json!({"project": {"name": "eu-de"}}));
    let seen = exchange(&place, "kubernetes", &id_token(&json!({})), scope).await;
    assert_eq!(seen.status, 201, "{}", seen.text);
    let token = &seen.json()["token"];
    assert_eq!((&token["project"]["id"], &token["methods"]), (&PROJECT.into(), &json!(["mapped"])));
    assert_eq!(token["user"]["OS-FEDERATION"]["identity_provider"]["id"], "kubernetes");
    assert_eq!(submit(&place, seen.header("x-subject-token").unwrap()).await.status, 202);
}

#[tokio::test]
async fn an_id_token_gives_an_unscoped_token_and_that_gives_keys() {
    let place = place(federated).await;
    let unscoped = exchange(&place, "kubernetes", &id_token(&json!({})), None).await;
    let token = unscoped.header("x-subject-token").unwrap();
    assert_eq!(unscoped.json()["token"].get("project"), None);
    submit(&place, token).await.assert_error(
        403,
        "APIG.0302",
        "The IAM user is not authorized to access the API",
    );
    let identity = json!({"methods": ["token"], "token": {"id": token, "duration_seconds": 21_600}});
    let path = "/v3.0/OS-CREDENTIAL/securitytokens";
    let seen = post(&place, path, &json!({"auth": {"identity": identity}}), &[]).await;
    let keys = &seen.json()["credential"];
    let life = time(&keys["expires_at"]).duration_since(now());
    assert!((21_590..=21_600).contains(&life.as_secs()), "{life}");
    assert_signs(&place, &keys["access"], &keys["secret"], &keys["securitytoken"]).await;
    let requests = place.emulator.requests();
    for api in [IdentityApi::IdToken, IdentityApi::SecurityTokens] {
        assert_eq!(requests.issued[&api.into()], 1, "{api:?}");
    }
}

#[tokio::test]
async fn an_id_token_that_is_not_believed_is_refused_and_so_is_who_may_not_come_in() {
    let place = place(federated).await;
    let expired = Timestamp::UNIX_EPOCH.as_second();
    for changes in [json!({"iss": "https://elsewhere"}), json!({"aud": "other"}), json!({"exp": expired})] {
        let seen = exchange(&place, "kubernetes", &id_token(&changes), None).await;
        seen.assert_error(401, "IAM.0001", "The request you have made requires authentication.");
        assert!(seen.header("x-iam-trace-id").is_some());
    }
    let stranger = exchange(&place, "kubernetes", &id_token(&json!({"sub": "stranger"})), None).await;
    stranger.assert_error(403, "IAM.0002", "You are not authorized to perform the requested action.");
    let nobody = exchange(&place, "nobody", &id_token(&json!({})), None).await;
    nobody.assert_error(404, "IAM.0004", "Could not find identity_provider: nobody.");
    let nonsense =
        post(&place, "/v3.0/OS-AUTH/id-token/tokens", &json!({}), &[("x-idp-id", "kubernetes")]).await;
    nonsense.assert_error(400, "IAM.0011", "The request body is invalid");
    assert!(place.emulator.requests().issued.is_empty());
}

#[tokio::test]
async fn an_agency_is_assumed_with_an_id_token() {
    let place = place(|identity| {
        federated(identity);
        identity.keys_lifetime = Duration::from_mins(10);
    })
    .await;
    let seen = assume(&place, json!({"duration_seconds": 3600})).await;
    assert_eq!(seen.status, 200, "{}", seen.text);
    let body = seen.json();
    let keys = &body["credentials"];
    assert!(time(&keys["expiration"]).duration_since(now()).as_secs() <= 600, "the ceiling holds");
    assert_signs(&place, &keys["access_key_id"], &keys["secret_access_key"], &keys["security_token"]).await;
    assert_eq!(body["assumed_agency"]["urn"], "sts::emulator::assumed-agency:invoker/oidc-sts-session");
    assert_eq!(
        (&body["subject_from_id_token"], &body["audience"]),
        (&SUBJECT.into(), &"functiongraph".into())
    );
    assert_eq!(place.emulator.requests().issued[&IdentityApi::AssumeAgency.into()], 1);
}

#[tokio::test]
async fn the_sts_refuses_in_a_shape_of_its_own() {
    let place = place(federated).await;
    let refused = async |changes: Value, status: u16, code: &str| {
        let seen = assume(&place, changes).await;
        let body = seen.json();
        assert_eq!((seen.status, body["error_code"].as_str()), (status, Some(code)), "{body}");
        assert_eq!(body["request_id"].as_str(), seen.header("x-request-id"));
        assert_eq!(body.get("encoded_authorization_message").is_some(), status == 403);
    };
    refused(json!({"agency_urn": "iam::emulator:agency:none"}), 404, "STS5.1106").await;
    refused(json!({"agency_urn": "iam::emulator:agency:other"}), 403, "STS5.1001").await;
    refused(json!({"provider_urn": "iam::emulator:oidcProvider:none"}), 404, "STS5.1001").await;
    refused(json!({"id_token": id_token(&json!({"aud": "other"}))}), 400, "STS5.1001").await;
    refused(json!({"duration_seconds": 899}), 400, "STS5.1001").await;
    refused(json!({"agency_session_name": "with spaces"}), 400, "STS5.1001").await;
    refused(json!({"id_token": 5}), 400, "STS5.1001").await;
    assert!(place.emulator.requests().issued.is_empty());
}
