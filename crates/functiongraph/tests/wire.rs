//! Tests the client with real sockets and real TLS: its requests, broken answers, and that it never sends twice.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "helpers of tests may fail as tests may")]

#[path = "wire/calls.rs"]
mod calls;
#[path = "wire/login.rs"]
mod login;
#[path = "wire/server.rs"]
mod server;

use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use functiongraph::addresses::LOCAL_NETWORKS;
use functiongraph::client::BuildError;
use functiongraph::sign::{SignedRequest, parse_authorization};
use functiongraph::{
    Answer, Client, ClientOptions, Credential, CredentialKind, FunctionUrn, Invocation, Kind, Protocol,
    SendError, Verdict,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use server::{ACCEPTED, Authority, End, Script, Server};

const TOKEN: &str = "canary-token-0123456789";

/// Long enough for every call that is expected to end.
const LONG_TIMEOUT: Duration = Duration::from_secs(30);

/// Short enough for a test, long enough for a handshake on a busy machine.
const SHORT_TIMEOUT: Duration = Duration::from_secs(6);

fn urn() -> FunctionUrn {
    "urn:fss:eu-de:7aad83af3e8d42e99ac194e8419e2c9b:function:default:test:!prod".parse().unwrap()
}

fn options(authority: &Authority) -> ClientOptions {
    ClientOptions { ca_bundle_pem: Some(authority.pem()), ..ClientOptions::default() }
}

fn client(url: &str, authority: &Authority) -> Client {
    Client::new(url.parse().unwrap(), options(authority)).unwrap()
}

async fn invoke_with(
    client: &Client,
    credential: &Credential,
    timeout: Duration,
) -> Result<Answer, SendError> {
    let invocation = Invocation {
        urn: &urn(),
        kind: Kind::Async,
        protocol: Protocol::V2,
        event: Bytes::from_static(br#"{"k":"v"}"#),
        instance_memory_mb: None,
    };
    let now = "2024-01-02T03:04:05Z".parse().unwrap();
    client.invoke(invocation, credential, now, timeout).await
}

async fn invoke(client: &Client, timeout: Duration) -> Result<Answer, SendError> {
    invoke_with(client, &Credential::token(TOKEN).unwrap(), timeout).await
}

fn script(last: impl Into<Vec<u8>>, end: End) -> Script {
    Script { last: last.into(), end, ..Script::default() }
}

/// Runs one invocation against a server that follows a script.
async fn play(script: Script, timeout: Duration) -> (Server, Result<Answer, SendError>) {
    let authority = Authority::new();
    let server = Server::start(&authority, script).await;
    let result = invoke(&client(&server.url(), &authority), timeout).await;
    (server, result)
}

fn verdict(result: &Result<Answer, SendError>) -> Verdict {
    result.as_ref().expect("an answer").verdict(Kind::Async, CredentialKind::Token)
}

// === what is sent ===

#[tokio::test]
async fn a_submission_is_accepted_by_a_server_of_the_callers_own_authority() {
    let (server, result) = play(script(ACCEPTED, End::Close), LONG_TIMEOUT).await;
    let answer = result.unwrap();
    assert_eq!((answer.status, answer.request_id.as_deref()), (202, Some("id-1")));
    assert_eq!(answer.gateway_request_id.as_deref(), Some("gw-1"));
    let [request] = server.requests().try_into().ok().expect("one request");
    assert!(
        request.head.starts_with(
            "POST /v2/7aad83af3e8d42e99ac194e8419e2c9b/fgs/functions/urn%3Afss%3Aeu-de%3A7aad83af3e8d42e99ac194e8419e2c9b\
             %3Afunction%3Adefault%3Atest%3A%21prod/invocations-async HTTP/1.1\r\n"
        ),
        "{}",
        request.head
    );
    assert_eq!(request.body, br#"{"k":"v"}"#);
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    assert_eq!(request.header("x-auth-token"), Some(TOKEN));
    assert_eq!(request.header("host").map(|host| format!("https://{host}")), Some(server.url()));
    assert!(request.header("user-agent").unwrap().starts_with("functiongraph-rust/"));
    assert_eq!(request.header("transfer-encoding"), None);
}

#[tokio::test]
async fn what_is_signed_is_what_is_on_the_wire() {
    let authority = Authority::new();
    let server = Server::start(&authority, script(ACCEPTED, End::Close)).await;
    let credential = Credential::access_key("AKID", "my-secret-key", Some("session".into())).unwrap();
    invoke_with(&client(&server.url(), &authority), &credential, LONG_TIMEOUT).await.unwrap();
    let [request] = server.requests().try_into().ok().expect("one request");
    let authorization = parse_authorization(request.header("authorization").unwrap()).unwrap();
    let all = request.headers();
    let signed: Vec<_> = all
        .iter()
        .filter(|(name, _)| authorization.signed_headers.contains(name))
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    assert_eq!(signed.len(), 5, "every header is there exactly once");
    let path = request.head.split(' ').nth(1).unwrap();
    let again = SignedRequest { method: "POST", path, query: &[], headers: &signed, body: &request.body };
    assert_eq!(
        again.signature("my-secret-key", request.header("x-sdk-date").unwrap()),
        authorization.signature
    );
    assert_eq!(request.header("x-sdk-date"), Some("20240102T030405Z"));
    assert!(!request.head.contains("my-secret-key"));
}

#[tokio::test]
async fn t07_proxies_of_the_environment_are_ignored() {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    // The tests of a process share its environment, so run one of them again in a process of its own.
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "a_submission_is_accepted_by_a_server_of_the_callers_own_authority"]);
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        child.env(name, &address);
    }
    for name in ["NO_PROXY", "no_proxy"] {
        child.env_remove(name);
    }
    let output = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.contains("1 passed"), "{output}");
    // A connection would be waiting to be accepted.
    assert!(tokio::time::timeout(Duration::ZERO, proxy.accept()).await.is_err());
}

