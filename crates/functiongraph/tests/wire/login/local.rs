//! Logins at local services, without TLS.

use functiongraph::addresses::LOCAL_NETWORKS;
use functiongraph::client::BuildError;
use functiongraph::login::{LoginError, Metadata, PodIdentity};
use functiongraph::{ClientOptions, CredentialKind, SendError};

use super::super::LONG_TIMEOUT;
use super::super::server::{End, Script, Server};
use super::{answer, answers, body, keys_body, line};

async fn metadata(script: &[Vec<u8>]) -> (Server, Metadata) {
    let server = Server::start_plain(answers(script)).await;
    let metadata = Metadata::new(server.url().parse().unwrap(), ClientOptions::default()).unwrap();
    (server, metadata)
}

async fn pod_identity(last: Vec<u8>) -> (Server, PodIdentity) {
    let server = Server::start_plain(answers(&[last])).await;
    let url = format!("{}/v1/credentials?for=pod", server.url()).parse().unwrap();
    (server, PodIdentity::new(url, ClientOptions::default()).unwrap())
}

#[tokio::test]
async fn the_machine_has_keys_for_a_session() {
    let (server, metadata) =
        metadata(&[answer("200 OK", "canary-session\n"), answer("200 OK", &keys_body())]).await;
    let login = metadata.login(LONG_TIMEOUT).await.unwrap();
    assert_eq!(login.credential.kind(), CredentialKind::AccessKey);
    assert_eq!(login.expires_at, Some("2020-01-08T03:50:07.574Z".parse().unwrap()));
    let [first, second] = server.requests().try_into().ok().expect("two requests");
    assert_eq!(line(&first), "PUT /meta-data/latest/api/token HTTP/1.1");
    assert_eq!(first.header("x-metadata-token-ttl-seconds"), Some("21600"));
    assert_eq!(line(&second), "GET /openstack/latest/securitykey HTTP/1.1");
    assert_eq!(second.header("x-metadata-token"), Some("canary-session"));
}

#[tokio::test]
async fn a_machine_without_sessions_is_asked_without_one() {
    for head in ["404 Not Found", "405 Method Not Allowed", "503 Service Unavailable"] {
        let (server, metadata) = metadata(&[answer(head, "{}"), answer("200 OK", &keys_body())]).await;
        metadata.login(LONG_TIMEOUT).await.unwrap();
        assert_eq!(server.requests()[1].header("x-metadata-token"), None, "{head}");
    }
}

#[tokio::test]
async fn a_refused_session_ends_the_login() {
    let (server, first) = metadata(&[answer("403 Forbidden", ""), answer("200 OK", &keys_body())]).await;
    let error = first.login(LONG_TIMEOUT).await.unwrap_err();
    assert!(matches!(error, LoginError::Refused { status: 403, .. }) && error.is_refusal(), "{error:?}");
    assert_eq!(server.requests().len(), 1);
    let (_, second) = metadata(&[answer("200 OK", " \n"), answer("200 OK", &keys_body())]).await;
    assert!(matches!(second.login(LONG_TIMEOUT).await, Err(LoginError::Malformed(_))));
    let (_, third) = metadata(&[answer("200 OK", "two\nlines"), answer("200 OK", &keys_body())]).await;
    assert!(matches!(third.login(LONG_TIMEOUT).await, Err(LoginError::Send(SendError::NotSent(_)))));
}

#[tokio::test]
async fn a_machine_without_an_agency_is_refused() {
    let none = answer("404 Not Found", r#"{"error_msg":"no agency for canary-session"}"#);
    let (_, metadata) = metadata(&[answer("200 OK", "canary-session"), none]).await;
    let error = metadata.login(LONG_TIMEOUT).await.unwrap_err();
    assert!(error.is_refusal());
    assert_eq!(error.to_string(), "refused with status 404: withheld, because it repeats a credential");
}

#[tokio::test]
async fn a_pod_shows_its_token_and_gets_keys() {
    let (server, identity) = pod_identity(answer("200 OK", &keys_body())).await;
    let login = identity.login(&"canary-pod\n".into(), LONG_TIMEOUT).await.unwrap();
    assert_eq!(login.credential.kind(), CredentialKind::AccessKey);
    let [request] = server.requests().try_into().ok().expect("one request");
    assert_eq!(line(&request), "POST /v1/credentials?for=pod HTTP/1.1");
    assert_eq!(request.header("authorization"), Some("canary-pod"));
    assert_eq!(body(&request), serde_json::json!({}));
    assert_eq!(request.header("host").map(|host| format!("http://{host}")), Some(server.url()));
}

#[tokio::test]
async fn a_pod_that_is_refused_learns_why_and_no_secret_is_repeated() {
    let refused = answer("401 Unauthorized", r#"{"code":"PI.1","message":"who is canary-pod?"}"#);
    let (_, identity) = pod_identity(refused).await;
    let error = identity.login(&"canary-pod\n".into(), LONG_TIMEOUT).await.unwrap_err();
    assert_eq!(error.to_string(), "refused with status 401: PI.1: withheld, because it repeats a credential");
    let error = identity.login(&"canary\r\nX-Evil: 1".into(), LONG_TIMEOUT).await.unwrap_err();
    assert!(matches!(&error, LoginError::Send(SendError::NotSent(_))), "{error:?}");
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
}

#[tokio::test]
async fn a_redirect_of_a_local_service_is_not_followed() {
    let second = Server::start_plain(Script { end: End::Close, ..Script::default() }).await;
    let location = format!("307 Go\r\nLocation: {}/", second.url());
    let (_, identity) = pod_identity(answer(&location, "")).await;
    let error = identity.login(&"canary".into(), LONG_TIMEOUT).await.unwrap_err();
    assert!(matches!(error, LoginError::Refused { status: 307, .. }), "{error:?}");
    assert_eq!(second.connections().opened, 0);
}

#[tokio::test]
async fn a_name_of_the_machine_is_the_machine_without_any_look_up() {
    let server = Server::start_plain(answers(&[answer("200 OK", &keys_body())])).await;
    // Such a name needs no resolver.
    let url = server.url().replace("localhost", "pod-identity.localhost");
    let identity = PodIdentity::new(url.parse().unwrap(), ClientOptions::default()).unwrap();
    identity.login(&"canary".into(), LONG_TIMEOUT).await.unwrap();
}

#[test]
fn refused_networks_hold_for_local_services_too() {
    let guarded = || ClientOptions { refused_networks: LOCAL_NETWORKS.to_vec(), ..ClientOptions::default() };
    let metadata = Metadata::new(Metadata::URL.parse().unwrap(), guarded());
    assert!(matches!(metadata, Err(BuildError::RefusedAddress(_))));
    assert!(Metadata::new(Metadata::URL.parse().unwrap(), ClientOptions::default()).is_ok());
    for url in ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]"] {
        let identity = PodIdentity::new(url.parse().unwrap(), guarded());
        assert!(matches!(identity, Err(BuildError::RefusedAddress(_))), "{url}");
    }
}
