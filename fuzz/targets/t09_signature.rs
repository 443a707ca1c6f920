//! T9: one request has one signature, in whatever order and spelling it is given, and another request has another.
#![cfg_attr(feature = "search", no_main)]

use functiongraph::sign::{self, SignedRequest};
use functiongraph_fuzz::{Exchange, fuzz_target};

const DATE: &str = "20240102T030405Z";

// First line: path and query, as `path key=value key=value`; then headers, an empty line and a body.
fuzz_target!(|input: &[u8]| {
    let Exchange { words, raw } = Exchange::read(input);
    let path = words.first().map_or("/", String::as_str);
    let query: Vec<(String, String)> = words
        .iter()
        .skip(1)
        .map(|word| word.split_once('=').unwrap_or((word, "")))
        .map(|(key, value)| (decoded(key), decoded(value)))
        .collect();
    let headers =
        || raw.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));

    let canonical = sign::canonical_query(&query);
    assert!(
        canonical.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~%=&".contains(&byte)),
        "{canonical}"
    );
    let mut expected = query.clone();
    expected.sort();
    let read: Vec<_> =
        canonical.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=')).collect();
    assert_eq!(read.len(), expected.len());
    for (pair, (key, value)) in read.into_iter().zip(&expected) {
        assert_eq!(
            pair.map(|(k, v)| (decoded(k), decoded(v))),
            Some((key.clone(), value.clone())),
            "sorted, complete"
        );
    }

    let in_order: Vec<_> = headers().collect();
    let request = SignedRequest { method: "POST", path, query: &query, headers: &in_order, body: &raw.body };
    let text = request.canonical_request();
    assert_eq!(text.split('\n').count(), 6 + in_order.len(), "no part can bring a line of its own: {text:?}");
    let signature = request.signature("secret", DATE);
    assert!(signature.len() == 64 && signature.bytes().all(|byte| byte.is_ascii_hexdigit()));

    // Nothing is signed without a header: every request has a host.
    if !in_order.is_empty() {
        let read = sign::parse_authorization(&request.authorization("key", "secret", DATE));
        assert_eq!(
            read.map(|read| (read.access_key, read.signature)),
            Some(("key".into(), signature.clone()))
        );
    }

    let capitals: Vec<_> = headers().map(|(name, value)| (name.to_ascii_uppercase(), value)).collect();
    let shuffled: Vec<_> = capitals.iter().rev().map(|(name, value)| (name.as_str(), *value)).collect();
    let spelled = text.lines().nth(1).unwrap_or_default().to_owned();
    let mut other = query.clone();
    other.reverse();
    let same = SignedRequest { path: &spelled, query: &other, headers: &shuffled, ..request };
    assert_eq!(same.signature("secret", DATE), signature, "order and spelling do not count");

    let mut more = query.clone();
    more.push(("a-key-more".into(), String::new()));
    assert_ne!(SignedRequest { query: &more, ..request }.signature("secret", DATE), signature);
    assert_ne!(request.signature("another secret", DATE), signature);

    let time = words.iter().find_map(|word| sign::parse_date(word));
    if let Some(time) = time {
        assert_eq!(sign::parse_date(&sign::format_date(time)), Some(time));
    }
    let _ = sign::parse_authorization(&String::from_utf8_lossy(&raw.body));
});

/// As a form is decoded, so that inputs can hold spaces and line breaks.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        let hex = hex.filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) if byte == b'%' => {
                out.push(value);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
