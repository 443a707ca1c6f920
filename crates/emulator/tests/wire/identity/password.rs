//! Tokens for passwords, their projects, and temporary keys for tokens.

use std::time::Duration;

use functiongraph::{Credential, Kind, Verdict};
use functiongraph_emulator::{Action, ErrorAnswer, Fault, IdentityApi, IssuedCount, Project, When};
use http::StatusCode;
use serde_json::json;

use super::{assert_keystone, log_in, place, post, submit, time, token};
use crate::support::{PROJECT, Place, Seen, now};

/// Exchanges a token for a temporary key.
async fn keys(place: &Place, token: &str, seconds: u64) -> Seen {
    let token = json!({"id": token, "duration_seconds": seconds});
    let body = json!({"auth": {"identity": {"methods": ["token"], "token": token}}});
    post(place, "/v3.0/OS-CREDENTIAL/securitytokens", &body, &[]).await
}

fn credential(seen: &Seen) -> Credential {
    let text = |name: &str| seen.json()["credential"][name].as_str().unwrap().to_owned();
    Credential::access_key(text("access"), text("secret"), Some(text("securitytoken").into())).unwrap()
}

#[tokio::test]
async fn a_password_gives_a_token_for_a_project_by_id_or_by_name() {
    let place = place(|_| {}).await;
    for project in [json!({"id": PROJECT}), json!({"name": "eu-de"})] {
        let seen = log_in(&place, "right", Some(json!({"project": project}))).await;
        assert_eq!(seen.status, 201, "{}", seen.text);
        let described = &seen.json()["token"];
        assert_eq!(
            (&described["project"]["id"], &described["project"]["name"]),
            (&PROJECT.into(), &"eu-de".into())
        );
        assert_eq!(described["user"]["domain"]["name"], "acct");
        let life = time(&described["expires_at"]).duration_since(time(&described["issued_at"]));
        assert!((86_399..=86_400).contains(&life.as_secs()), "{life}");
        let token = seen.header("x-subject-token").unwrap();
        assert!(token.len() > 1000, "real ones are kilobytes long");
        assert_eq!(submit(&place, token).await.status, 202);
    }
    let requests = place.emulator.requests();
    assert_eq!(
        (requests.calls[&IdentityApi::Password.into()], requests.issued[&IdentityApi::Password.into()]),
        (2, 2)
    );
}

#[tokio::test]
async fn a_wrong_password_an_unknown_project_and_nonsense_are_refused_as_keystone_does() {
    let place = place(|_| {}).await;
    let wrong = log_in(&place, "wrong", None).await;
    assert_keystone(&wrong, 401, "Unauthorized", "The username or password is wrong.");
    let elsewhere = log_in(&place, "right", Some(json!({"project": {"name": "nope"}}))).await;
    assert_keystone(&elsewhere, 404, "Not Found", "Could not find project: nope.");
    let nonsense = post(&place, "/v3/auth/tokens", &json!({"auth": {}}), &[]).await;
    assert_keystone(&nonsense, 400, "Bad Request", "The request body is invalid");
    let requests = place.emulator.requests();
    assert_eq!((requests.calls[&IdentityApi::Password.into()], requests.issued.len()), (3, 0));
    assert_eq!(requests.failed_authentications, 1);
}

#[tokio::test]
async fn a_token_is_good_for_its_own_project_only() {
    let place =
        place(|identity| identity.projects = vec![Project { id: "b".into(), name: "other".into() }]).await;
    let other = log_in(&place, "right", Some(json!({"project": {"name": "other"}}))).await;
    let other = submit(&place, other.header("x-subject-token").unwrap()).await;
    other.assert_error(403, "FSS.0403", "Forbidden");
    for scope in [None, Some(json!({"domain": {"name": "acct"}}))] {
        let none = log_in(&place, "right", scope).await;
        let none = submit(&place, none.header("x-subject-token").unwrap()).await;
        none.assert_error(403, "APIG.0302", "The IAM user is not authorized to access the API");
    }
    assert_eq!(place.emulator.ledger(), []);
}

#[tokio::test]
async fn a_token_is_refused_once_it_has_expired() {
    let place = place(|identity| identity.token_lifetime = Duration::ZERO).await;
    let seen = log_in(&place, "right", Some(json!({"project": {"id": PROJECT}}))).await;
    let refused = submit(&place, seen.header("x-subject-token").unwrap()).await;
    let end = seen.json()["token"]["expires_at"].as_str().unwrap().to_owned();
    let message = format!("Incorrect IAM authentication information: token expires, expires_at: {end}");
    refused.assert_error(401, "APIG.0301", &message);
    assert_eq!(place.emulator.issued(), IssuedCount::default());
}

