//! Signatures made with the client's own signer, and the lock of a failing key.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method};

use functiongraph::sign::SignedRequest;

use crate::issued::IssuedToken;

use super::*;

const PATH: &str = "/v2/p/fgs/functions/f/invocations-async";

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn auth() -> Auth {
    Auth::new(&Config {
        tokens: vec!["good-token".into()],
        access_keys: vec![
            AccessKey { id: "AK".into(), secret: "SK".into(), security_token: None },
            AccessKey { id: "TEMPORARY".into(), secret: "SK".into(), security_token: Some("st".into()) },
        ],
        lockout: Duration::from_mins(5),
        ..Config::default()
    })
}

fn request(headers: &[(&str, &str)]) -> Request {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    Request::new(Method::POST, &PATH.parse().unwrap(), map, Bytes::from_static(b"{}"))
}

fn signed(key: &str, secret: &str, at: Timestamp, more: &[(&str, &str)]) -> Request {
    let date = sign::format_date(at);
    let mut headers = vec![("host", "localhost:1"), (sign::X_SDK_DATE, date.as_str())];
    headers.extend(more);
    let request_to_sign =
        SignedRequest { method: "POST", path: PATH, query: &[], headers: &headers, body: b"{}" };
    let authorization = request_to_sign.authorization(key, secret, &date);
    headers.push((sign::AUTHORIZATION, &authorization));
    request(&headers)
}

#[test]
fn a_known_token_is_let_in_and_another_is_not() {
    let auth = auth();
    assert_eq!(auth.check(&request(&[(X_AUTH_TOKEN, "good-token")]), now()), Ok(Scope::All));
    let bad = auth.check(&request(&[(X_AUTH_TOKEN, "bad")]), now());
    assert_eq!(bad, Err(AuthFailure::UnknownToken));
    assert_eq!(auth.check(&request(&[]), now()), Err(AuthFailure::NoCredential));
}

#[test]
fn a_signature_is_good_for_exactly_the_request_it_was_made_for() {
    let auth = auth();
    assert_eq!(auth.check(&signed("AK", "SK", now(), &[]), now()), Ok(Scope::All));
    let mut other_body = signed("AK", "SK", now(), &[]);
    other_body.body = Bytes::from_static(b"{ }");
    assert_eq!(auth.check(&other_body, now()), Err(AuthFailure::BadSignature));
    let mut other_query = signed("AK", "SK", now(), &[]);
    other_query.raw_query = "a=b".into();
    assert_eq!(auth.check(&other_query, now()), Err(AuthFailure::BadSignature));
    let mut lost_header = signed("AK", "SK", now(), &[]);
    lost_header.headers.remove("host");
    assert_eq!(auth.check(&lost_header, now()), Err(AuthFailure::BadSignature));
    assert_eq!(auth.check(&signed("AK", "WRONG", now(), &[]), now()), Err(AuthFailure::BadSignature));
    assert_eq!(
        auth.check(&signed("NOBODY", "SK", now(), &[]), now()),
        Err(AuthFailure::UnknownKey("NOBODY".into()))
    );
}