// === nothing was sent ===

fn assert_not_sent(server: &Server, result: &Result<Answer, SendError>, cause: &str) {
    let error = result.as_ref().expect_err("no answer");
    assert!(matches!(error, SendError::NotSent(text) if text.contains(cause)), "{error:?}");
    assert!(!error.to_string().contains(TOKEN));
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn t07_a_certificate_of_another_authority_means_that_nothing_was_sent() {
    let server = Server::start(&Authority::new(), Script::default()).await;
    let result = invoke(&client(&server.url(), &Authority::new()), LONG_TIMEOUT).await;
    assert_not_sent(&server, &result, "invalid peer certificate");
}

#[tokio::test]
async fn t07_a_certificate_for_another_name_means_that_nothing_was_sent() {
    let authority = Authority::new();
    let server = Server::start_as(&authority, "elsewhere.example", false, Script::default()).await;
    let result = invoke(&client(&server.url(), &authority), LONG_TIMEOUT).await;
    assert_not_sent(&server, &result, "certificate not valid for name \"localhost\"");
}

#[tokio::test]
async fn t07_an_expired_certificate_means_that_nothing_was_sent() {
    let authority = Authority::new();
    let server = Server::start_as(&authority, "localhost", true, Script::default()).await;
    let result = invoke(&client(&server.url(), &authority), LONG_TIMEOUT).await;
    assert_not_sent(&server, &result, "certificate expired");
}

#[tokio::test]
async fn t01_a_refused_network_means_that_nothing_was_sent() {
    let authority = Authority::new();
    let server = Server::start(&authority, Script::default()).await;
    let guarded = || ClientOptions { refused_networks: LOCAL_NETWORKS.to_vec(), ..options(&authority) };
    let client = Client::new(server.url().parse().unwrap(), guarded()).unwrap();
    assert_not_sent(&server, &invoke(&client, LONG_TIMEOUT).await, "is in a refused network");
    assert_eq!(server.connections().opened, 0);
    for address in [
        "https://127.0.0.1:1",
        "https://2130706433",
        "https://[::ffff:169.254.169.254]",
        "https://[64:ff9b::127.0.0.1]",
    ] {
        let built = Client::new(address.parse().unwrap(), guarded());
        assert!(matches!(built, Err(BuildError::RefusedAddress(_))), "{address}");
    }
}

#[tokio::test]
async fn a_refused_connection_means_that_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    drop(listener);
    let error = invoke(&client(&url, &Authority::new()), LONG_TIMEOUT).await.unwrap_err();
    assert!(
        matches!(&error, SendError::NotSent(cause) if cause.starts_with("no connection to localhost: Connection refused")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_name_that_does_not_exist_means_that_nothing_was_sent() {
    let error =
        invoke(&client("https://functiongraph.invalid", &Authority::new()), LONG_TIMEOUT).await.unwrap_err();
    assert!(matches!(error, SendError::NotSent(_)), "{error:?}");
}

/// The versions of TLS that a client offers in the extension for them (RFC 8446, 4.2.1).
fn offered_versions(hello: &[u8]) -> Vec<u16> {
    let short = |at: usize| usize::from(u16::from_be_bytes([hello[at], hello[at + 1]]));
    // Record, handshake, version, random; then session, ciphers, compression.
    let mut at = 5 + 4 + 2 + 32;
    at += 1 + usize::from(hello[at]);
    at += 2 + short(at);
    at += 1 + usize::from(hello[at]);
    at += 2;
    while at + 4 <= hello.len() {
        let (kind, length) = (short(at), short(at + 2));
        if kind == 43 {
            let list = &hello[at + 5..at + 4 + length];
            return list.chunks(2).map(|version| u16::from_be_bytes([version[0], version[1]])).collect();
        }
        at += 4 + length;
    }
    Vec::new()
}

#[tokio::test]
async fn t07_no_older_tls_than_1_2_is_offered_or_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let peer = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = vec![0; 5];
        stream.read_exact(&mut hello).await.unwrap();
        let length = usize::from(u16::from_be_bytes([hello[3], hello[4]]));
        hello.resize(5 + length, 0);
        stream.read_exact(&mut hello[5..]).await.unwrap();
        // A TLS 1.1 hello: version, random, no session, a cipher of that time, no compression.
        let mut answer = vec![0x16, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
        answer.extend([7; 32]);
        answer.extend([0, 0xc0, 0x13, 0]);
        stream.write_all(&answer).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
        hello
    });
    let error = invoke(&client(&url, &Authority::new()), LONG_TIMEOUT).await.unwrap_err();
    assert!(matches!(&error, SendError::NotSent(_)), "{error:?}");
    let mut versions = offered_versions(&peer.await.unwrap());
    versions.sort_unstable();
    assert_eq!(versions, [0x0303, 0x0304]);
}

#[tokio::test]
async fn a_proxy_that_never_answers_is_named_as_the_way() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://127.0.0.1:{}", silent.local_addr().unwrap().port());
    let connect_timeout = Duration::from_millis(200);
    let options =
        ClientOptions { connect_timeout, proxy: Some(proxy.parse().unwrap()), ..ClientOptions::default() };
    let client = Client::new("https://functiongraph.example.com".parse().unwrap(), options).unwrap();
    let error = invoke(&client, LONG_TIMEOUT).await.unwrap_err();
    let way = "no connection to functiongraph.example.com through the proxy: ";
    assert!(matches!(&error, SendError::NotSent(cause) if cause.starts_with(way)), "{error:?}");
}

