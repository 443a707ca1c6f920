//! T14: a page of records is read as a whole or not at all, always leads on, and shows no secret.
#![cfg_attr(feature = "search", no_main)]

use functiongraph::Credential;
use functiongraph_fuzz::{CANARY, Exchange, assert_fit_to_be_shown, assert_is_id, fuzz_target};
use serde_json::Value;

// First line: the marker that the page was asked for with, or nothing.
fuzz_target!(|input: &[u8]| {
    let exchange = Exchange::read(input);
    let marker = exchange.words.first().map(String::as_str);
    let credential = Credential::token(CANARY).expect("it can stand in a header");
    let Some(page) = exchange.raw.page(marker, &credential) else { return };

    assert!(page.next_marker.is_none() || page.next_marker.as_deref() != marker, "no page leads to itself");
    for record in &page.records {
        assert_is_id(&record.request_id);
        if let Some(code) = &record.error_code {
            assert_is_id(code);
        }
        if let Some(message) = &record.error_message {
            assert_fit_to_be_shown(message, 1024);
        }
    }
    assert!(!format!("{:?}", page.records).contains(CANARY));
    let body: Value = serde_json::from_slice(&exchange.raw.body).expect("a page is JSON");
    let sent = body["invocations"].as_array().map_or(0, Vec::len);
    assert_eq!(page.records.len(), sent, "a page that lost a record would say that a request is not there");
});
