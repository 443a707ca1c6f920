//! T14: whatever is answered to an invocation is read, means something, is never "refused" where it may have been
//! accepted, and shows no secret.
#![cfg_attr(feature = "search", no_main)]

use functiongraph::answer::MAX_KEPT;
use functiongraph::{Credential, CredentialKind, Kind, Protocol, Verdict};
use functiongraph_fuzz::{
    CANARY, Exchange, assert_fit_to_be_shown, assert_is_id, assert_obeyed_by_no_terminal, fuzz_target,
};
use serde_json::Value;

// First line: `Async`, `Reserved`, `Sync` or `SyncLog`; `V1` or `V2`; the status; `cut`.
fuzz_target!(|input: &[u8]| {
    let exchange = Exchange::read(input);
    let kind = match () {
        () if exchange.says("Reserved") => Kind::Reserved,
        () if exchange.says("Sync") => Kind::Sync { log_tail: false },
        () if exchange.says("SyncLog") => Kind::Sync { log_tail: true },
        () => Kind::Async,
    };
    let protocol = if exchange.says("V1") { Protocol::V1 } else { Protocol::V2 };
    let credential = Credential::token(CANARY).expect("it can stand in a header");
    let answer = exchange.raw.answer(kind, protocol, &credential);

    let status = exchange.raw.status;
    assert_eq!(answer.status, status);
    let ids = [&answer.request_id, &answer.instance_id, &answer.gateway_request_id, &answer.error_code];
    ids.into_iter().flatten().for_each(|id| assert_is_id(id));
    if let Some(message) = &answer.error_message {
        assert_fit_to_be_shown(message, 1024);
    }
    assert!(!format!("{answer:?}").contains(CANARY));
    assert_eq!(answer.sync.is_some(), matches!(kind, Kind::Sync { .. }) && status == 200);
    if let Some(sync) = &answer.sync {
        if let Some(code) = &sync.function_error {
            assert_is_id(code);
        }
        assert!(sync.body.len() <= MAX_KEPT, "{} bytes", sync.body.len());
        assert_obeyed_by_no_terminal(&sync.body);
        let log = sync.log.as_deref().unwrap_or_default();
        assert!(log.chars().count() <= 4096, "{log:?}");
        assert_obeyed_by_no_terminal(log);
        assert!(exchange.raw.complete || sync.truncated, "what was cut is said to be");
    }

    let expected = if matches!(kind, Kind::Sync { .. }) { 200 } else { 202 };
    let mut silent = exchange.raw.clone();
    silent.body = if may_say_something(&exchange.raw.body) { silent.body } else { Vec::new() };
    let silent = silent.answer(kind, protocol, &credential);
    for by in [CredentialKind::AccessKey, CredentialKind::Token] {
        let verdict = answer.verdict(kind, by);
        assert_eq!(verdict == Verdict::Accepted, status == expected, "{status} {verdict:?}");
        // Only these say that the event was not queued, whatever the body says; everything else may have been, and must
        // not be sent again.
        assert_eq!(
            !matches!(verdict, Verdict::Accepted | Verdict::Ambiguous),
            matches!(status, 300..=407 | 409..=499 | 503),
            "{status} {verdict:?}"
        );
        assert_eq!(verdict, silent.verdict(kind, by), "{status}: only the service's own words count");
        let call = answer.verdict_of_call(by);
        assert_eq!(call == Verdict::Accepted, (200..300).contains(&status), "{status} {call:?}");
    }

    if let Some((asynchronous, function)) = exchange.raw.settings(&credential) {
        assert!(!format!("{asynchronous:?} {function:?}").contains(CANARY));
    }
});

/// Whether a body has an error where the service writes them: at its top, or in the one object that IAM wraps it in.
fn may_say_something(body: &[u8]) -> bool {
    let Ok(Value::Object(fields)) = serde_json::from_slice(body) else { return false };
    let names = ["error_code", "errorCode", "code", "error_msg", "errorMsg", "message"];
    names.iter().any(|name| fields.contains_key(*name)) || fields.get("error").is_some_and(Value::is_object)
}
