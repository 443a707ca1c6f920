//! T14: only a JSON object of a size that can be sent passes as an event, byte for byte; no reason quotes it.
#![cfg_attr(feature = "search", no_main)]

use functiongraph_fuzz::{CANARY, fuzz_target};
use functiongraph_operator::kubernetes::payload::{MAX_EVENT_BYTES, check};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let object = serde_json::from_slice::<Value>(bytes).map(|value| value.is_object());
    match check(bytes.to_vec(), "it") {
        Ok(event) => {
            assert_eq!(event.into_bytes(), bytes);
            assert!(bytes.len() <= MAX_EVENT_BYTES);
            // What goes deeper than a parser would follow is an event all the same.
            assert!(object.is_err() || matches!(object, Ok(true)), "not an object");
        }
        Err(why) => {
            assert!(bytes.len() > MAX_EVENT_BYTES || !matches!(object, Ok(true)), "refused an object: {why}");
            assert!(!why.contains(CANARY) && why.len() < 100, "{why}");
        }
    }
});
