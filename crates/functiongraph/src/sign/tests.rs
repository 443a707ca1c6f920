//! Cases beyond the published vectors (`tests/signing_vectors.rs`).

use proptest::prelude::*;

use super::*;

#[test]
fn a_date_is_written_in_utc_without_separators() {
    let time: Timestamp = "2024-01-02T03:04:05.999Z".parse().unwrap();
    assert_eq!(format_date(time), "20240102T030405Z");
    assert_eq!(parse_date("20240102T030405Z"), Some("2024-01-02T03:04:05Z".parse().unwrap()));
}

#[test]
fn a_date_of_another_form_is_not_a_date() {
    for text in [
        "",
        "2024-01-02T03:04:05Z",
        "20240102T030405",
        "20240102T030405Zx",
        " 20240102T030405Z",
        "20240102T03040Z",
        "20241302T030405Z",
        "20240102t030405z",
        "+0240102T030405Z",
        "20240102T240000Z",
    ] {
        assert_eq!(parse_date(text), None, "{text}");
    }
}

#[test]
fn an_authorization_is_read_back() {
    let request = SignedRequest {
        method: "POST",
        path: "/p",
        query: &[],
        headers: &[("X-Sdk-Date", "20240102T030405Z"), ("Host", "h")],
        body: b"{}",
    };
    let read = parse_authorization(&request.authorization("AK", "SK", "20240102T030405Z")).unwrap();
    assert_eq!(read.access_key, "AK");
    assert_eq!(read.signed_headers, ["host", "x-sdk-date"]);
    assert_eq!(read.signature, request.signature("SK", "20240102T030405Z"));
}

#[test]
fn an_authorization_with_a_part_missing_doubled_or_unknown_is_none() {
    for value in [
        "",
        "SDK-HMAC-SHA256",
        "SDK-HMAC-SHA256 ",
        "SDK-HMAC-SHA256 Access=a, SignedHeaders=host",
        "SDK-HMAC-SHA256 Access=a, Access=b, SignedHeaders=host, Signature=c",
        "SDK-HMAC-SHA256 Access=, SignedHeaders=host, Signature=c",
        "SDK-HMAC-SHA256 Access=a, SignedHeaders=host, Signature=c, More=d",
        "SDK-HMAC-SHA256X Access=a, SignedHeaders=host, Signature=c",
        "V11-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=c",
        "Bearer token",
    ] {
        assert_eq!(parse_authorization(value), None, "{value}");
    }
    assert!(parse_authorization("SDK-HMAC-SHA256 Access=a,SignedHeaders=host,Signature=c").is_some());
}

#[test]
fn a_declared_payload_hash_counts_only_for_a_body() {
    let declared = &[("x-sdk-content-sha256", UNSIGNED_PAYLOAD)];
    let with = SignedRequest { method: "POST", path: "/", query: &[], headers: declared, body: b"x" };
    let without = SignedRequest { body: b"", ..with };
    assert!(with.canonical_request().ends_with("\nUNSIGNED-PAYLOAD"));
    assert!(without.canonical_request().ends_with("7852b855"));
}

proptest! {
    #[test]
    fn a_raw_and_an_encoded_path_sign_alike(segments in prop::collection::vec("[^/%]{0,12}", 1..5)) {
        let raw = format!("/{}", segments.join("/"));
        let encoded: Vec<_> = segments.iter().map(|segment| percent::encode(segment)).collect();
        let encoded = format!("/{}", encoded.join("/"));
        let of = |path| SignedRequest { method: "POST", path, query: &[], headers: &[], body: b"" }.canonical_request();
        prop_assert_eq!(of(&raw), of(&encoded));
    }

    #[test]
    fn the_order_of_headers_and_query_does_not_matter(
        mut query in prop::collection::vec((any::<String>(), any::<String>()), 0..5),
        mut headers in prop::collection::hash_map("[a-z-]{1,9}", "[ -~]{0,9}", 0..5)
            .prop_map(|map| map.into_iter().collect::<Vec<_>>()),
    ) {
        fn canonical(query: &[(String, String)], headers: &[(String, String)]) -> String {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            SignedRequest { method: "GET", path: "/", query, headers: &headers, body: b"" }.canonical_request()
        }
        let before = canonical(&query, &headers);
        query.reverse();
        headers.reverse();
        prop_assert_eq!(before, canonical(&query, &headers));
    }

    #[test]
    fn a_written_date_is_read_back(second in -62_135_596_800_i64..253_402_207_200) {
        let time = Timestamp::from_second(second).unwrap();
        prop_assert_eq!(parse_date(&format_date(time)), Some(time));
    }
}
