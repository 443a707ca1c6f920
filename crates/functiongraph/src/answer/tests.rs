//! Every known form of an answer, every row of the classification, and random bytes.

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::credentials::CredentialKind::{AccessKey, Token};
use crate::text::{MAX_MESSAGE, WITHHELD, is_id};

mod credentials;
mod echoes;

const ID: &str = "1167bf8c-87b0-43ab-8f5f-26b16c64f252";

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
}

fn answer(status: u16, body: &str) -> Answer {
    from_parts(status, &HeaderMap::new(), body.as_bytes())
}

fn from_parts(status: u16, headers: &HeaderMap, body: &[u8]) -> Answer {
    Answer::from_parts(Kind::Async, Protocol::V2, status, headers, body)
}

#[test]
fn the_id_is_found_in_every_spelling() {
    for name in ["request_id", "request-id", "requestId"] {
        let read = answer(202, &format!(r#"{{"{name}":"{ID}"}}"#));
        assert_eq!(read.request_id.as_deref(), Some(ID), "{name}");
    }
    let all = format!(r#"{{"requestId":"c","request-id":"b","request_id":"{ID}"}}"#);
    assert_eq!(answer(202, &all).request_id.as_deref(), Some(ID));
    let first_is_odd = format!(r#"{{"request_id":"","request-id":null,"requestId":"{ID}"}}"#);
    assert_eq!(answer(202, &first_is_odd).request_id.as_deref(), Some(ID));
    let doubled = format!(r#"{{"request_id":"{ID}","request_id":"{ID}"}}"#);
    assert_eq!(answer(202, &doubled).request_id.as_deref(), Some(ID));
}

#[test]
fn the_header_replaces_a_missing_id_and_the_gateways_id_does_not() {
    let headers = headers(&[("x-cff-request-id", "from-header"), ("x-request-id", "gateway")]);
    for body in ["", "{}", "null", "[]", "<html>", r#"{"request_id":17.5e300}"#, r#"{"request_id":"a b"}"#] {
        let read = from_parts(202, &headers, body.as_bytes());
        assert_eq!(read.request_id.as_deref(), Some("from-header"), "{body}");
        assert_eq!(read.gateway_request_id.as_deref(), Some("gateway"), "{body}");
        assert_eq!(read.verdict(Kind::Async, Token), Verdict::Accepted);
    }
    let body = format!(r#"{{"request_id":"{ID}"}}"#);
    assert_eq!(from_parts(202, &headers, body.as_bytes()).request_id.as_deref(), Some(ID));
    assert_eq!(answer(202, "").request_id, None);
}

#[test]
fn a_malformed_id_is_left_out() {
    let long = "x".repeat(65);
    for odd in [long.as_str(), "", "a b", "a/b", "a\\u0000b", "ä", "a\\nb", "<script>"] {
        assert_eq!(answer(202, &format!(r#"{{"request_id":"{odd}"}}"#)).request_id, None, "{odd}");
    }
    assert_eq!(answer(202, r#"{"request_id":{"a":1}}"#).request_id, None);
    assert!(answer(202, &format!(r#"{{"request_id":"{}"}}"#, "x".repeat(64))).request_id.is_some());
    assert!(answer(202, r#"{"request_id":"52c78c04bd9943a6932b84b11c978a8a"}"#).request_id.is_some());
}

#[test]
fn the_id_in_a_failure_is_the_gateways() {
    let read = answer(429, r#"{"error_msg":"m","error_code":"APIG.0308","request_id":"abc"}"#);
    assert_eq!((read.request_id.as_deref(), read.gateway_request_id.as_deref()), (None, Some("abc")));
    let headers = headers(&[("x-cff-request-id", "invocation"), ("x-request-id", "header")]);
    let read = from_parts(500, &headers, br#"{"request_id":"abc"}"#);
    assert_eq!(read.request_id.as_deref(), Some("invocation"));
    assert_eq!(read.gateway_request_id.as_deref(), Some("header"));
}

#[test]
fn every_shape_of_an_error_is_read() {
    for (body, code, message) in [
        (
            r#"{"error_code":"FSS.1051","error_msg":"Not found the function"}"#,
            Some("FSS.1051"),
            "Not found the function",
        ),
        (r#"{"error_msg":"no","error_code":"APIG.0301","request_id":"r"}"#, Some("APIG.0301"), "no"),
        (r#"{"error":{"code":401,"message":"wrong.","title":"Unauthorized"}}"#, Some("401"), "wrong."),
        (r#"{"errorCode":"X.1","errorMsg":"m"}"#, Some("X.1"), "m"),
        (r#"{"code":"X.1","message":"m"}"#, Some("X.1"), "m"),
        (
            r#"{"a":{"error_code":"X.1","error_msg":"m"}}"#,
            None,
            r#"{"a":{"error_code":"X.1","error_msg":"m"}}"#,
        ),
        (
            r#"{"error":{"error":{"code":1,"message":"m"}}}"#,
            None,
            r#"{"error":{"error":{"code":1,"message":"m"}}}"#,
        ),
        (r#"{"error_msg":"outer","error":{"code":"X.1","message":"m"}}"#, None, "outer"),
        (
            r#"{"error_code":"FSS.0400","details":[{"error_msg":"inner"}],"error_msg":"outer"}"#,
            Some("FSS.0400"),
            "outer",
        ),
        (r#"{"error_code":null,"error_msg":"m"}"#, None, "m"),
        ("<html>\r\n<b>502 Bad\tGateway</b></html>", None, "<html> <b>502 Bad Gateway</b></html>"),
        ("upstream timed out", None, "upstream timed out"),
        (r#"{"unknown":"shape"}"#, None, r#"{"unknown":"shape"}"#),
        (
            r#"{"error_code":"FSS.0404","error_msg":"cut of"#,
            None,
            r#"{"error_code":"FSS.0404","error_msg":"cut of"#,
        ),
    ] {
        let read = answer(500, body);
        assert_eq!(
            (read.error_code.as_deref(), read.error_message.as_deref()),
            (code, Some(message)),
            "{body}"
        );
    }
    assert_eq!(answer(500, "").error_message, None);
    assert_eq!(answer(500, r#"{"error_code":"FSS.0500"}"#).error_message, None);
    assert_eq!(answer(500, r#"{"error_code":"bad code","error_msg":"m"}"#).error_code, None);
}

#[test]
fn the_body_of_a_success_is_not_an_error_message() {
    assert_eq!(answer(200, "the function's result").error_message, None);
    assert_eq!(answer(202, "{}").error_message, None);
}

#[test]
fn a_message_is_cleaned_and_cut() {
    let read = answer(400, r#"{"error_msg":"a\u001b[31m\r\nb\u202e"}"#);
    assert_eq!(read.error_message.as_deref(), Some("a [31m b"));
    let read = answer(400, &format!(r#"{{"error_msg":"{}"}}"#, "ü".repeat(2000)));
    assert_eq!(read.error_message.map(|message| message.chars().count()), Some(1024));
}

#[test]
fn t20_a_secret_longer_than_a_message_is_found_before_it_is_cut() {
    let secret = "s3cr3t".repeat(300);
    let seen = Seen {
        status: 400,
        headers: headers(&[("x-request-id", "s3cr3ts3cr3t")]),
        body: format!("you sent {secret}").as_bytes().into(),
        complete: true,
    };
    let read = Answer::read(Form::Notice, &seen, &Shown::secrets([&secret.into()]));
    assert_eq!(read.error_message.as_deref(), Some(WITHHELD));
    assert_eq!(read.gateway_request_id, None);
}

#[test]
fn deep_and_huge_bodies_are_text() {
    let deep = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    assert_eq!(answer(500, &deep).error_code, None);
    let within_the_parsers_limit =
        format!(r#"{}{{"error_code":"X.1"}}{}"#, r#"{"a":"#.repeat(100), "}".repeat(100));
    assert_eq!(answer(500, &within_the_parsers_limit).error_code, None);
    let huge = format!(r#"{{"error_code":"X.1","pad":"{}"}}"#, "x".repeat(MAX_BODY));
    assert_eq!(answer(500, &huge).error_code, None);
}

/// Status, body, and the verdict with an access key and with a token.
type Row = (u16, &'static str, Verdict, Verdict);

#[test]
fn every_row_of_the_classification_holds() {
    use Verdict::{
        Accepted, Ambiguous, FunctionDisabled, Redirected, Refused, Throttled, Unauthenticated, Unavailable,
    };
    const BUSY: &str = r#"{"error_code":"FSS.0429","error_msg":"Too many requests."}"#;
    const DISABLED: &str = r#"{"error_code":"FSS.0429","error_msg":"Function Disabled"}"#;
    const SHOUTED: &str = r#"{"error_code":"FSS.0429","error_msg":"FUNCTION DISABLED"}"#;
    const APIG_LIMIT: &str =
        r#"{"error_code":"APIG.0308","error_msg":"The throttling threshold has been reached"}"#;
    const APIGW_LIMIT: &str = r#"{"error_code":"APIGW.0308","error_msg":"limit; disabled"}"#;
    const INVALID_TOKEN: &str = r#"{"error_code":"FSS.0403","error_msg":"Invalid Token"}"#;
    const FORBIDDEN: &str = r#"{"error_code":"FSS.0403","error_msg":"Forbidden"}"#;
    const LOCKED: &str =
        r#"{"error_code":"FSS.0403","error_msg":"AK access failed to reach the limit,forbidden"}"#;
    const BAD_SIGNATURE: &str = r#"{"error_code":"APIG.0301","error_msg":"verify aksk signature fail"}"#;
    const RENEW: &str = r#"{"error_code":"APIGW.0307","error_msg":"The token must be updated"}"#;
    const IAM_DOWN: &str = r#"{"error_code":"APIG.0613","error_msg":"IAM unavailable"}"#;
    const NOT_FOUND: &str = r#"{"error_code":"FSS.1051","error_msg":"Not found the function"}"#;
    let both = |status, body, verdict| -> Row { (status, body, verdict, verdict) };
    let service = Unavailable { by_the_service: true };
    let somebody = Unavailable { by_the_service: false };
    let mut rows = vec![
        both(202, r#"{"request_id":"a"}"#, Accepted),
        both(202, "", Accepted),
        both(202, r#"{"request_id":"cut"#, Accepted),
        both(202, APIG_LIMIT, Accepted),
        both(429, BUSY, Throttled),
        both(429, "", Throttled),
        both(429, "<html>", Throttled),
        both(429, DISABLED, FunctionDisabled),
        both(429, SHOUTED, FunctionDisabled),
        both(429, "Function Disabled", Throttled),
        both(429, APIG_LIMIT, Throttled),
        both(429, APIGW_LIMIT, Throttled),
        both(403, APIGW_LIMIT, Throttled),
        both(408, APIG_LIMIT, Ambiguous),
        both(500, APIG_LIMIT, Ambiguous),
        both(502, APIG_LIMIT, Ambiguous),
        both(504, APIG_LIMIT, Ambiguous),
        both(503, APIG_LIMIT, service),
        both(503, r#"{"error_code":"FSS.0503","error_msg":"Service unavailable."}"#, service),
        both(503, IAM_DOWN, service),
        both(503, r#"{"error_code":"XAPIG.1","error_msg":"m"}"#, somebody),
        both(503, "<html>", somebody),
        both(503, "", somebody),
        both(401, r#"{"error_code":"FSS.0401","error_msg":"invalid token"}"#, Unauthenticated),
        both(401, "", Unauthenticated),
        both(401, BAD_SIGNATURE, Unauthenticated),
        both(403, BAD_SIGNATURE, Unauthenticated),
        both(403, RENEW, Unauthenticated),
        both(404, RENEW, Refused),
        (403, INVALID_TOKEN, Refused, Unauthenticated),
        (400, INVALID_TOKEN, Refused, Refused),
        (403, LOCKED, Unauthenticated, Refused),
        both(401, LOCKED, Unauthenticated),
        both(403, FORBIDDEN, Refused),
        both(403, r#"{"error_code":"APIG.0302","error_msg":"not authorised"}"#, Refused),
        both(404, NOT_FOUND, Refused),
        both(404, r#"{"error_code":"APIG.0101","error_msg":"API not found"}"#, Refused),
        both(500, r#"{"error_code":"FSS.0500","error_msg":"Error getting associated function"}"#, Ambiguous),
        both(504, r#"{"error_code":"APIG.0203","error_msg":"Backend timeout"}"#, Ambiguous),
    ];
    let plain = |statuses: &[u16], verdict| {
        statuses.iter().map(|status| both(*status, "", verdict)).collect::<Vec<_>>()
    };
    rows.extend(plain(
        &[400, 402, 403, 404, 405, 406, 409, 410, 413, 414, 418, 424, 426, 428, 431, 451, 494],
        Refused,
    ));
    rows.extend(plain(&[300, 301, 302, 303, 304, 307, 308, 399], Redirected));
    rows.extend(plain(&[100, 101, 199, 200, 201, 203, 204, 206, 299], Ambiguous));
    rows.extend(plain(&[408, 500, 501, 502, 504, 505, 507, 511, 599, 600, 0, 999, u16::MAX], Ambiguous));
    for (status, body, with_key, with_token) in rows {
        let read = answer(status, body);
        assert_eq!(read.verdict(Kind::Async, AccessKey), with_key, "{status} {body}");
        assert_eq!(read.verdict(Kind::Async, Token), with_token, "{status} {body}");
    }
}

#[test]
fn every_kind_has_one_status_that_means_success() {
    let sync = Kind::Sync { log_tail: false };
    for (kind, expected) in [(Kind::Async, 202), (Kind::Reserved, 202), (sync, 200)] {
        for status in 200..300 {
            let read = Answer::from_parts(kind, Protocol::V1, status, &HeaderMap::new(), b"{}");
            let verdict = if status == expected { Verdict::Accepted } else { Verdict::Ambiguous };
            assert_eq!(read.verdict(kind, Token), verdict, "{kind:?} {status}");
            assert!(read.is_success());
            assert_eq!(read.verdict_of_call(Token), Verdict::Accepted);
        }
        for (status, verdict) in
            [(429, Verdict::Throttled), (404, Verdict::Refused), (500, Verdict::Ambiguous)]
        {
            let read = Answer::from_parts(kind, Protocol::V1, status, &HeaderMap::new(), b"{}");
            assert_eq!(read.verdict(kind, Token), verdict);
            assert_eq!(read.verdict_of_call(Token), verdict);
            assert!(!read.is_success());
        }
    }
}

#[test]
fn a_reserved_invocation_answers_with_an_instance() {
    for name in ["instance_id", "instance-id", "instanceId"] {
        let read = answer(202, &format!(r#"{{"{name}":"{ID}"}}"#));
        assert_eq!((read.instance_id.as_deref(), read.request_id), (Some(ID), None), "{name}");
    }
    let both = answer(202, r#"{"instance_id":"i","request_id":"r"}"#);
    assert_eq!((both.instance_id.as_deref(), both.request_id.as_deref()), (Some("i"), Some("r")));
    assert_eq!(answer(202, r#"{"instance_id":"a b"}"#).instance_id, None);
    assert_eq!(answer(404, r#"{"instance_id":"i"}"#).instance_id, None);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(
        status in any::<u16>(),
        names in prop::collection::vec(prop::sample::select(vec!["x-cff-request-id", "x-request-id", "retry-after", "date"]), 0..4),
        values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 4),
        body in prop::collection::vec(any::<u8>(), 0..4096),
    ) {
        let headers = names.iter().zip(&values).filter_map(|(name, value)| {
            Some((HeaderName::from_static(name), HeaderValue::from_bytes(value).ok()?))
        });
        let read = from_parts(status, &headers.collect(), &body);
        let _ = read.verdict(Kind::Async, AccessKey);
        prop_assert_eq!(read.status, status);
        for id in [&read.request_id, &read.gateway_request_id, &read.error_code].into_iter().flatten() {
            prop_assert!(is_id(id));
        }
        if let Some(message) = read.error_message {
            prop_assert!(message.chars().count() <= MAX_MESSAGE && !message.chars().any(char::is_control));
        }
    }

    #[test]
    fn no_json_makes_the_reader_panic(body in r#"(\{|\}|\[|\]|"error_code"|"error_msg"|"request_id"|"error"|:|,|"FSS.1"|1|null|\\u00){0,24}"#) {
        let _ = answer(500, &body).verdict(Kind::Async, Token);
    }

    #[test]
    fn the_status_202_is_accepted_whatever_else_arrives(body in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert_eq!(from_parts(202, &HeaderMap::new(), &body).verdict(Kind::Async, Token), Verdict::Accepted);
    }
}
