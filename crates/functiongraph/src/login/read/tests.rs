//! Answers as documented, other plausible answers, and malformed ones.

use bytes::BytesMut;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::credentials::Parts;
use crate::text::{Clean, MAX_MESSAGE, WITHHELD};

fn seen(status: u16, headers: &[(&'static str, &str)], body: &str) -> Seen {
    let headers = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect();
    Seen { status, headers, body: BytesMut::from(body.as_bytes()), complete: true }
}

/// Id, secret and security token.
fn parts(login: &Login) -> (&str, &str, &str) {
    match login.credential.parts() {
        Parts::AccessKey { id, secret, security_token: Some(token) } => {
            (id, secret.expose_secret(), token.expose_secret())
        }
        other => panic!("{other:?}"),
    }
}

// === tokens ===

#[test]
fn a_token_comes_with_its_end_and_its_project() {
    let body = r#"{"token":{"expires_at":"2020-01-04T09:05:22.701000Z","methods":["password"],"catalog":[],
        "project":{"id":"7aad83af3e8d42e99ac194e8419e2c9b","name":"eu-de","domain":{"id":"d"}}}}"#;
    let login = token(seen(201, &[("x-subject-token", "canary")], body)).unwrap();
    assert!(matches!(login.credential.parts(), Parts::Token(token) if token.expose_secret() == "canary"));
    assert_eq!(login.expires_at, Some("2020-01-04T09:05:22.701Z".parse().unwrap()));
    assert_eq!(login.project_id.as_deref(), Some("7aad83af3e8d42e99ac194e8419e2c9b"));
    assert!(!format!("{login:?}").contains("canary"));
}

