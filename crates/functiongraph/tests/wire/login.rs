//! Logins over real TLS: the bytes of each request, and how the answers are read.

#[path = "login/local.rs"]
mod local;

use std::time::Duration;

use functiongraph::login::{Agency, Iam, Login, LoginError, Project, Sts, User};
use functiongraph::sign::{SignedRequest, parse_authorization};
use functiongraph::text::{Clean, WITHHELD};
use functiongraph::{Credential, CredentialKind, SendError};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::server::{Authority, End, Request, Script, Server};
use super::{LONG_TIMEOUT, options};

const ID_TOKEN: &str = "header.canary-claims.signature";
const LIFETIME: Duration = Duration::from_hours(6);

/// A complete answer.
pub fn answer(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// These answers in this order.
fn answers(answers: &[Vec<u8>]) -> Script {
    let (last, before) = answers.split_last().expect("an answer");
    Script { before: before.to_vec(), last: last.clone(), ..Script::default() }
}

/// A server that gives these answers.
async fn iam(script: &[Vec<u8>]) -> (Server, Iam) {
    let authority = Authority::new();
    let server = Server::start(&authority, answers(script)).await;
    let iam = Iam::new(server.url().parse().unwrap(), options(&authority)).unwrap();
    (server, iam)
}

fn token_answer() -> Vec<u8> {
    let body =
        r#"{"token":{"expires_at":"2020-01-04T09:05:22.701000Z","project":{"id":"p1","name":"eu-de"}}}"#;
    answer(&format!("201 Created\r\nX-Subject-Token: {}", "canary".repeat(1000)), body)
}

fn keys_body() -> String {
    json!({"credential": {
        "access": "AKID", "secret": "canary-sk", "securitytoken": "canary-st", "expires_at": "2020-01-08T03:50:07.574000Z"
    }})
    .to_string()
}

fn password() -> SecretString {
    "can\"ary\\ pass".into()
}

async fn log_in_by_password(iam: &Iam) -> Result<Login, LoginError> {
    let user = User { domain: "acct", name: "u", password: &password() };
    iam.password(user, Project::Name("eu-de"), LONG_TIMEOUT).await
}

async fn keys(iam: &Iam) -> Result<Login, LoginError> {
    iam.keys_for_id_token("my-idp", &format!("{ID_TOKEN}\n").into(), LIFETIME, LONG_TIMEOUT).await
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).expect("JSON")
}

pub fn line(request: &Request) -> &str {
    request.head.lines().next().unwrap_or_default()
}

// === what is sent, and what comes of it ===

#[tokio::test]
async fn a_password_becomes_a_token_of_the_project() {
    let (server, iam) = iam(&[token_answer()]).await;
    let login = log_in_by_password(&iam).await.unwrap();
    assert_eq!(login.credential.kind(), CredentialKind::Token);
    assert_eq!(login.project_id.as_deref(), Some("p1"));
    assert_eq!(login.expires_at, Some("2020-01-04T09:05:22.701Z".parse().unwrap()));
    let [request] = server.requests().try_into().ok().expect("one request");
    assert_eq!(line(&request), "POST /v3/auth/tokens?nocatalog=true HTTP/1.1");
    assert_eq!(request.header("content-type"), Some("application/json;charset=UTF-8"));
    let user = json!({"name": "u", "password": "can\"ary\\ pass", "domain": {"name": "acct"}});
    assert_eq!(
        body(&request),
        json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": "eu-de"}}
        }})
    );
    assert_eq!(request.header("x-auth-token"), None);
}

#[tokio::test]
async fn an_id_token_becomes_a_token_of_the_project() {
    let (server, iam) = iam(&[token_answer()]).await;
    let login =
        iam.token_for_id_token("my-idp", &ID_TOKEN.into(), Project::Id("p1"), LONG_TIMEOUT).await.unwrap();
    assert_eq!(login.credential.kind(), CredentialKind::Token);
    let [request] = server.requests().try_into().ok().expect("one request");
    assert_eq!(line(&request), "POST /v3.0/OS-AUTH/id-token/tokens HTTP/1.1");
    assert_eq!(request.header("x-idp-id"), Some("my-idp"));
    assert_eq!(
        body(&request),
        json!({"auth": {"id_token": {"id": ID_TOKEN}, "scope": {"project": {"id": "p1"}}}})
    );
}