/// A request of the Go client for Open Telekom Cloud, signed with a key that is derived from the scope.
fn derived(
    uri: &str,
    method: Method,
    body: &'static str,
    headers: &[(&str, &str)],
    signature: &str,
) -> Request {
    let mut map = HeaderMap::new();
    let date =
        [("host", "localhost:1"), (sign::X_SDK_DATE, "20261130T225642Z"), (sign::AUTHORIZATION, signature)];
    for (name, value) in date.iter().chain(headers) {
        map.insert(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    Request::new(method, &uri.parse().unwrap(), map, Bytes::from_static(body.as_bytes()))
}

#[test]
fn a_signature_with_a_derived_key_is_good_with_and_without_a_region() {
    let now = "2026-11-30T22:56:42Z".parse().unwrap();
    let invocation = |signature: &str| {
        derived(
            "/v2/p/fgs/functions/urn:fss:r:p:function:d:f:!a/invocations-async?b=2&a=x%20y%2Fz",
            Method::POST,
            "{}",
            &[("content-type", "application/json"), ("user-agent", "a  b")],
            signature,
        )
    };
    let good = "SDK-HMAC-SHA256 Credential=AK/20261130///sdk_request, \
                SignedHeaders=content-type;host;user-agent;x-sdk-date, \
                Signature=3619488b15c10ce915d68859f54ea32da1c8bad08de1937395fe3b0a1f0e6ac8";
    assert_eq!(auth().check(&invocation(good), now), Ok(Scope::All));
    for bad in [
        good.replace("/20261130///", "/20261129///"),
        good.replace("3619", "3618"),
        good.replace("///", "//"),
    ] {
        assert_eq!(auth().check(&invocation(&bad), now), Err(AuthFailure::BadSignature), "{bad}");
    }
    let with_region = "SDK-HMAC-SHA256 Credential=AK/20261130/eu-de/fgs/sdk_request, SignedHeaders=host;x-sdk-date, \
                       Signature=d747a3b2790e6e3dc86ac78beffbec264f11352a5a6593a00bbe6f90ff3d7364";
    let projects = derived("/v3/projects?name=eu-de", Method::GET, "", &[], with_region);
    assert_eq!(auth().check(&projects, now), Ok(Scope::All));
}

#[test]
fn an_empty_body_is_signed_by_its_hash_or_by_the_header_that_replaces_it() {
    let check = |hash_of_nothing: bool| {
        let date = sign::format_date(now());
        let headers = [
            ("content-type", "text/plain"),
            ("host", "localhost:1"),
            (sign::X_SDK_CONTENT_SHA256, sign::UNSIGNED_PAYLOAD),
            (sign::X_SDK_DATE, date.as_str()),
        ];
        // Only with a body does our own signer take the header.
        let body: &[u8] = if hash_of_nothing { b"" } else { b"anything" };
        let signed = SignedRequest { method: "POST", path: PATH, query: &[], headers: &headers, body };
        let authorization = signed.authorization("AK", "SK", &date);
        let mut sent = request(&[&headers[..], &[(sign::AUTHORIZATION, &authorization)]].concat());
        sent.body = Bytes::new();
        auth().check(&sent, now())
    };
    assert_eq!(check(true), Ok(Scope::All), "as the SDK for Python signs");
    assert_eq!(check(false), Ok(Scope::All), "as those for Go and Node do");
}

#[test]
fn a_query_is_signed_by_its_bytes_also_if_they_are_no_text() {
    let date = sign::format_date(now());
    // The canonical query of `marker=%ff&limit=a+b`, with the hash that a client computes from these bytes.
    let canonical = format!(
        "POST\n{PATH}/\nlimit=a%2Bb&marker=%FF\nhost:localhost:1\nx-sdk-date:{date}\n\nhost;x-sdk-date\n{}",
        "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    );
    let mut sent = request(&[("host", "localhost:1"), (sign::X_SDK_DATE, &date)]);
    sent.raw_query = "marker=%ff&limit=a+b".into();
    let header = "SDK-HMAC-SHA256 Access=AK, SignedHeaders=host;x-sdk-date, Signature=0";
    let signature = Signature::read(header).unwrap();
    assert_eq!(signature.canonical_requests(&sent), [canonical]);
}

#[test]
fn a_permanent_key_with_a_security_token_is_refused() {
    let check = |more| auth().check(&signed("AK", "SK", now(), more), now());
    assert_eq!(check(&[(sign::X_SECURITY_TOKEN, "foreign")]), Err(AuthFailure::BadSignature));
    assert_eq!(check(&[]), Ok(Scope::All));
}

#[test]
fn a_signature_without_a_signed_date_is_refused() {
    let headers = [("host", "localhost:1")];
    let to_sign = SignedRequest { method: "POST", path: PATH, query: &[], headers: &headers, body: b"{}" };
    let date = sign::format_date(now());
    let authorization = to_sign.authorization("AK", "SK", &date);
    let headers =
        [("host", "localhost:1"), (sign::X_SDK_DATE, &*date), (sign::AUTHORIZATION, &*authorization)];
    assert_eq!(auth().check(&request(&headers), now()), Err(AuthFailure::BadSignature));
}

#[test]
fn the_clock_may_be_a_quarter_of_an_hour_off_and_no_more() {
    let auth = auth();
    let check =
        |seconds| auth.check(&signed("AK", "SK", now() + SignedDuration::from_secs(seconds), &[]), now());
    assert_eq!(check(900), Ok(Scope::All));
    assert_eq!(check(-900), Ok(Scope::All));
    assert_eq!(check(901), Err(AuthFailure::Expired));
    assert_eq!(check(-901), Err(AuthFailure::Expired));
}

#[test]
fn a_temporary_key_needs_its_security_token() {
    let auth = auth();
    let check = |more| auth.check(&signed("TEMPORARY", "SK", now(), more), now());
    assert_eq!(check(&[]), Err(AuthFailure::BadSignature));
    assert_eq!(check(&[(sign::X_SECURITY_TOKEN, "other")]), Err(AuthFailure::BadSignature));
    assert_eq!(check(&[(sign::X_SECURITY_TOKEN, "st")]), Ok(Scope::All));
}

#[test]
fn the_sixth_failure_in_a_row_locks_the_key_for_a_while() {
    let auth = auth();
    let good = |at| auth.check(&signed("AK", "SK", at, &[]), at);
    let bad = |at| auth.check(&signed("AK", "WRONG", at, &[]), at);
    for _ in 0..FAILURES_ALLOWED {
        assert_eq!(bad(now()), Err(AuthFailure::BadSignature));
    }
    assert_eq!(good(now()), Ok(Scope::All), "five failures are allowed, and a success forgives them");
    for _ in 0..=FAILURES_ALLOWED {
        assert_eq!(bad(now()), Err(AuthFailure::BadSignature));
    }
    let last_moment = now() + SignedDuration::from_secs(299);
    assert_eq!(good(now()), Err(AuthFailure::Locked));
    assert_eq!(bad(last_moment), Err(AuthFailure::Locked));
    assert_eq!(good(last_moment), Err(AuthFailure::Locked));
    let after = now() + SignedDuration::from_secs(300);
    assert_eq!(bad(after), Err(AuthFailure::BadSignature), "the count restarts");
    assert_eq!(good(after), Ok(Scope::All));
}

#[test]
fn a_locked_key_does_not_lock_another_nor_the_tokens() {
    let auth = auth();
    for _ in 0..=FAILURES_ALLOWED {
        let _ = auth.check(&signed("AK", "WRONG", now(), &[]), now());
    }
    let other = signed("TEMPORARY", "SK", now(), &[(sign::X_SECURITY_TOKEN, "st")]);
    assert_eq!(auth.check(&other, now()), Ok(Scope::All));
    assert_eq!(auth.check(&request(&[(X_AUTH_TOKEN, "good-token")]), now()), Ok(Scope::All));
}

#[test]
fn a_token_made_here_is_good_for_its_project_until_it_expires() {
    let auth = auth();
    let scope = Scope::Project("p".into());
    let (token, IssuedToken { expires, .. }) =
        auth.issued.token(scope.clone(), serde_json::Value::Null, Duration::from_mins(1), now());
    let check = |at| auth.check(&request(&[(X_AUTH_TOKEN, &token)]), at);
    assert_eq!(check(expires - SignedDuration::from_secs(1)), Ok(scope));
    assert_eq!(check(expires), Err(AuthFailure::TokenExpired(expires)));
    let words = check(expires).unwrap_err().to_string();
    assert_eq!(words, "token expires, expires_at: 2026-03-01T12:01:00.000000Z");
    auth.issued.revoke(now());
    assert_eq!(check(now()), Err(AuthFailure::TokenRevoked));
}

#[test]
fn a_key_made_here_signs_until_it_expires_with_its_security_token_only() {
    let auth = auth();
    let (key, expires) = auth.issued.key(Duration::from_mins(1), now());
    let security_token = key.security_token.clone().unwrap();
    let check = |more: &[(&str, &str)], at| auth.check(&signed(&key.id, &key.secret, at, more), at);
    let with: &[(&str, &str)] = &[(sign::X_SECURITY_TOKEN, &security_token)];
    assert_eq!(check(with, now()), Ok(Scope::All));
    assert_eq!(check(&[], now()), Err(AuthFailure::BadSignature));
    assert_eq!(check(with, expires), Err(AuthFailure::UnknownKey(key.id.clone())));
}
