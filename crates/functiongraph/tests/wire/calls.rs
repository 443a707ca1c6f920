//! Every call of the service over real TLS: the bytes of its request, and how its answer is read.

use functiongraph::answer::{MAX_BODY, MAX_KEPT};
use functiongraph::records::MAX_PAGE;
use functiongraph::sign::{SignedRequest, parse_authorization};
use functiongraph::text::WITHHELD;
use functiongraph::{
    Answer, CancelType, Client, Credential, ExecutionStatus, Fetched, FunctionConfig, Invocation, Kind,
    ListQuery, Listed, Protocol, SendError, Verdict,
};
use jiff::Timestamp;

use super::login::{answer, line};
use super::server::{Authority, End, Request, Script, Server};
use super::{LONG_TIMEOUT, TOKEN, client, script, urn};

const P: &str = "7aad83af3e8d42e99ac194e8419e2c9b";
const ID: &str = "1167bf8c-87b0-43ab-8f5f-26b16c64f252";
const SYNC: Kind = Kind::Sync { log_tail: true };

fn now() -> Timestamp {
    "2024-01-02T03:04:05Z".parse().unwrap()
}

fn token() -> Credential {
    Credential::token(TOKEN).unwrap()
}

fn key() -> Credential {
    Credential::access_key("AKID", "my-secret-key", Some("session".into())).unwrap()
}

fn query() -> ListQuery {
    ListQuery {
        request_id: Some(ID.to_owned()),
        status: Some(ExecutionStatus::Fail),
        limit: 10,
        marker: Some("0".to_owned()),
        end: Some(now()),
        ..ListQuery::since("2024-01-02T02:04:05Z".parse().unwrap())
    }
}

/// A server that follows a script, and a client for it.
async fn stage(script: Script) -> (Server, Client) {
    let authority = Authority::new();
    let server = Server::start(&authority, script).await;
    let client = client(&server.url(), &authority);
    (server, client)
}

async fn serving(head: &str, body: &str) -> (Server, Client) {
    stage(script(answer(head, body), End::Close)).await
}

async fn invoke(
    client: &Client,
    kind: Kind,
    protocol: Protocol,
    as_whom: &Credential,
) -> Result<Answer, SendError> {
    let event = br#"{"k":"v"}"#.as_slice().into();
    let invocation = Invocation { urn: &urn(), kind, protocol, event, instance_memory_mb: Some(256) };
    client.invoke(invocation, as_whom, now(), LONG_TIMEOUT).await
}

fn only(server: &Server) -> Request {
    let [request] = server.requests().try_into().ok().expect("one request");
    request
}

/// The request line of a call of the function that all these tests call.
fn call(method: &str, before: &str, after: &str) -> String {
    let function = format!("urn%3Afss%3Aeu-de%3A{P}%3Afunction%3Adefault%3Atest%3A%21prod");
    format!("{method} {before}/functions/{function}/{after} HTTP/1.1")
}

// === invocations ===

