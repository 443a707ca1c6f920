//! Every error code that the documents of the service and its gateway name for a caller of functions, and its
//! verdict.

use functiongraph::CredentialKind::{AccessKey, Token};
use functiongraph::Verdict::{
    self, Ambiguous, FunctionDisabled, Refused, Throttled, Unauthenticated, Unavailable,
};
use functiongraph::{Answer, Kind, Protocol};
use http::HeaderMap;

/// From the service or its gateway, not from a proxy.
const BUSY: Verdict = Unavailable { by_the_service: true };

/// Status, code, message, and the verdict.
type Row = (u16, &'static str, &'static str, Verdict);

/// Status, code, message, the verdict with an access key, and the verdict with a token.
type RowByCredential = (u16, &'static str, &'static str, Verdict, Verdict);

/// The codes of the service, as its appendix of error codes lists them.
const SERVICE: &[Row] = &[
    (400, "FSS.0400", "Invalid parameter.", Refused),
    (401, "FSS.0401", "Unauthorized access.", Unauthenticated),
    (403, "FSS.0403", "Forbidden", Refused),
    (404, "FSS.0404", "The specified resource was not found.", Refused),
    (406, "FSS.0406", "Not acceptable.", Refused),
    (408, "FSS.0408", "Request timeout.", Ambiguous),
    (409, "FSS.0409", "The specified resource already exists.", Refused),
    (410, "FSS.0410", "The specified resource does not exist.", Refused),
    (413, "FSS.0413", "The request body is too large.", Refused),
    (424, "FSS.0424", "Invalid dependency.", Refused),
    (426, "FSS.0426", "An upgrade is required.", Refused),
    (428, "FSS.0428", "The preconditions have not been met.", Refused),
    (429, "FSS.0429", "Too many requests.", Throttled),
    (500, "FSS.0500", "Internal server error.", Ambiguous),
    (502, "FSS.0502", "Bad gateway.", Ambiguous),
    (503, "FSS.0503", "Service unavailable.", BUSY),
    (504, "FSS.0504", "Gateway timeout.", Ambiguous),
    (400, "FSS.1001", "Invalid query parameter.", Refused),
    (400, "FSS.1002", "Invalid function name.", Refused),
    (400, "FSS.1007", "Invalid function memory.", Refused),
    (400, "FSS.1014", "Invalid function alias.", Refused),
    (400, "FSS.1015", "Invalid function version.", Refused),
    (404, "FSS.1051", "The function does not exist.", Refused),
    (404, "FSS.1052", "The version does not exist.", Refused),
    (404, "FSS.1053", "The alias does not exist.", Refused),
    // The user is not on the list of those who may make the call: another credential of his would not help.
    (401, "FSS.1118", "Access denied.", Refused),
    (403, "FSS.1125", "Forbidden", Refused),
    (403, "FSS.1126", "You do not have permissions to call the API.", Refused),
    (403, "FSS.1127", "The EPS user does not have permissions to call the API.", Refused),
    (413, "FSS.1201", "The request body is too large.", Refused),
    // The function has been executed at this point.
    (
        500,
        "FSS.1202",
        "The response body or callback body is invalid because they do not contain any status code.",
        Ambiguous,
    ),
    (400, "FSS.1303", "Access denied due to insufficient permissions.", Refused),
    (400, "FSS.1309", "Invalid function URN.", Refused),
    (400, "FSS.1310", "Unauthorized user.", Refused),
];

/// The same codes with the messages of examples.
const SERVICE_EXAMPLES: &[RowByCredential] = &[
    (400, "FSS.0400", "function event body is empty", Refused, Refused),
    (400, "FSS.0400", "Invalid RequestId", Refused, Refused),
    (400, "FSS.0401", "not permit", Refused, Refused),
    (401, "FSS.0401", "invalid token", Unauthenticated, Unauthenticated),
    (403, "FSS.0401", "not permit", Refused, Refused),
    // A request signed with a key has no token that could be invalid.
    (403, "FSS.0403", "invalid token", Refused, Unauthenticated),
    (404, "FSS.0404", "function 'test' not exist", Refused, Refused),
    (404, "FSS.0404", "Not found the specified resource", Refused, Refused),
    (404, "FSS.0404", "can not find function", Refused, Refused),
    (404, "FSS.1051", "Not found the function", Refused, Refused),
    (404, "FSS.1052", "Not found the function version", Refused, Refused),
    (404, "FSS.1053", "Not found the function alias", Refused, Refused),
    // Sent for a function that does not exist, but nothing distinguishes it from an outage.
    (500, "FSS.0500", "Error getting associated function", Ambiguous, Ambiguous),
];

