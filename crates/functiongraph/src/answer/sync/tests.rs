//! Results in every form: bare, in an envelope, cut at every position, failed, and with secrets in them.

use http::{HeaderMap, HeaderName};
use proptest::prelude::*;

use super::*;
use crate::answer::{Answer, Verdict};
use crate::credentials::CredentialKind;
use crate::invocation::Kind;
use crate::text::{WITHHELD, is_id};

const SYNC: Kind = Kind::Sync { log_tail: true };

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
}

fn answer(protocol: Protocol, pairs: &[(&'static str, &str)], body: &str) -> Answer {
    Answer::from_parts(SYNC, protocol, 200, &headers(pairs), body.as_bytes())
}

fn result(protocol: Protocol, pairs: &[(&'static str, &str)], body: &str) -> SyncResult {
    answer(protocol, pairs, body).sync.unwrap()
}

fn body(protocol: Protocol, pairs: &[(&'static str, &str)], text: &str) -> String {
    result(protocol, pairs, text).body.into()
}

const ENVELOPE: &str =
    r#"{"request_id":"id-1","result":"{\"message\":\"Hello\"}","log":"a\nb","status":200}"#;

#[test]
fn an_envelope_is_opened() {
    for pairs in [&[("x-cff-response-version", "v1")][..], &[]] {
        let read = answer(Protocol::V2, pairs, ENVELOPE);
        assert_eq!(read.request_id.as_deref(), Some("id-1"));
        assert_eq!(read.verdict(SYNC, CredentialKind::Token), Verdict::Accepted);
        let result = read.sync.unwrap();
        assert_eq!(&*result.body, r#"{"message":"Hello"}"#);
        assert_eq!(result.log.as_deref(), Some("a\nb"));
        assert_eq!((result.function_error, result.truncated), (None, false));
    }
}

#[test]
fn a_bare_result_stays_as_it_is() {
    for (protocol, version) in [(Protocol::V2, Some("v0")), (Protocol::V1, None), (Protocol::V1, Some("v0"))]
    {
        let pairs: Vec<_> = version.map(|version| ("x-cff-response-version", version)).into_iter().collect();
        for text in [ENVELOPE, r#"{"message": "Hello World"}"#, "\"text\"", "plain\n", "", "null"] {
            assert_eq!(body(protocol, &pairs, text), text, "{protocol:?}");
        }
    }
    for alike in [
        r#"{"result":"r"}"#,
        r#"{"result":"r","status":"fine"}"#,
        r#"{"result":"r","status":200,"more":1}"#,
        r#"[{"result":"r","status":200}]"#,
        r#"{"status":200,"request_id":"r"}"#,
    ] {
        assert_eq!(body(Protocol::V2, &[], alike), alike);
    }
    for none in ["no envelope", r#"{"a":1}"#, "[]", r#"{"request_id":"id-1"}"#] {
        assert_eq!(body(Protocol::V2, &[("x-cff-response-version", "v1")], none), none);
    }
}

#[test]
fn a_result_of_a_function_is_not_read_as_a_message_of_the_service() {
    let returned = r#"{"request_id":"mine","error_code":"FSS.1","error_msg":"m","instance_id":"i"}"#;
    let read = answer(Protocol::V1, &[("x-cff-request-id", "id-1")], returned);
    assert_eq!(read.request_id.as_deref(), Some("id-1"));
    assert_eq!((read.error_code, read.error_message, read.instance_id), (None, None, None));
}

#[test]
fn a_result_that_looks_like_an_envelope_of_another_invocation_is_not_opened() {
    let returned = r#"{"request_id":"mine","result":"r","status":500}"#;
    let read = answer(Protocol::V2, &[("x-cff-request-id", "id-1")], returned);
    assert_eq!(read.request_id.as_deref(), Some("id-1"));
    let result = read.sync.unwrap();
    assert_eq!((&*result.body, result.function_error), (returned, None));
    assert_eq!(body(Protocol::V2, &[("x-cff-request-id", "mine")], returned), "r");
}

#[test]
fn a_result_of_another_type_is_written_as_json() {
    for (value, text) in
        [("null", ""), ("7", "7"), (r#"{"a":[1,"b"]}"#, r#"{"a":[1,"b"]}"#), ("\"\"", ""), ("\"ü\"", "ü")]
    {
        let envelope = format!(r#"{{"result":{value},"status":200}}"#);
        assert_eq!(body(Protocol::V2, &[("x-cff-response-version", "v1")], &envelope), text);
    }
}

#[test]
fn an_error_of_the_function_is_found_in_headers_and_envelope() {
    let status = |status: &str| format!(r#"{{"request_id":"i","result":"r","status":{status}}}"#);
    let v1 = ("x-cff-response-version", "v1");
    for (pairs, body, code) in [
        (vec![], status("200"), None),
        (vec![("x-func-err-code", "0"), ("x-is-func-err", "false")], status("200"), None),
        (vec![("x-func-err-code", " 00 ")], status("200"), None),
        (vec![("x-func-err-code", "")], status("200"), None),
        (vec![("x-is-func-err", "true")], status("200"), Some("unknown")),
        (vec![("x-is-func-err", "TRUE"), ("x-func-err-code", "0")], status("200"), Some("unknown")),
        (vec![("x-is-func-err", "true"), ("x-func-err-code", "4002")], status("500"), Some("4002")),
        (vec![("x-func-err-code", "4208"), ("x-is-func-err", "false")], status("200"), Some("4208")),
        (vec![("x-func-err-code", "FSS.4005")], status("200"), Some("FSS.4005")),
        (vec![("x-func-err-code", "an odd code")], status("200"), Some("unknown")),
        (vec![], status("500"), Some("500")),
        (vec![], status("4010"), Some("4010")),
        (vec![v1], status("\"500\""), Some("500")),
        (vec![v1], status("\"200\""), None),
        (vec![v1], status("\"bad\""), None),
        (vec![v1], status("null"), None),
        (vec![v1, ("x-func-err-code", "0")], status("404"), Some("404")),
    ] {
        let read = answer(Protocol::V2, &pairs, &body);
        assert_eq!(read.verdict(SYNC, CredentialKind::AccessKey), Verdict::Accepted);
        assert_eq!(read.sync.unwrap().function_error.as_deref(), code, "{pairs:?} {body}");
    }
    assert_eq!(
        result(Protocol::V1, &[("x-func-err-code", "4002")], "x").function_error.as_deref(),
        Some("4002")
    );
}

#[test]
fn the_log_comes_from_the_header_or_else_from_the_envelope() {
    let log = |encoded: &str, envelope: &str| {
        result(Protocol::V2, &[("x-cff-function-log", encoded)], envelope)
            .log
            .map(String::from)
            .unwrap_or_default()
    };
    let of = |text: &[u8]| STANDARD.encode(text);
    assert_eq!(log(&of("one\ntwo ü".as_bytes()), ENVELOPE), "one\ntwo ü");
    assert_eq!(log("not base64!", ENVELOPE), "a\nb");
    assert_eq!(log("", ENVELOPE), "a\nb");
    assert_eq!(log("not base64!", "bare"), "");
    assert_eq!(log(&of(b"\xbc cut\x1b[1m\r\n\0"), "bare"), "\u{fffd} cut\\u001b[1m\r\n\\u0000");
    let end = log(&of("ä".repeat(5000).as_bytes()), "bare");
    assert_eq!(end, "ä".repeat(MAX_LOG));
    assert_eq!(result(Protocol::V2, &[], "bare").log, None);
}

#[test]
fn the_summary_is_read_as_far_as_it_is_numbers() {
    let summary = |text: &str| result(Protocol::V1, &[("x-cff-invoke-summary", text)], "").summary;
    let documented = r#"{"duration":1.913,"billingDuration":100,"memorySize":128,"memoryUsed":41.51171875,"funcDigest":"d"}"#;
    let all = Summary {
        duration_ms: Some(1.913),
        billing_duration_ms: Some(100.0),
        memory_size_mb: Some(128.0),
        memory_used_mb: Some(41.511_718_75),
    };
    assert_eq!(summary(documented), Some(all));
    let some = summary(r#"{"duration":"1","billingDuration":-1,"memorySize":null,"memoryUsed":0}"#);
    assert_eq!(some, Some(Summary { memory_used_mb: Some(0.0), ..Summary::default() }));
    for garbage in ["", "{", "[]", "7", "{\"duration\":1e999}"] {
        assert_eq!(summary(garbage), None, "{garbage}");
    }
}

#[test]
fn a_long_result_is_cut_and_says_so() {
    let long = result(Protocol::V1, &[], &"x".repeat(MAX_RESULT + 1));
    assert_eq!((long.body.len(), long.truncated), (MAX_KEPT, true));
    let full = result(Protocol::V1, &[], &"x".repeat(MAX_KEPT));
    assert_eq!((full.body.len(), full.truncated), (MAX_KEPT, false));
    let enveloped = format!(r#"{{"request_id":"i","result":"{}","status":200}}"#, "x".repeat(MAX_RESULT));
    let read = answer(Protocol::V2, &[("x-cff-response-version", "v1")], &enveloped);
    assert_eq!(read.request_id.as_deref(), Some("i"));
    let result = read.sync.unwrap();
    assert!(result.truncated && result.body.bytes().all(|byte| byte == b'x'));
    assert_eq!(result.body.len(), MAX_KEPT);
}

#[test]
fn an_envelope_is_opened_wherever_it_is_cut_in_its_result() {
    let head = r#"{"request_id":"i","result":""#;
    let envelope = format!(r#"{head}a\n\"b\" \ud83d\ude00 ü \\ z"#);
    let whole = "a\n\"b\" 😀 ü \\ z";
    let headers = headers(&[("x-cff-response-version", "v1")]);
    let mut longest = 0;
    for end in head.len()..=envelope.len() {
        let cut = &envelope.as_bytes()[..end];
        let read = Read::from_parts(Protocol::V2, &headers, cut, false, &Shown::default());
        assert_eq!(read.id.as_deref(), Some("i"));
        let text = &*read.result.body;
        assert!(whole.starts_with(text), "{text:?}");
        assert!(text.len() >= longest, "the text before the cut is kept: {text:?}");
        longest = text.len();
    }
    assert_eq!(longest, whole.len());
}

#[test]
fn t20_a_result_or_a_log_with_a_secret_is_withheld() {
    let shown = Shown::secrets([&"canary".into()]);
    let log = STANDARD.encode("log canary");
    let headers = headers(&[("x-cff-function-log", &log), ("x-func-err-code", "canary")]);
    let read = Read::from_parts(Protocol::V1, &headers, b"\xff canary", true, &shown);
    assert_eq!(&*read.result.body, WITHHELD);
    assert_eq!(read.result.log.as_deref(), Some(WITHHELD));
    assert_eq!(read.result.function_error.as_deref(), Some("unknown"));
    let others = Read::from_parts(Protocol::V1, &headers, b"\xff\0\r\n", true, &shown);
    assert_eq!(&*others.result.body, "\u{fffd}\\u0000\r\n");
}

#[test]
fn debug_shows_neither_result_nor_log() {
    let read = answer(Protocol::V2, &[], r#"{"result":"canary","status":200,"log":"canary"}"#);
    assert!(read.sync.as_ref().unwrap().log.is_some());
    let shown = format!("{read:?}");
    assert!(!shown.contains("canary") && shown.contains("body_bytes: 6"), "{shown}");
}

#[test]
fn only_a_200_has_a_result() {
    for status in [201, 202, 204, 302, 400, 429, 500] {
        let read = Answer::from_parts(SYNC, Protocol::V2, status, &HeaderMap::new(), ENVELOPE.as_bytes());
        assert_eq!(read.sync, None, "{status}");
    }
    for kind in [Kind::Async, Kind::Reserved] {
        assert_eq!(
            Answer::from_parts(kind, Protocol::V2, 200, &HeaderMap::new(), ENVELOPE.as_bytes()).sync,
            None
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(
        v1 in any::<bool>(),
        names in prop::collection::vec(prop::sample::select(vec![
            FUNCTION_LOG, INVOKE_SUMMARY, RESPONSE_VERSION, ERROR_CODE, IS_ERROR,
        ]), 0..6),
        values in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            Just(b"v1".to_vec()),
            Just(b"true".to_vec()),
        ], 6),
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..2048),
            r#"(\{|\}|\[|\]|"result"|"status"|"log"|"request_id"|:|,|"a\\n|"|200|null|\\u00){0,24}"#
                .prop_map(String::into_bytes),
        ],
        complete in any::<bool>(),
    ) {
        let headers = names.iter().zip(&values).filter_map(|(name, value)| {
            Some((HeaderName::from_static(name), http::HeaderValue::from_bytes(value).ok()?))
        }).collect();
        let protocol = if v1 { Protocol::V1 } else { Protocol::V2 };
        let Read { result, .. } = Read::from_parts(protocol, &headers, &body, complete, &Shown::default());
        prop_assert!(result.body.len() <= body.len().max(1) * 12);
        prop_assert!(result.function_error.as_deref().is_none_or(is_id));
        if let Some(log) = result.log {
            prop_assert!(log.chars().count() <= MAX_LOG);
            prop_assert!(!log.replace("\r\n", "").chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')));
        }
    }
}
