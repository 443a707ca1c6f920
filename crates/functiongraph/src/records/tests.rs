//! The query as the official SDK sends it, and pages in every documented format.

use proptest::prelude::*;

use super::*;

const ID: &str = "1167bf8c-87b0-43ab-8f5f-26b16c64f252";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn read(body: &str) -> Option<Page> {
    Page::read(body.as_bytes(), None, &Shown::default())
}

fn record(fields: &str) -> Record {
    let page = read(&format!(r#"{{"invocations":[{{"request_id":"{ID}",{fields}}}]}}"#)).unwrap();
    page.records.into_iter().next().unwrap()
}

fn asked(query: &ListQuery) -> String {
    let urn = "urn:fss:eu-de:p1:function:default:f".parse().unwrap();
    let draft = query.draft(&urn);
    assert_eq!(draft.method, Method::GET);
    assert_eq!(
        draft.path,
        "/v2/p1/fgs/functions/urn%3Afss%3Aeu-de%3Ap1%3Afunction%3Adefault%3Af%3Alatest/async-invocations"
    );
    assert!(draft.body.is_empty());
    crate::sign::canonical_query(&draft.query)
}

#[test]
fn the_query_always_says_where_the_window_begins() {
    let query = ListQuery::since(at("2024-01-02T02:04:05.999Z"));
    assert_eq!(asked(&query), "limit=100&query_begin_time=2024-01-02T02%3A04%3A05");
}

#[test]
fn everything_that_can_be_asked_is_asked() {
    let query = ListQuery {
        begin: at("2024-01-02T03:04:05+01:00"),
        end: Some(at("2024-01-02T03:04:05Z")),
        request_id: Some(ID.to_owned()),
        status: Some(ExecutionStatus::Fail),
        limit: 10,
        marker: Some("0".to_owned()),
    };
    assert_eq!(
        asked(&query),
        "limit=10&marker=0&query_begin_time=2024-01-02T02%3A04%3A05&query_end_time=2024-01-02T03%3A04%3A05\
         &request_id=1167bf8c-87b0-43ab-8f5f-26b16c64f252&status=FAIL"
    );
    let other = ListQuery { status: Some(ExecutionStatus::Other), ..query.clone() };
    assert!(!asked(&other).contains("status"));
    let odd = ListQuery { request_id: Some("a&b=c d".to_owned()), ..query };
    assert!(asked(&odd).contains("request_id=a%26b%3Dc%20d&"));
}

#[test]
fn the_request_equals_the_one_of_the_official_sdk() {
    let vector = crate::request::tests::Vector::named("list_async_invocations_query");
    let query = ListQuery {
        begin: at("2024-01-02T02:04:05Z"),
        end: Some(at("2024-01-02T03:04:05Z")),
        request_id: Some(ID.to_owned()),
        status: Some(ExecutionStatus::Fail),
        limit: 10,
        marker: Some("0".to_owned()),
    };
    vector.check(query.draft(&vector.urn()));
}

#[test]
fn the_end_of_the_window_is_rounded_up() {
    for (end, text) in [
        ("2024-01-02T03:04:05Z", "2024-01-02T03%3A04%3A05"),
        ("2024-01-02T03:04:05.000000001Z", "2024-01-02T03%3A04%3A06"),
        ("2024-01-02T03:04:59.9Z", "2024-01-02T03%3A05%3A00"),
    ] {
        let query = ListQuery { end: Some(at(end)), ..ListQuery::since(at("2024-01-01T00:00:00Z")) };
        assert!(asked(&query).ends_with(&format!("query_end_time={text}")), "{end}");
    }
    let last = ListQuery { end: Some(Timestamp::MAX), ..ListQuery::since(Timestamp::MIN) };
    assert!(asked(&last).contains("query_end_time=9999"));
}

#[test]
fn the_limit_is_one_that_the_service_takes() {
    for (limit, text) in [(0, "1"), (1, "1"), (500, "500"), (501, "500"), (u16::MAX, "500")] {
        let query = ListQuery { limit, ..ListQuery::since(Timestamp::UNIX_EPOCH) };
        assert!(asked(&query).starts_with(&format!("limit={text}&")), "{limit}");
    }
}

#[test]
fn a_documented_page_is_read() {
    let page = read(
        r#"{"invocations":[
            {"request_id":"1167bf8c-87b0-43ab-8f5f-26b16c64f252","status":"FAIL","error_message":"function\u001b invocation\ncanceled",
             "error_code":4208,"start_time":"2024-01-02T03:04:05","end_time":"2024-01-02T03:04:06"},
            {"request_id":"52c78c04bd9943a6932b84b11c978a8a","status":"WAIT","error_message":"","error_code":0,"start_time":null}
        ],"count":250,"next_marker":2}"#,
    );
    let canceled = Record {
        request_id: ID.to_owned(),
        status: ExecutionStatus::Fail,
        error_code: Some("4208".to_owned()),
        error_message: Some(Clean::line("function invocation canceled")),
        start_time: Some(at("2024-01-02T03:04:05Z")),
        end_time: Some(at("2024-01-02T03:04:06Z")),
    };
    let waiting = Record {
        request_id: "52c78c04bd9943a6932b84b11c978a8a".to_owned(),
        status: ExecutionStatus::Wait,
        error_code: None,
        error_message: None,
        start_time: None,
        end_time: None,
    };
    assert_eq!(
        page,
        Some(Page { records: vec![canceled, waiting], next_marker: Some("2".to_owned()), date: None })
    );
}