/// The family of 429: temporary and permanent refusals share code and status.
const TOO_MANY: &[Row] = &[
    (429, "FSS.0429", "Function Disabled", FunctionDisabled),
    (429, "FSS.0429", "Too many requests.", Throttled),
    (429, "FSS.0429", "Your request has been controlled by overload sdk, please retry later", Throttled),
    (429, "FSS.0429", "api is busy now", Throttled),
    (
        429,
        "APIG.0308",
        "The throttling threshold has been reached: policy user over ratelimit,limit:10,time:1 second",
        Throttled,
    ),
];

/// The codes of the gateway. Some come with several statuses, and then the status decides. The messages of 0301, 0307
/// and 0308 are quotes; the others only describe the code. The documents end the list of 500s with "0608 and
/// following".
const GATEWAY: &[RowByCredential] = &[
    (404, "APIG.0101", "The API does not exist or has not been published", Refused, Refused),
    (400, "APIG.0201", "Bad request", Refused, Refused),
    (413, "APIG.0201", "Request entity too large", Refused, Refused),
    (414, "APIG.0201", "Request URI too large", Refused, Refused),
    (494, "APIG.0201", "Request headers too large", Refused, Refused),
    (500, "APIG.0201", "Unexpected error", Ambiguous, Ambiguous),
    (502, "APIG.0201", "Backend unavailable", Ambiguous, Ambiguous),
    (504, "APIG.0201", "Backend timeout", Ambiguous, Ambiguous),
    (502, "APIG.0202", "Backend unavailable", Ambiguous, Ambiguous),
    (504, "APIG.0203", "Backend timeout", Ambiguous, Ambiguous),
    (
        401,
        "APIG.0301",
        "Incorrect IAM authentication information: verify aksk signature fail",
        Unauthenticated,
        Unauthenticated,
    ),
    (
        401,
        "APIG.0301",
        "Incorrect IAM authentication information: decrypt token fail",
        Unauthenticated,
        Unauthenticated,
    ),
    (
        401,
        "APIG.0301",
        "Incorrect IAM authentication information: token expires, expires_at: 2020-01-04",
        Unauthenticated,
        Unauthenticated,
    ),
    (
        401,
        "APIG.0301",
        "Incorrect IAM authentication information: x-auth-token not found",
        Unauthenticated,
        Unauthenticated,
    ),
    (
        401,
        "APIG.0301",
        "Incorrect IAM authentication information: Get secretKey failed,ak:A,err:ak not exist",
        Unauthenticated,
        Unauthenticated,
    ),
    (
        401,
        "APIG.0301",
        "Incorrect IAM authentication information: AK access failed to reach the limit,forbidden",
        Unauthenticated,
        Unauthenticated,
    ),
    (403, "APIG.0302", "The IAM user is not authorized to access the API", Refused, Refused),
    (401, "APIG.0303", "Incorrect app authentication information", Unauthenticated, Unauthenticated),
    (403, "APIG.0304", "The app is not authorized to access the API", Refused, Refused),
    (401, "APIG.0305", "Incorrect authentication information", Unauthenticated, Unauthenticated),
    (403, "APIG.0306", "API access denied", Refused, Refused),
    (401, "APIG.0307", "The token must be updated", Unauthenticated, Unauthenticated),
    (429, "APIG.0308", "The throttling threshold has been reached", Throttled, Throttled),
    (403, "APIG.0310", "The project is unavailable", Refused, Refused),
    (403, "APIG.0401", "Unknown client IP address", Refused, Refused),
    (403, "APIG.0402", "The IP address is not authorized to access the API", Refused, Refused),
    (403, "APIG.0403", "The client IP address is not in the whitelist", Refused, Refused),
    (403, "APIG.0404", "Access to the backend IP address has been denied", Refused, Refused),
    (403, "APIG.0405", "The app is not accessed from a trusted IP address", Refused, Refused),
    (405, "APIG.0501", "The app quota has been used up", Refused, Refused),
    (405, "APIG.0502", "The app has been frozen", Refused, Refused),
    (500, "APIG.0601", "Internal server error", Ambiguous, Ambiguous),
    (500, "APIG.0605", "Domain name resolution failed", Ambiguous, Ambiguous),
    (500, "APIG.0606", "Failed to load the API configurations", Ambiguous, Ambiguous),
    (500, "APIG.0608", "Failed to obtain the backend", Ambiguous, Ambiguous),
    (500, "APIG.0609", "Internal error", Ambiguous, Ambiguous),
    (502, "APIG.0610", "The backend is unavailable", Ambiguous, Ambiguous),
    (500, "APIG.0611", "Internal error", Ambiguous, Ambiguous),
    (500, "APIG.0612", "Internal error", Ambiguous, Ambiguous),
    (503, "APIG.0613", "IAM is unavailable", BUSY, BUSY),
    (403, "APIG.0802", "The IAM user is forbidden in the currently selected region", Refused, Refused),
];

