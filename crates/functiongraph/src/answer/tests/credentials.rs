//! Servers that repeat a credential in any form: no part of it is kept.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::*;
use crate::credentials::Credential;
use crate::text::{Shown, variants};

const SECRET_KEY: &str = "dX9qTz+3vRb/7LkWm2NcYh8JsGf4PaE6uV1oKxQi";
const SECURITY_TOKEN: &str = "hQpjZXUtZGUtMDGXAwX1Kq9vT0mWbR4yLc7Nz2eGsUoFi8DhJxPaQk3rB6tV5wYM";
const TOKEN: &str = "MIIEvQYJKoZIhvcNAQcCoIIErjCCBKoCAQExDTALBglghkgBZQMEAgEwggLkBgkq";

fn texts(read: &Answer) -> String {
    let of = |text: &dyn Fn(&SyncResult) -> String| read.sync.as_ref().map(text).unwrap_or_default();
    [
        read.error_message.as_deref().unwrap_or_default().to_owned(),
        read.error_code.clone().unwrap_or_default(),
        of(&|sync| sync.body.to_string()),
        of(&|sync| sync.log.as_deref().unwrap_or_default().to_owned()),
    ]
    .join("|")
}

#[test]
fn t20_no_form_of_a_credential_is_kept_of_an_answer() {
    let temporary = Credential::access_key("AKEXAMPLE", SECRET_KEY, Some(SECURITY_TOKEN.into())).unwrap();
    let token = Credential::token(TOKEN).unwrap();
    let mut kept = Vec::new();
    for (kind, credential, secret) in [
        ("secret key", &temporary, SECRET_KEY),
        ("security token", &temporary, SECURITY_TOKEN),
        ("token", &token, TOKEN),
    ] {
        for (name, form) in variants::of(secret) {
            let said = format!("who is {form}?");
            let message = json!({"error_code": "FSS.1", "error_msg": said}).to_string();
            let log = STANDARD.encode(&said);
            for (place, form_of_answer, status, headers, body) in [
                ("message", Form::Notice, 400, headers(&[]), message),
                ("page", Form::Notice, 500, headers(&[]), format!("<p>{said}</p>")),
                ("result", Form::Result(Protocol::V1), 200, headers(&[]), said.clone()),
                (
                    "log",
                    Form::Result(Protocol::V1),
                    200,
                    headers(&[("x-cff-function-log", &log)]),
                    String::new(),
                ),
            ] {
                let seen = Seen { status, headers, body: body.as_bytes().into(), complete: true };
                let read = Answer::read(form_of_answer, &seen, &Shown::credential(credential));
                if !texts(&read).contains("repeats a credential") {
                    kept.push(format!("{kind}, {name}, {place}: {}", texts(&read)));
                }
            }
        }
    }
    assert!(kept.is_empty(), "{} kept:\n{}", kept.len(), kept.join("\n"));
}