#[tokio::test]
async fn t07_a_handshake_that_never_ends_means_that_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let options = ClientOptions { connect_timeout: Duration::from_millis(200), ..ClientOptions::default() };
    let client = Client::new(url.parse().unwrap(), options).unwrap();
    let error = invoke(&client, LONG_TIMEOUT).await.unwrap_err();
    assert!(matches!(error, SendError::NotSent(_)), "{error:?}");
}

#[tokio::test]
async fn t07_a_handshake_that_never_ends_means_that_nothing_was_sent_also_if_the_time_allowed_is_short() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let client = Client::new(url.parse().unwrap(), ClientOptions::default()).unwrap();
    for timeout in [Duration::from_millis(500), Duration::from_secs(1)] {
        let error = invoke(&client, timeout).await.unwrap_err();
        assert!(matches!(error, SendError::NotSent(_)), "{error:?}");
    }
}

#[tokio::test]
async fn t07_a_server_without_tls_means_that_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, ACCEPTED).await.unwrap();
    });
    let error = invoke(&client(&url, &Authority::new()), LONG_TIMEOUT).await.unwrap_err();
    assert!(matches!(error, SendError::NotSent(_)), "{error:?}");
}

// === something may have been sent ===

fn assert_interrupted(server: &Server, result: &Result<Answer, SendError>, requests: usize) {
    assert!(matches!(result, Err(SendError::Interrupted(_))), "{result:?}");
    assert_eq!(server.requests().len(), requests);
}

#[tokio::test]
async fn a_connection_that_ends_without_an_answer_is_an_interruption() {
    for end in [End::Close, End::Reset] {
        let (server, result) = play(script("", end), LONG_TIMEOUT).await;
        assert_interrupted(&server, &result, 1);
        let (server, result) = play(script("HTTP/1.1 202 Acc", end), LONG_TIMEOUT).await;
        assert_interrupted(&server, &result, 1);
    }
}