#[tokio::test]
async fn a_token_gives_temporary_keys_that_sign_for_as_long_as_the_ceiling_allows() {
    let place = place(|identity| identity.keys_lifetime = Duration::from_mins(10)).await;
    let unscoped = log_in(&place, "right", None).await;
    let before = now();
    let seen = keys(&place, unscoped.header("x-subject-token").unwrap(), 900).await;
    assert_eq!(seen.status, 201, "{}", seen.text);
    let end = time(&seen.json()["credential"]["expires_at"]);
    // Issued between the two times, with the precision of a microsecond.
    let (longest, shortest) = (end.duration_since(before).as_secs(), end.duration_since(now()).as_secs());
    assert!(longest >= 599 && shortest <= 600, "{longest} {shortest}");
    let credential = credential(&seen);
    let kind = credential.kind();
    let answer = place.submit_with(credential, now()).await.unwrap();
    assert_eq!(answer.verdict(Kind::Async, kind), Verdict::Accepted, "{answer:?}");
    let without = seen.json()["credential"].clone();
    let text = |name: &str| without[name].as_str().unwrap().to_owned();
    let without = Credential::access_key(text("access"), text("secret"), None).unwrap();
    assert_eq!(place.submit_with(without, now()).await.unwrap().status, 401);
}

#[tokio::test]
async fn keys_that_have_expired_sign_nothing() {
    let place = place(|identity| identity.keys_lifetime = Duration::ZERO).await;
    let seen = keys(&place, &token(&place).await, 900).await;
    let answer = place.submit_with(credential(&seen), now()).await.unwrap();
    assert_eq!((answer.status, answer.error_code.as_deref()), (401, Some("APIG.0301")));
    assert!(answer.error_message.unwrap().ends_with("err:ak not exist"));
}

#[tokio::test]
async fn keys_are_refused_for_a_bad_token_and_for_a_life_out_of_range() {
    let place = place(|_| {}).await;
    let refused = keys(&place, "nonsense", 900).await;
    refused.assert_error(401, "IAM.0001", "The request you have made requires authentication.");
    assert!(refused.header("x-iam-trace-id").is_some());
    let token = token(&place).await;
    for seconds in [899, 86_401] {
        let refused = keys(&place, &token, seconds).await;
        refused.assert_error(400, "IAM.0007", "Request parameter duration_seconds is invalid.");
    }
    let body = json!({"auth": {"identity": {"methods": ["token"]}}});
    let in_header =
        post(&place, "/v3.0/OS-CREDENTIAL/securitytokens", &body, &[("x-auth-token", &token)]).await;
    assert_eq!(in_header.status, 201, "{}", in_header.text);
}