#[tokio::test]
async fn an_id_token_becomes_keys_by_way_of_a_token_without_a_project() {
    let unscoped = answer("201 Created\r\nX-Subject-Token: canary-unscoped", r#"{"token":{}}"#);
    let (server, iam) = iam(&[unscoped, answer("201 Created", &keys_body())]).await;
    let login = keys(&iam).await.unwrap();
    assert_eq!(login.credential.kind(), CredentialKind::AccessKey);
    assert_eq!(login.expires_at, Some("2020-01-08T03:50:07.574Z".parse().unwrap()));
    assert!(!format!("{login:?}").contains("canary"), "{login:?}");
    let [first, second] = server.requests().try_into().ok().expect("two requests");
    assert_eq!(line(&first), "POST /v3.0/OS-AUTH/id-token/tokens HTTP/1.1");
    assert_eq!(body(&first), json!({"auth": {"id_token": {"id": ID_TOKEN}}}));
    assert_eq!(line(&second), "POST /v3.0/OS-CREDENTIAL/securitytokens HTTP/1.1");
    assert_eq!(second.header("x-idp-id"), None);
    let token = json!({"id": "canary-unscoped", "duration_seconds": 21_600});
    assert_eq!(body(&second), json!({"auth": {"identity": {"methods": ["token"], "token": token}}}));
    assert_eq!(server.connections().opened, 1);
}

#[tokio::test]
async fn an_id_token_becomes_keys_of_an_agency() {
    let keys = r#"{"credentials":{"access_key_id":"AKID","secret_access_key":"canary","security_token":"canary",
        "expiration":"2020-01-08T03:50:07.574Z"}}"#;
    let authority = Authority::new();
    let server = Server::start(&authority, answers(&[answer("200 OK", keys)])).await;
    let sts = Sts::new(server.url().parse().unwrap(), options(&authority)).unwrap();
    let agency =
        Agency { provider_urn: "iam::p:oidc", agency_urn: "iam::a:agency", session_name: "operator" };
    let login =
        sts.assume_with_oidc(agency, &format!("{ID_TOKEN}\n").into(), LIFETIME, LONG_TIMEOUT).await.unwrap();
    assert_eq!(login.credential.kind(), CredentialKind::AccessKey);
    assert_eq!(login.expires_at, Some("2020-01-08T03:50:07.574Z".parse().unwrap()));
    assert!(!format!("{login:?} {sts:?}").contains("canary"));
    let [request] = server.requests().try_into().ok().expect("one request");
    assert_eq!(line(&request), "POST /v5/agencies/assume-with-oidc HTTP/1.1");
    assert_eq!(
        body(&request),
        json!({
            "provider_urn": "iam::p:oidc", "agency_urn": "iam::a:agency", "agency_session_name": "operator",
            "id_token": ID_TOKEN, "duration_seconds": 21_600
        })
    );
    assert_eq!((request.header("authorization"), request.header("x-sdk-date")), (None, None), "unsigned");
}