#[tokio::test]
async fn t06_no_answer_in_time_is_told_apart_from_an_interruption() {
    let (mut server, result) = play(script("", End::Hang), SHORT_TIMEOUT).await;
    assert_eq!(server.requests().len(), 1);
    let error = result.unwrap_err();
    assert!(matches!(error, SendError::TimedOut(_)), "{error:?}");
    assert_eq!(error.cause(), "no answer within 6s");
    assert_eq!(error.to_string(), "no answer within 6s, but the request may have been sent");
    server.ended(1).await;
}

#[tokio::test]
async fn t06_an_answer_that_is_not_http_is_an_interruption() {
    let headers = (0..101).map(|number| format!("X-{number}: y\r\n")).collect::<Vec<_>>().concat();
    for answer in [
        "SSH-2.0-OpenSSH_9.6\r\n\r\n".to_owned(),
        "HTTP/1.1 abc Accepted\r\n\r\n".to_owned(),
        "HTTP/1.1 202 Accepted\r\nContent-Length: -1\r\n\r\n".to_owned(),
        format!("HTTP/1.1 202 Accepted\r\n{headers}\r\n"),
        format!("HTTP/1.1 202 Accepted\r\nX-Long: {}\r\n\r\n", "y".repeat(2_000_000)),
    ] {
        let (server, result) = play(script(answer, End::Hang), LONG_TIMEOUT).await;
        assert_interrupted(&server, &result, 1);
    }
}

#[tokio::test]
async fn a_request_lost_on_a_reused_connection_is_not_sent_again() {
    let authority = Authority::new();
    for end in [End::Close, End::Reset] {
        let server = Server::start(&authority, Script { polite: 2, end, ..Script::default() }).await;
        let client = client(&server.url(), &authority);
        for _ in 0..2 {
            assert_eq!(verdict(&invoke(&client, LONG_TIMEOUT).await), Verdict::Accepted);
        }
        let result = invoke(&client.clone(), LONG_TIMEOUT).await;
        assert_eq!(server.connections().opened, 1, "the connection was reused");
        assert_interrupted(&server, &result, 3);
    }
}

// === a status is a status ===

#[tokio::test]
async fn t06_a_cut_body_does_not_hide_the_status() {
    let head = |status: &str, more: &str| format!("HTTP/1.1 {status}\r\n{more}\r\n\r\n");
    for end in [End::Close, End::Reset] {
        for rest in [
            head("202 Accepted", "Content-Length: 1000") + "{\"request_",
            head("202 Accepted", "Content-Length: 1000"),
            head("202 Accepted", "Transfer-Encoding: chunked") + "10\r\n{\"req",
            head("202 Accepted", "Transfer-Encoding: chunked") + "zz\r\n",
            head("202 Accepted", "Content-Encoding: gzip\r\nContent-Length: 4") + "\u{1f}\0\0\0",
        ] {
            let (server, result) = play(script(rest.as_str(), end), LONG_TIMEOUT).await;
            assert_eq!(verdict(&result), Verdict::Accepted, "{rest:?}");
            assert_eq!(result.unwrap().request_id, None);
            assert_eq!(server.requests().len(), 1);
        }
        let (_, result) =
            play(script(head("503 Unavailable", "Content-Length: 9") + "no", end), LONG_TIMEOUT).await;
        assert_eq!(verdict(&result), Verdict::Unavailable { by_the_service: false });
    }
}

#[tokio::test]
async fn what_was_read_of_a_cut_body_is_used() {
    let cut =
        "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n15\r\n{\"request_id\":\"id-1\"}\r\n";
    let (_, result) = play(script(cut, End::Close), LONG_TIMEOUT).await;
    assert_eq!(result.unwrap().request_id.as_deref(), Some("id-1"));
}

#[tokio::test]
async fn t06_a_body_that_never_ends_is_read_up_to_a_limit() {
    let flood = "HTTP/1.1 202 Accepted\r\nX-Cff-Request-Id: id-2\r\nTransfer-Encoding: chunked\r\n\r\n";
    // The size limit must end the call, not the timeout.
    let played = tokio::time::timeout(LONG_TIMEOUT / 2, play(script(flood, End::Flood), LONG_TIMEOUT)).await;
    let (mut server, result) = played.expect("an end");
    assert_eq!(result.unwrap().request_id.as_deref(), Some("id-2"));
    server.ended(1).await;
}