#[tokio::test]
async fn projects_are_listed_by_name_for_whoever_has_a_credential() {
    let place =
        place(|identity| identity.projects = vec![Project { id: "b".into(), name: "eu-de".into() }]).await;
    let list = async |name: &str, token: &str| {
        let url = format!("{}/v3/projects?name={name}", place.emulator.url());
        Seen::of(place.http.get(url).header("X-Auth-Token", token)).await
    };
    let token = token(&place).await;
    let both = list("eu-de", &token).await.json();
    let ids: Vec<&str> =
        both["projects"].as_array().unwrap().iter().map(|project| project["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [PROJECT, "b"], "a name may occur twice");
    assert_eq!(list("nope", &token).await.json()["projects"], json!([]));
    let stranger = list("eu-de", "nonsense").await;
    assert_keystone(&stranger, 401, "Unauthorized", "The request you have made requires authentication.");
}

#[tokio::test]
async fn revoked_tokens_and_keys_are_good_no_more_and_new_ones_are() {
    let place = place(|_| {}).await;
    let old = token(&place).await;
    let key = keys(&place, &old, 900).await;
    assert_eq!(place.emulator.issued(), IssuedCount { tokens: 1, keys: 1 });
    place.emulator.revoke_issued();
    submit(&place, &old).await.assert_error(401, "APIG.0307", "The token must be updated");
    assert_eq!(place.submit_with(credential(&key), now()).await.unwrap().status, 401);
    assert_eq!(submit(&place, &token(&place).await).await.status, 202);
    assert_eq!(place.emulator.issued(), IssuedCount { tokens: 1, keys: 0 });
    // Tests can still search for them.
    let secrets = place.emulator.secrets();
    assert!([old.as_str(), "right"].iter().all(|secret| secrets.iter().any(|known| known == secret)));
}

#[tokio::test]
async fn a_token_is_checked_and_revoked_by_its_bearer() {
    let place = place(|_| {}).await;
    let (own, other) = (token(&place).await, token(&place).await);
    let url = format!("{}/v3/auth/tokens", place.emulator.url());
    let ask = async |method: &str, subject: &str| {
        let request = place.http.request(method.parse().unwrap(), &url).header("X-Auth-Token", &own);
        Seen::of(request.header("X-Subject-Token", subject)).await
    };
    let shown = ask("GET", &other).await;
    assert_eq!((shown.status, shown.header("x-subject-token")), (200, Some(&*other)));
    assert_eq!(shown.json()["token"]["user"]["name"], "ci");
    let head = ask("HEAD", &other).await;
    assert_eq!((head.status, &*head.text), (200, ""));
    assert_eq!(ask("DELETE", &other).await.status, 204);
    assert_eq!(ask("HEAD", &other).await.status, 404);
    assert_keystone(&ask("GET", "nope").await, 404, "Not Found", "Not found.");
    let revoked = submit(&place, &other).await;
    let message = "Incorrect IAM authentication information: The token must be updated";
    assert_eq!(revoked.error().0, 401, "{message}");
    assert_eq!(submit(&place, &own).await.status, 202);
}

#[tokio::test]
async fn a_user_has_an_id_and_a_token_can_be_exchanged_for_another_scope() {
    let place = place(|_| {}).await;
    let unscoped = log_in(&place, "right", None).await;
    let (user, subject) =
        (&unscoped.json()["token"]["user"]["id"], unscoped.header("x-subject-token").unwrap());
    assert_eq!(unscoped.json()["token"]["catalog"], json!([]));
    let by_id = json!({"methods": ["password"], "password": {"user": {"id": user, "password": "right"}}});
    let by_token = json!({"methods": ["token"], "token": {"id": subject}});
    for identity in [by_id, by_token] {
        let auth = json!({"auth": {"identity": identity, "scope": {"project": {"id": PROJECT}}}});
        let seen = post(&place, "/v3/auth/tokens", &auth, &[]).await;
        assert_eq!(seen.json()["token"]["user"]["id"], *user, "{identity}");
        assert_eq!(submit(&place, seen.header("x-subject-token").unwrap()).await.status, 202);
        let url = &seen.json()["token"]["catalog"][0]["endpoints"][0]["url"];
        assert_eq!(*url, format!("{}/v2/{PROJECT}", place.emulator.url()));
        let brief = post(&place, "/v3/auth/tokens?nocatalog", &auth, &[]).await;
        assert!(brief.json()["token"].get("catalog").is_none());
    }
    for identity in [
        json!({"methods": ["password"], "password": {"user": {"id": "nobody", "password": "right"}}}),
        json!({"methods": ["token"], "token": {"id": "unknown"}}),
        json!({"methods": ["assume_role"], "assume_role": {"agency_name": "a"}}),
    ] {
        let seen = post(&place, "/v3/auth/tokens", &json!({"auth": {"identity": identity}}), &[]).await;
        assert_eq!(seen.status, 401, "{identity}");
    }
}

#[tokio::test]
async fn faults_hit_a_login_in_its_own_shape() {
    let place = place(|_| {}).await;
    let unavailable = Action::Status(ErrorAnswer::of(StatusCode::SERVICE_UNAVAILABLE));
    place.emulator.add_fault(Fault::new(When::Next(1), unavailable).of(IdentityApi::Password));
    let refused = log_in(&place, "right", None).await;
    assert_keystone(&refused, 503, "Service Unavailable", "Service unavailable.");
    let late = Action::AcceptThen(ErrorAnswer::of(StatusCode::GATEWAY_TIMEOUT));
    place.emulator.add_fault(Fault::new(When::Next(1), late).of(IdentityApi::Password));
    assert_eq!(
        log_in(&place, "wrong", None).await.status,
        401,
        "what is refused anyway uses up no such fault"
    );
    assert_keystone(&log_in(&place, "right", None).await, 504, "Gateway Timeout", "Gateway timeout.");
    let requests = place.emulator.requests();
    assert_eq!(
        (requests.calls[&IdentityApi::Password.into()], requests.issued[&IdentityApi::Password.into()]),
        (3, 1)
    );
}