/// Checks one row with every kind of invocation, both editions and the other calls: a refusal stays a refusal.
fn check((status, code, message, with_key, with_token): RowByCredential) {
    let body = format!(r#"{{"error_code":"{code}","error_msg":"{message}","request_id":"r"}}"#);
    let sync = Kind::Sync { log_tail: true };
    for kind in [Kind::Async, sync, Kind::Reserved] {
        for protocol in [Protocol::V2, Protocol::V1] {
            let answer = Answer::from_parts(kind, protocol, status, &HeaderMap::new(), body.as_bytes());
            let row = format!("{status} {code} {message} {kind:?} {protocol:?}");
            assert_eq!(answer.verdict(kind, AccessKey), with_key, "with a key: {row}");
            assert_eq!(answer.verdict(kind, Token), with_token, "with a token: {row}");
            assert_eq!(answer.verdict_of_call(AccessKey), with_key, "{row}");
            assert_eq!(answer.verdict_of_call(Token), with_token, "{row}");
            assert_eq!(answer.error_code.as_deref(), Some(code));
            assert_eq!(answer.error_message.as_deref(), Some(message));
            assert_eq!(answer.gateway_request_id.as_deref(), Some("r"));
        }
    }
}

fn by_credential((status, code, message, verdict): &Row) -> RowByCredential {
    (*status, code, message, *verdict, *verdict)
}

#[test]
fn every_code_of_the_service_has_its_verdict() {
    SERVICE.iter().map(by_credential).for_each(check);
    SERVICE_EXAMPLES.iter().copied().for_each(check);
}

#[test]
fn every_member_of_the_429_family_has_its_verdict() {
    TOO_MANY.iter().map(by_credential).for_each(check);
}

#[test]
fn every_code_of_the_gateway_has_its_verdict_in_both_spellings_of_its_name() {
    for (status, code, message, with_key, with_token) in GATEWAY {
        check((*status, code, message, *with_key, *with_token));
        let other: &str = &code.replace("APIG.", "APIGW.");
        let body = format!(r#"{{"error_code":"{other}","error_msg":"{message}"}}"#);
        let answer =
            Answer::from_parts(Kind::Async, Protocol::V2, *status, &HeaderMap::new(), body.as_bytes());
        assert_eq!(answer.verdict(Kind::Async, AccessKey), *with_key, "{status} {other}");
        assert_eq!(answer.verdict(Kind::Async, Token), *with_token, "{status} {other}");
    }
}

#[test]
fn no_row_is_there_twice() {
    let service = SERVICE.iter().chain(TOO_MANY).map(|(status, code, message, _)| (status, code, message));
    let rows =
        SERVICE_EXAMPLES.iter().chain(GATEWAY).map(|(status, code, message, ..)| (status, code, message));
    let mut rows: Vec<_> = service.chain(rows).collect();
    rows.sort_unstable();
    // "Too many requests." is in the appendix and in its family.
    assert_eq!(rows.windows(2).filter(|pair| pair[0] == pair[1]).count(), 1);
    let codes: std::collections::BTreeSet<_> = rows.iter().map(|(_, code, _)| **code).collect();
    assert_eq!(codes.iter().filter(|code| code.starts_with("FSS.")).count(), 34);
    assert_eq!(codes.iter().filter(|code| code.starts_with("APIG.")).count(), 30);
}