#[test]
fn a_token_is_valid_even_if_the_body_cannot_be_read() {
    for body in ["", "{", "[]", "{\"token\":1}", r#"{"token":{"expires_at":"soon","project":{"id":"a b"}}}"#]
    {
        let login = token(seen(201, &[("x-subject-token", "canary")], body)).unwrap();
        assert_eq!((login.expires_at, login.project_id), (None, None), "{body}");
    }
}

#[test]
fn a_success_without_a_usable_token_is_malformed() {
    for headers in [vec![], vec![("x-subject-token", "")], vec![("x-subject-token", "a canary")]] {
        let error = token(seen(201, &headers, "{}")).unwrap_err();
        assert!(matches!(error, LoginError::Malformed(_)), "{error:?}");
        assert!(!error.to_string().contains("canary"), "{error}");
    }
}

// === keys ===

#[test]
fn keys_are_read_in_every_spelling_and_wrapping() {
    let iam = json!({"access": "A", "secret": "S", "securitytoken": "T", "expires_at": "2020-01-08T03:50:07.574000Z"});
    let sts = json!({
        "access_key_id": "A", "secret_access_key": "S", "security_token": "T", "expiration": "2020-01-08T03:50:07.574Z"
    });
    let camel = json!({
        "accessKeyId": "A", "secretAccessKey": "S", "securityToken": "T", "expiration": "2020-01-08T04:50:07.574+01:00"
    });
    let both = json!({
        "access": "A", "accessKeyId": "A", "secret": "S", "securitytoken": "T", "security_token": "T",
        "expires_at": "2020-01-08T03:50:07.574", "expiration": "2020-01-08T03:50:07.574Z"
    });
    for bare in [iam, sts, camel, both] {
        for body in [bare.clone(), json!({ "credential": bare }), json!({ "credentials": bare, "more": 1 })] {
            let login = keys(seen(200, &[], &body.to_string())).unwrap();
            assert_eq!(parts(&login), ("A", "S", "T"), "{body}");
            assert_eq!(login.expires_at, Some("2020-01-08T03:50:07.574Z".parse().unwrap()), "{body}");
            assert_eq!(login.project_id, None);
        }
    }
}

#[test]
fn keys_without_a_part_are_malformed_and_the_error_names_it() {
    let table = [
        ("{", "no JSON object"),
        (r#"{"credential":{"secret":"canary","securitytoken":"canary"}}"#, "\"access\""),
        (r#"{"access":"A","securitytoken":"canary"}"#, "\"secret\""),
        (r#"{"access":"A","secret":"canary"}"#, "\"securitytoken\""),
        (r#"{"access":"A","secret":"a canary","securitytoken":"T"}"#, "the secret access key"),
        (r#"{"access":1,"secret":"canary","securitytoken":"T"}"#, "\"access\""),
    ];
    for (body, named) in table {
        let error = keys(seen(200, &[], body)).unwrap_err();
        assert!(matches!(&error, LoginError::Malformed(text) if text.contains(named)), "{body}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}

// === refusals ===

fn refusal(status: u16, headers: &[(&'static str, &str)], body: &str, secret: &str) -> LoginError {
    success(seen(status, headers, body), &Shown::secrets([&secret.into()])).err().unwrap()
}

#[test]
fn every_shape_of_a_refusal_is_read() {
    let table = [
        (
            r#"{"error":{"code":401,"message":"The username or password is wrong.","title":"Unauthorized"}}"#,
            Some("401"),
            Some("The username or password is wrong."),
            Some("trace-1"),
        ),
        (
            r#"{"error_code":"IAM.0001","error_msg":"The request  is\u0000 wrong"}"#,
            Some("IAM.0001"),
            Some("The request is wrong"),
            Some("trace-1"),
        ),
        (
            r#"{"error_code":"STS.0004","error_msg":"no","request_id":"r-1","encoded_authorization_message":"x","details":[{"error_code":"d"}]}"#,
            Some("STS.0004"),
            Some("no"),
            Some("trace-1"),
        ),
        (r#"{"request":{"error_code":"IAM.0001","error_msg":"no"}}"#, None, None, Some("trace-1")),
        ("<html>502 of a proxy</html>", None, None, Some("trace-1")),
        ("", None, None, Some("trace-1")),
    ];
    for (body, code, message, id) in table {
        let error = refusal(401, &[("x-iam-trace-id", "trace-1"), ("retry-after", "7")], body, "");
        let expected = LoginError::Refused {
            status: 401,
            code: code.map(str::to_owned),
            message: message.map(Clean::line),
            gateway_request_id: id.map(str::to_owned),
            retry_after: Some(std::time::Duration::from_secs(7)),
        };
        assert_eq!(error, expected, "{body}");
    }
}

#[test]
fn the_id_of_the_exchange_is_taken_from_where_it_is() {
    let body = r#"{"error_code":"STS.0004","request_id":"in-the-body"}"#;
    for (headers, expected) in [
        (vec![("x-request-id", "gw"), ("x-iam-trace-id", "iam")], "iam"),
        (vec![("x-request-id", "gw"), ("x-iam-trace-id", "not an id")], "gw"),
        (vec![], "in-the-body"),
    ] {
        let error = refusal(403, &headers, body, "");
        assert!(
            matches!(&error, LoginError::Refused { gateway_request_id: Some(id), .. } if id == expected),
            "{error:?}"
        );
    }
}

#[test]
fn t20_a_refusal_repeats_no_secret() {
    let secret = "ca\"na  ry-9";
    let body = json!({
        "error_code": "canary", "error_msg": format!("the password {secret} is wrong, yes: {secret}"), "request_id": secret
    });
    let error = refusal(401, &[("x-iam-trace-id", "canary")], &body.to_string(), secret);
    assert!(
        matches!(&error, LoginError::Refused { message: Some(text), .. } if &**text == WITHHELD),
        "{error:?}"
    );
    let error = refusal(401, &[("x-iam-trace-id", "canary")], r#"{"error_code":"canary"}"#, "canary");
    assert!(!format!("{error:?} {error}").contains("canary"), "{error:?}");
    // Half of a body could hold half of a secret.
    let error = refusal(401, &[], r#"{"error_msg":"the password is cana"#, "canary");
    assert!(!format!("{error:?}").contains("cana"), "{error:?}");
}

#[test]
fn t20_a_secret_is_found_before_a_message_is_cut() {
    let text = format!("{}canary", "x".repeat(MAX_MESSAGE - 3));
    let error = refusal(400, &[], &json!({ "error_msg": text }).to_string(), "canary");
    assert!(
        matches!(&error, LoginError::Refused { message: Some(text), .. } if &**text == WITHHELD),
        "{error:?}"
    );
}

proptest! {
    #[test]
    fn whatever_arrives_is_an_answer_or_an_error(
        status in 100_u16..600,
        token_text in "[ -~]{0,20}",
        body in "\\PC{0,40}|\\{\"(credential|token|error)\":\\{\"(access|id|code)\":[0-9]\\}\\}",
    ) {
        let headers = [("x-subject-token", token_text.as_str())];
        let answer = || seen(status, &headers, &body);
        let _ = (token(answer()), keys(answer()));
        prop_assert_eq!(success(answer(), &Shown::default()).is_ok(), (200..300).contains(&status));
    }
}