#[test]
fn every_status_has_its_name_and_an_unknown_one_is_not_final() {
    use ExecutionStatus::{Discard, Fail, Other, Running, Success, Wait};
    for (name, status, is_final) in [
        ("WAIT", Wait, false),
        ("RUNNING", Running, false),
        ("SUCCESS", Success, true),
        ("FAIL", Fail, true),
        ("DISCARD", Discard, true),
        ("success", Success, true),
        ("PAUSED", Other, false),
        ("", Other, false),
    ] {
        let read = record(&format!(r#""status":"{name}""#)).status;
        assert_eq!((read, read.is_final()), (status, is_final), "{name}");
    }
    assert_eq!(record(r#""status":null"#).status, Other);
    assert_eq!(record(r#""error_code":0"#).status, Other);
}

#[test]
fn times_and_codes_are_read_in_every_spelling() {
    for time in
        ["2024-01-02T03:04:05", "2024-01-02 03:04:05", "2024-01-02T03:04:05Z", "2024-01-02T11:04:05+08:00"]
    {
        let read = record(&format!(r#""start_time":"{time}""#));
        assert_eq!(read.start_time, Some(at("2024-01-02T03:04:05Z")), "{time}");
    }
    for time in [r#""""#, r#""soon""#, "null", "17", r#""2024-13-02T03:04:05""#, "[]"] {
        assert_eq!(record(&format!(r#""end_time":{time}"#)).end_time, None, "{time}");
    }
    for (code, text) in [
        ("0", None),
        (r#""0""#, None),
        (r#""""#, None),
        ("null", None),
        ("4208", Some("4208")),
        (r#""4208""#, Some("4208")),
        (r#""FSS.4005""#, Some("FSS.4005")),
        (r#""a b""#, None),
    ] {
        assert_eq!(record(&format!(r#""error_code":{code}"#)).error_code.as_deref(), text, "{code}");
    }
}

#[test]
fn a_marker_may_be_a_number_or_a_string_and_the_last_page_has_none() {
    let next = |fields: &str| read(&format!(r#"{{"invocations":[]{fields}}}"#)).unwrap().next_marker;
    for last in
        ["", r#","next_marker":0"#, r#","next_marker":"0""#, r#","next_marker":"""#, r#","next_marker":null"#]
    {
        assert_eq!(next(last), None, "{last}");
    }
    assert_eq!(next(r#","next_marker":-1"#), None);
    assert_eq!(next(r#","next_marker":100,"count":7"#).as_deref(), Some("100"));
    assert_eq!(next(r#","next_marker":"100""#).as_deref(), Some("100"));
    assert_eq!(next(r#","next_marker":"abc/=""#).as_deref(), Some("abc/="));
}

#[test]
fn a_service_that_names_the_same_page_again_has_named_the_last_one() {
    let body = br#"{"invocations":[],"next_marker":100}"#;
    assert_eq!(Page::read(body, Some("100"), &Shown::default()).unwrap().next_marker, None);
    assert_eq!(Page::read(body, Some("50"), &Shown::default()).unwrap().next_marker.as_deref(), Some("100"));
}

#[test]
fn an_empty_page_is_a_page() {
    let empty = Page { records: Vec::new(), next_marker: None, date: None };
    for body in [r#"{"invocations":[]}"#, r#"{"invocations":null,"count":0}"#] {
        assert_eq!(read(body), Some(empty.clone()), "{body}");
    }
}

#[test]
fn a_page_that_cannot_be_read_completely_is_no_page() {
    let long = "x".repeat(65);
    for body in [
        "",
        "{}",
        "null",
        "[]",
        "<html>",
        r#"{"count":0}"#,
        r#"{"invocations":{}}"#,
        r#"{"invocations":[{"request_id":"a"},"#,
        r#"{"invocations":[{"request_id":"a"},7]}"#,
        r#"{"invocations":[{"request_id":"a"},{"status":"WAIT"}]}"#,
        r#"{"invocations":[{"request_id":"a b"}]}"#,
        &format!(r#"{{"invocations":[{{"request_id":"{long}"}}]}}"#),
    ] {
        assert_eq!(read(body), None, "{body}");
    }
}

#[test]
fn t20_a_record_with_a_secret_is_withheld() {
    let shown = Shown::secrets([&"canary".into()]);
    let body =
        br#"{"invocations":[{"request_id":"a","error_code":"canary","error_message":"is \u0063anary"}]}"#;
    let page = Page::read(body, None, &shown).unwrap();
    assert_eq!(page.records[0].error_code, None);
    assert_eq!(page.records[0].error_message.as_deref(), Some(crate::text::WITHHELD));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = Page::read(&body, None, &Shown::default());
    }

    #[test]
    fn no_json_makes_the_reader_panic(
        fields in r#"(\{|\}|\[|\]|"request_id":"a"|"status":"WAIT"|"start_time":"2024-01-02T03:04:05"|"error_code":|:|,|9e9|-7|null){0,16}"#,
        marker in r#"(null|-?[0-9]{0,24}|"-?[0-9]{0,24}"|"[a-z]*"|\[\])"#,
    ) {
        let body = format!(r#"{{"invocations":[{{{fields}}}],"next_marker":{marker}}}"#);
        if let Some(page) = read(&body) {
            prop_assert!(page.next_marker.is_none_or(|next| !next.is_empty() && next != "0"));
        }
    }

    #[test]
    fn whatever_time_is_asked_for_has_the_one_form(seconds in any::<i32>(), nanos in 0..1_000_000_000_i32) {
        let time = Timestamp::new(seconds.into(), nanos).unwrap();
        let query = ListQuery { end: Some(time), ..ListQuery::since(time) };
        let asked = asked(&query);
        let times: Vec<_> = asked.split('&').filter(|pair| pair.contains("_time=")).collect();
        prop_assert_eq!(times.len(), 2);
        for pair in times {
            prop_assert!(pair.split('=').nth(1).unwrap().len() == "2024-01-02T03%3A04%3A05".len(), "{}", pair);
        }
    }
}