/// Bytes that two sockets and TLS may hold in addition to what the client read.
const MAX_BUFFERED: usize = 16 * 1024 * 1024;

#[tokio::test]
async fn t06_headers_without_end_are_given_up_and_take_little_memory() {
    for header in [b"X-Filler: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".as_slice(), &[b'y'; 4096]] {
        let head = "HTTP/1.1 202 Accepted\r\nX-Long: ";
        // The size limit must end the call, not the timeout.
        let played =
            tokio::time::timeout(LONG_TIMEOUT / 2, play(script(head, End::Repeat(header)), LONG_TIMEOUT))
                .await;
        let (mut server, result) = played.expect("an end");
        assert!(matches!(result, Err(SendError::Interrupted(_))), "{result:?}");
        server.ended(1).await;
        assert!(server.written() < MAX_BUFFERED, "{} bytes were taken", server.written());
    }
}

#[tokio::test]
async fn t06_a_body_that_drips_ends_with_the_time_allowed() {
    let head = "HTTP/1.1 202 Accepted\r\nX-Cff-Request-Id: id-4\r\nContent-Length: 60000\r\n\r\n";
    let (mut server, result) = play(script(head, End::Drip), SHORT_TIMEOUT).await;
    assert_eq!(result.unwrap().request_id.as_deref(), Some("id-4"));
    server.ended(1).await;
}

#[tokio::test]
async fn t06_a_bomb_is_not_unpacked() {
    // Ten bytes of gzip's header, and a body that is a JSON object once it is decompressed.
    let body = b"\x1f\x8b\x08\0\0\0\0\0\0\x03{\"request_id\":\"unpacked\"}";
    let head =
        format!("HTTP/1.1 202 Accepted\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", body.len());
    let (server, result) = play(script([head.as_bytes(), body].concat(), End::Close), LONG_TIMEOUT).await;
    assert_eq!(verdict(&result), Verdict::Accepted);
    assert_eq!(result.unwrap().request_id, None);
    let [request] = server.requests().try_into().ok().expect("one request");
    assert_eq!(request.header("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn t06_a_body_that_never_comes_does_not_hide_the_status() {
    let silent = "HTTP/1.1 202 Accepted\r\nX-Cff-Request-Id: id-3\r\nContent-Length: 10\r\n\r\n{";
    let (mut server, result) = play(script(silent, End::Hang), SHORT_TIMEOUT).await;
    assert_eq!(result.unwrap().request_id.as_deref(), Some("id-3"));
    server.ended(1).await;
}

#[tokio::test]
async fn t05_a_redirect_is_not_followed() {
    let authority = Authority::new();
    let second = Server::start(&authority, script(ACCEPTED, End::Close)).await;
    for status in [301, 302, 303, 307, 308] {
        let location = second.url();
        let redirect =
            format!("HTTP/1.1 {status} Go\r\nLocation: {location}/v2\r\nContent-Length: 0\r\n\r\n");
        let first = Server::start(&authority, script(redirect, End::Close)).await;
        let result = invoke(&client(&first.url(), &authority), LONG_TIMEOUT).await;
        assert_eq!(verdict(&result), Verdict::Redirected);
        assert_eq!(first.requests().len(), 1);
    }
    assert_eq!(second.connections().opened, 0);
}

#[tokio::test]
async fn a_refusal_or_a_retry_hint_is_not_obeyed_by_sending_again() {
    for head in
        ["401 Unauthorized", "408 Request Timeout", "421 Misdirected", "425 Too Early", "429 Busy", "503 No"]
    {
        let answer = format!("HTTP/1.1 {head}\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n");
        let (server, result) = play(script(answer, End::Hang), LONG_TIMEOUT).await;
        assert_eq!(result.unwrap().retry_after, Some(Duration::ZERO));
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn t08_a_secret_that_the_server_repeats_is_not_in_the_answer() {
    let body = format!(
        r#"{{"error_code":"APIG.0301","error_msg":"token {TOKEN} is \u0063anary","request_id":"{TOKEN}"}}"#
    );
    let head = format!("HTTP/1.1 401 No\r\nX-Request-Id: {TOKEN}\r\nContent-Length: {}\r\n\r\n", body.len());
    let (_, result) = play(script(head + &body, End::Close), LONG_TIMEOUT).await;
    assert!(!format!("{result:?}").contains(TOKEN), "{result:?}");
    assert_eq!(result.unwrap().error_message.as_deref(), Some(functiongraph::text::WITHHELD));
}