#[tokio::test]
async fn a_synchronous_invocation_of_v2_brings_the_result_out_of_its_envelope() {
    let body = format!(r#"{{"request_id":"{ID}","result":"{{\"a\":1}}","log":"","status":200}}"#);
    let head = "200 OK\r\nContent-Type: application/json\r\nX-Cff-Response-Version: v1\r\nX-Request-Id: gw-1\r\n\
                X-Cff-Function-Log: bG9nIGxpbmUKdHdv\r\nX-Func-Err-Code: 0\r\nX-Is-Func-Err: false\r\n\
                X-Cff-Invoke-Summary: {\"duration\":1.5,\"billingDuration\":2,\"memorySize\":128,\"memoryUsed\":41.5}";
    let (server, client) = serving(head, &body).await;
    let answer = invoke(&client, SYNC, Protocol::V2, &token()).await.unwrap();
    assert_eq!(answer.verdict(SYNC, token().kind()), Verdict::Accepted);
    assert_eq!(answer.request_id.as_deref(), Some(ID));
    assert_eq!(answer.gateway_request_id.as_deref(), Some("gw-1"));
    let result = answer.sync.unwrap();
    assert_eq!(&*result.body, r#"{"a":1}"#);
    assert_eq!(result.log.as_deref(), Some("log line\ntwo"));
    assert_eq!(result.summary.unwrap().duration_ms, Some(1.5));
    assert_eq!((result.function_error, result.truncated), (None, false));
    let request = only(&server);
    assert_eq!(line(&request), call("POST", &format!("/v2/{P}/fgs"), "invocations"));
    assert_eq!(request.header("x-cff-request-version"), Some("v1"));
    assert_eq!(request.header("x-cff-log-type"), Some("tail"));
    assert_eq!(request.header("x-cff-instance-memory"), Some("256"));
    assert_eq!(request.body, br#"{"k":"v"}"#);
}

#[tokio::test]
async fn a_synchronous_invocation_of_v1_brings_the_result_as_it_is() {
    let body = r#"{"request_id":"mine","result":"r","status":500}"#;
    let head = format!("200 OK\r\nX-Cff-Request-Id: {ID}\r\nX-Is-Func-Err: true\r\nX-Func-Err-Code: 4002");
    let (server, client) = serving(&head, body).await;
    let answer = invoke(&client, Kind::Sync { log_tail: false }, Protocol::V1, &token()).await.unwrap();
    assert_eq!(answer.request_id.as_deref(), Some(ID));
    let result = answer.sync.unwrap();
    assert_eq!(&*result.body, body);
    assert_eq!(result.function_error.as_deref(), Some("4002"));
    let request = only(&server);
    assert_eq!(line(&request), call("POST", &format!("/v1.0/{P}/fss"), "invocations"));
    assert_eq!((request.header("x-cff-request-version"), request.header("x-cff-log-type")), (None, None));
}

#[tokio::test]
async fn an_asynchronous_invocation_of_v1_has_its_own_path_and_spelling() {
    let (server, client) = serving("202 Accepted", &format!(r#"{{"request-id":"{ID}"}}"#)).await;
    let answer = invoke(&client, Kind::Async, Protocol::V1, &token()).await.unwrap();
    assert_eq!((answer.request_id.as_deref(), answer.sync), (Some(ID), None));
    assert_eq!(line(&only(&server)), call("POST", &format!("/v1.0/{P}/fss"), "invocations-async"));
}

#[tokio::test]
async fn a_reserved_invocation_brings_its_instance() {
    for protocol in [Protocol::V2, Protocol::V1] {
        let (server, client) = serving("202 Accepted", &format!(r#"{{"instance_id":"{ID}"}}"#)).await;
        let answer = invoke(&client, Kind::Reserved, protocol, &token()).await.unwrap();
        assert_eq!(answer.verdict(Kind::Reserved, token().kind()), Verdict::Accepted);
        assert_eq!((answer.instance_id.as_deref(), answer.request_id), (Some(ID), None));
        assert_eq!(line(&only(&server)), call("POST", &format!("/v2/{P}/fgs"), "reserved-invocations"));
    }
}

#[tokio::test]
async fn t06_a_result_without_end_is_read_up_to_its_limit_and_said_to_be_cut() {
    let flood = "HTTP/1.1 200 OK\r\nX-Cff-Response-Version: v0\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (mut server, client) = stage(script(flood, End::Flood)).await;
    // The size limit must end the call, not the timeout.
    let ended = tokio::time::timeout(LONG_TIMEOUT / 2, invoke(&client, SYNC, Protocol::V2, &token())).await;
    let result = ended.expect("an end").unwrap().sync.unwrap();
    assert_eq!((result.body.len(), result.truncated), (MAX_KEPT, true));
    server.ended(1).await;
}

#[tokio::test]
async fn a_result_that_breaks_off_is_said_to_be_cut() {
    for end in [End::Close, End::Reset] {
        let head = "HTTP/1.1 200 OK\r\nX-Cff-Request-Id: id-1\r\nContent-Length: 1000\r\n\r\n";
        let (_, client) = stage(script(head, end)).await;
        let answer = invoke(&client, SYNC, Protocol::V1, &token()).await.unwrap();
        assert_eq!(answer.verdict(SYNC, token().kind()), Verdict::Accepted);
        assert_eq!(answer.request_id.as_deref(), Some("id-1"));
        assert!(answer.sync.unwrap().truncated);
    }
}

#[tokio::test]
async fn t08_a_secret_that_a_function_returns_is_not_in_the_result() {
    let body = format!(r#"{{"result":"my {TOKEN}","status":200}}"#);
    let (_, client) = serving("200 OK\r\nX-Cff-Response-Version: v1", &body).await;
    let result = invoke(&client, SYNC, Protocol::V2, &token()).await.unwrap().sync.unwrap();
    assert_eq!(&*result.body, WITHHELD);
}

// === records ===

#[tokio::test]
async fn records_are_asked_for_as_the_official_sdk_does() {
    let body = format!(
        r#"{{"invocations":[{{"request_id":"{ID}","status":"FAIL","error_code":4208,"error_message":"said {TOKEN}"}}],
            "count":7,"next_marker":"10"}}"#
    );
    let (server, client) = serving("200 OK", &body).await;
    let listed =
        client.list_async_invocations(&urn(), &query(), &token(), now(), LONG_TIMEOUT).await.unwrap();
    let Listed::Page(page) = listed else { panic!("{listed:?}") };
    assert_eq!(page.next_marker.as_deref(), Some("10"));
    assert_eq!(page.records[0].error_code.as_deref(), Some("4208"));
    assert_eq!(page.records[0].error_message.as_deref(), Some(WITHHELD));
    let request = only(&server);
    let asked = "async-invocations?limit=10&marker=0&query_begin_time=2024-01-02T02%3A04%3A05&query_end_time=\
                 2024-01-02T03%3A04%3A05&request_id=1167bf8c-87b0-43ab-8f5f-26b16c64f252&status=FAIL";
    assert_eq!(line(&request), call("GET", &format!("/v2/{P}/fgs"), asked));
    assert_eq!(request.header("x-auth-token"), Some(TOKEN));
    assert!(request.body.is_empty());
    assert_eq!(request.header("transfer-encoding"), None);
}

#[tokio::test]
async fn a_refused_listing_is_an_answer() {
    let (_, client) = serving("403 No", r#"{"error_code":"FSS.0403","error_msg":"invalid token"}"#).await;
    let listed =
        client.list_async_invocations(&urn(), &query(), &token(), now(), LONG_TIMEOUT).await.unwrap();
    let Listed::Answer(answer) = listed else { panic!("{listed:?}") };
    assert_eq!(answer.verdict_of_call(token().kind()), Verdict::Unauthenticated);
    assert!(!answer.is_success());
}

#[tokio::test]
async fn a_page_that_is_too_long_or_cut_is_no_page() {
    let record = format!(r#"{{"request_id":"{ID}","status":"SUCCESS"}}"#);
    let page = |records: usize| format!(r#"{{"invocations":[{}]}}"#, vec![&*record; records].join(","));
    let few = MAX_PAGE / (record.len() + 1) - 1;
    let half = answer("200 OK", &page(2)).split_last_chunk::<20>().map(|(half, _)| half.to_vec()).unwrap();
    for (bytes, records) in
        [(answer("200 OK", &page(few)), Some(few)), (answer("200 OK", &page(few + 9)), None), (half, None)]
    {
        let (_, client) = stage(script(bytes, End::Close)).await;
        let listed =
            client.list_async_invocations(&urn(), &query(), &token(), now(), LONG_TIMEOUT).await.unwrap();
        match listed {
            Listed::Page(page) => assert_eq!(Some(page.records.len()), records),
            Listed::Answer(answer) => assert!(records.is_none() && answer.is_success(), "{answer:?}"),
        }
    }
}

#[tokio::test]
async fn a_listing_that_gets_no_answer_is_an_error_like_any_other() {
    let (server, client) = stage(script("", End::Reset)).await;
    let error =
        client.list_async_invocations(&urn(), &query(), &token(), now(), LONG_TIMEOUT).await.unwrap_err();
    assert!(matches!(error, SendError::Interrupted(_)), "{error:?}");
    assert_eq!(server.requests().len(), 1);
}

// === cancelling ===

#[tokio::test]
async fn a_cancellation_is_granted_or_refused() {
    for (head, body, granted) in [
        ("200 OK", "null", true),
        ("200 OK", "{}", true),
        ("400 No", r#"{"error_code":"FSS.0400","error_msg":"Invalid RequestId"}"#, false),
    ] {
        let (server, client) = serving(head, body).await;
        let answer =
            client.cancel(&urn(), ID, CancelType::Force, &token(), now(), LONG_TIMEOUT).await.unwrap();
        assert_eq!(answer.is_success(), granted, "{answer:?}");
        let request = only(&server);
        assert_eq!(line(&request), call("POST", &format!("/v2/{P}/fgs"), "cancel"));
        assert_eq!(request.body, format!(r#"{{"request_id":"{ID}","type":"force"}}"#).as_bytes());
        assert_eq!(request.header("content-type"), Some("application/json"));
    }
}

// === credentials ===

#[tokio::test]
async fn a_credential_is_checked_by_listing_one_function_in_either_edition_of_the_api() {
    for (protocol, functions) in
        [(Protocol::V2, format!("/v2/{P}/fgs/functions")), (Protocol::V1, format!("/v1.0/{P}/fss/functions"))]
    {
        let refusal = r#"{"error_code":"APIG.0301","error_msg":"decrypt token fail"}"#;
        for (head, body, verdict) in [
            ("200 OK", r#"{"functions":[],"count":0}"#, Verdict::Accepted),
            ("401 No", refusal, Verdict::Unauthenticated),
            ("403 No", r#"{"error_code":"FSS.1126"}"#, Verdict::Refused),
        ] {
            let (server, client) = serving(head, body).await;
            let answer = client.check_credential(P, protocol, &token(), now(), LONG_TIMEOUT).await.unwrap();
            assert_eq!(answer.verdict_of_call(token().kind()), verdict);
            assert_eq!(line(&only(&server)), format!("GET {functions}?marker=0&maxitems=1 HTTP/1.1"));
        }
    }
}

// === settings ===

#[tokio::test]
async fn settings_are_read_each_from_its_path() {
    let (server, client) = serving("200 OK", r#"{"enable_async_status_log":true}"#).await;
    let fetched = client.async_invoke_config(&urn(), &token(), now(), LONG_TIMEOUT).await.unwrap();
    let Fetched::Settings(settings) = fetched else { panic!("{fetched:?}") };
    assert!(settings.status_log_enabled);
    assert_eq!(line(&only(&server)), call("GET", &format!("/v2/{P}/fgs"), "async-invoke-config"));

    let (server, client) = serving("200 OK", r#"{"strategy_config":{"concurrency":0}}"#).await;
    let fetched = client.function_config(&urn(), &token(), now(), LONG_TIMEOUT).await.unwrap();
    let Fetched::Settings(settings) = fetched else { panic!("{fetched:?}") };
    assert!(settings.is_disabled());
    assert_eq!(line(&only(&server)), call("GET", &format!("/v2/{P}/fgs"), "config"));
}

#[tokio::test]
async fn what_is_no_setting_is_an_answer() {
    let long = format!(r#"{{"pad":"{}"}}"#, "x".repeat(MAX_BODY));
    for (head, body, success) in [
        ("404 No", r#"{"error_code":"FSS.1051","error_msg":"Not found the function"}"#, false),
        ("200 OK", "null", true),
        ("200 OK", "<html>", true),
        ("200 OK", &*long, true),
        ("204 Nothing", "", true),
    ] {
        let (_, client) = serving(head, body).await;
        let fetched = client.function_config(&urn(), &token(), now(), LONG_TIMEOUT).await.unwrap();
        let Fetched::Answer(answer) = fetched else { panic!("{fetched:?}") };
        assert_eq!(answer.is_success(), success);
        if success {
            continue;
        }
        assert_eq!(answer.error_code.as_deref(), Some("FSS.1051"));
    }
}

// === signatures ===

/// Computes the signature again from the bytes of the request.
fn assert_signed(request: &Request, signed_headers: usize) {
    let authorization = parse_authorization(request.header("authorization").unwrap()).unwrap();
    let all = request.headers();
    let headers: Vec<_> = all
        .iter()
        .filter(|(name, _)| authorization.signed_headers.contains(name))
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    assert_eq!(headers.len(), signed_headers, "{}", request.head);
    let mut words = request.head.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let (path, search) = target.split_once('?').unwrap_or((target, ""));
    let query: Vec<_> = search.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let query: Vec<_> =
        query.into_iter().map(|(key, value)| (key.to_owned(), value.replace("%3A", ":"))).collect();
    let again = SignedRequest { method, path, query: &query, headers: &headers, body: &request.body };
    let date = request.header("x-sdk-date").unwrap();
    assert_eq!(again.signature("my-secret-key", date), authorization.signature, "{}", request.head);
    assert_eq!(request.header("x-project-id"), Some(P));
    assert!(!request.head.contains("my-secret-key"));
}

#[tokio::test]
async fn every_call_signs_what_it_sends() {
    let polite = Script { polite: 10, ..Script::default() };
    let (server, client) = stage(polite).await;
    let key = key();
    invoke(&client, Kind::Async, Protocol::V2, &key).await.unwrap();
    invoke(&client, Kind::Async, Protocol::V1, &key).await.unwrap();
    invoke(&client, Kind::Reserved, Protocol::V2, &key).await.unwrap();
    invoke(&client, SYNC, Protocol::V1, &key).await.unwrap();
    invoke(&client, SYNC, Protocol::V2, &key).await.unwrap();
    client.list_async_invocations(&urn(), &query(), &key, now(), LONG_TIMEOUT).await.unwrap();
    client.cancel(&urn(), ID, CancelType::Recursive, &key, now(), LONG_TIMEOUT).await.unwrap();
    client.async_invoke_config(&urn(), &key, now(), LONG_TIMEOUT).await.unwrap();
    let config: Fetched<FunctionConfig> =
        client.function_config(&urn(), &key, now(), LONG_TIMEOUT).await.unwrap();
    assert!(matches!(config, Fetched::Answer(_)), "a 202 is no answer to that");
    client.check_credential(P, Protocol::V2, &key, now(), LONG_TIMEOUT).await.unwrap();
    let requests = server.requests();
    // Five headers of every temporary key, and those with the options of an invocation.
    let signed = [6, 6, 6, 7, 8, 5, 5, 5, 5, 5];
    assert_eq!(requests.len(), signed.len());
    for (request, signed) in requests.iter().zip(signed) {
        assert_signed(request, signed);
    }
}