#[tokio::test]
async fn the_look_up_of_a_project_is_signed_as_it_is_on_the_wire() {
    let found = answer("200 OK", r#"{"projects":[{"id":"p1","name":"eu-de","enabled":true}],"links":{}}"#);
    let (server, iam) = iam(&[found]).await;
    let credential = Credential::access_key("AKID", "my-secret-key", Some("session".into())).unwrap();
    let now = "2024-01-02T03:04:05Z".parse().unwrap();
    assert_eq!(iam.project_id("eu-de", &credential, now, LONG_TIMEOUT).await.as_deref(), Ok("p1"));
    let [request] = server.requests().try_into().ok().expect("one request");
    assert_eq!(line(&request), "GET /v3/projects?name=eu-de HTTP/1.1");
    assert_eq!((request.header("content-type"), request.header("x-project-id")), (None, None));
    let authorization = parse_authorization(request.header("authorization").unwrap()).unwrap();
    assert_eq!(authorization.signed_headers, ["host", "x-sdk-date", "x-security-token"]);
    let headers = request.headers();
    let signed: Vec<_> = headers
        .iter()
        .filter(|(name, _)| authorization.signed_headers.contains(name))
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    let query = [("name".to_owned(), "eu-de".to_owned())];
    let again =
        SignedRequest { method: "GET", path: "/v3/projects", query: &query, headers: &signed, body: b"" };
    assert_eq!(again.signature("my-secret-key", "20240102T030405Z"), authorization.signature);
}

// === what goes wrong ===

#[tokio::test]
async fn t08_a_refusal_says_why_and_repeats_no_secret() {
    let wrong =
        r#"{"error":{"code":401,"message":"The password can\"ary\\ pass is wrong.","title":"Unauthorized"}}"#;
    let (server, iam) = iam(&[answer("401 Unauthorized\r\nX-IAM-Trace-Id: trace-1", wrong)]).await;
    let error = log_in_by_password(&iam).await.unwrap_err();
    assert!(error.is_refusal());
    assert_eq!(
        error,
        LoginError::Refused {
            status: 401,
            code: Some("401".into()),
            message: Some(Clean::line(WITHHELD)),
            gateway_request_id: Some("trace-1".into()),
            retry_after: None,
        }
    );
    assert_eq!(server.requests().len(), 1, "asked once");
}

#[tokio::test]
async fn a_refused_id_token_is_not_exchanged_further() {
    let refused =
        answer("403 Forbidden", &format!(r#"{{"error_code":"IAM.0011","error_msg":"bad {ID_TOKEN}"}}"#));
    let (server, iam) = iam(&[refused, answer("201 Created", &keys_body())]).await;
    let error = keys(&iam).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "refused with status 403: IAM.0011: withheld, because it repeats a credential"
    );
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn t05_a_redirected_login_is_a_refusal_and_takes_no_secret_along() {
    let authority = Authority::new();
    let second = Server::start(&authority, Script::default()).await;
    let location = format!("307 Go\r\nLocation: {}/v3/auth/tokens", second.url());
    let (_, iam) = iam(&[answer(&location, "")]).await;
    let error = log_in_by_password(&iam).await.unwrap_err();
    assert!(matches!(error, LoginError::Refused { status: 307, .. }) && error.is_refusal(), "{error:?}");
    assert_eq!(second.connections().opened, 0);
}

#[tokio::test]
async fn a_login_that_nobody_answers_tells_whether_it_was_sent() {
    let authority = Authority::new();
    let server = Server::start(&authority, Script { end: End::Reset, ..Script::default() }).await;
    let iam = Iam::new(server.url().parse().unwrap(), options(&authority)).unwrap();
    let error = log_in_by_password(&iam).await.unwrap_err();
    assert!(matches!(error, LoginError::Send(SendError::Interrupted(_))) && !error.is_refusal(), "{error:?}");
    let stranger = Iam::new(server.url().parse().unwrap(), options(&Authority::new())).unwrap();
    let error = log_in_by_password(&stranger).await.unwrap_err();
    assert!(matches!(error, LoginError::Send(SendError::NotSent(_))), "{error:?}");
    let error = iam
        .token_for_id_token("not\na header", &ID_TOKEN.into(), Project::Id("p"), LONG_TIMEOUT)
        .await
        .unwrap_err();
    assert!(matches!(error, LoginError::Send(SendError::NotSent(_))), "{error:?}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_success_that_brings_nothing_is_not_a_login() {
    let (_, first) = iam(&[answer("201 Created", "{}")]).await;
    assert!(matches!(log_in_by_password(&first).await, Err(LoginError::Malformed(_))));
    let unscoped = answer("201 Created\r\nX-Subject-Token: canary", "{}");
    let (_, second) =
        iam(&[unscoped, answer("201 Created", r#"{"credential":{"access":"A","secret":"canary"}}"#)]).await;
    let error = keys(&second).await.unwrap_err();
    assert_eq!(error, LoginError::Malformed("it holds no \"securitytoken\"".into()));
}
