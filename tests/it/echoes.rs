//! Servers and functions that repeat the credential, in whatever form: nothing of it is stored or logged.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use functiongraph_emulator::Function;
use functiongraph_operator::api::invocation::Outcome;
use serde_json::{Value, json};
use testkit::{KEY, World};

/// What stands for a text that is not kept.
const WITHHELD: &str = "withheld, because it repeats a credential";

/// The secret of the key in forms that a server might use, each with the name of its function.
fn forms() -> Vec<(&'static str, String)> {
    let secret = KEY.1;
    let each = |form: fn(u8) -> String| secret.bytes().map(form).collect::<String>();
    vec![
        ("plain", secret.to_owned()),
        ("capitals", secret.to_uppercase()),
        ("reversed", secret.chars().rev().collect()),
        ("base64", STANDARD.encode(format!("{}:{secret}", KEY.0))),
        ("hex", each(|byte| format!("{byte:02x}"))),
        ("url", each(|byte| format!("%{byte:02X}"))),
        ("entities", each(|byte| format!("&#{byte};"))),
        ("escapes", each(|byte| format!("\\u{byte:04x}"))),
        (
            "folded",
            secret
                .as_bytes()
                .chunks(5)
                .map(|part| str::from_utf8(part).unwrap())
                .collect::<Vec<_>>()
                .join("\n"),
        ),
        ("half", secret[..secret.len() / 2].to_owned()),
    ]
}

/// What is stored of an object, and its Events.
async fn stored(world: &World, name: &str) -> String {
    let object = serde_json::to_string(&world.get(name).await).unwrap();
    let event = world.event(name, "Rejected").await;
    object + &serde_json::to_string(&event).unwrap()
}

#[tokio::test]
async fn t20_what_repeats_a_credential_is_withheld_in_status_events_and_log() {
    let names = || forms().into_iter().map(|(name, _)| name).chain(["code", "authorization"]);
    let world = World::with(|config| config.functions.extend(names().map(Function::named))).await;
    world.provider().await;
    let operator = world.operator().await;
    let page = |body: String| json!({"status": 400, "body": body});
    let mut answers: Vec<(&str, Value)> =
        forms().into_iter().map(|(name, form)| (name, page(format!("<p>bad key {form}</p>")))).collect();
    answers.push(("code", json!({"status": 400, "errorCode": KEY.1, "errorMsg": "see the code"})));
    answers.push(("authorization", page("you sent {authorization}".into())));
    for (function, answer) in &answers {
        world.fault(json!({"when": "forever", "function": function, "action": {"status": answer}}));
        world.invoke(function, json!({"function": {"name": function}})).await;
    }
    for (function, _) in &answers {
        let status = world.end(function).await;
        assert_eq!(status.error.as_ref().unwrap().http_status, Some(400));
        let stored = stored(&world, function).await;
        if *function == "code" {
            assert!(stored.contains("see the code"), "{stored}");
        } else {
            assert_eq!(status.error.unwrap().message.as_deref(), Some(WITHHELD), "{function}");
        }
        for (name, form) in forms() {
            let part = &form.trim()[..form.trim().len().min(20)];
            assert!(!stored.contains(part), "{function}, {name}: {stored}");
        }
        assert!(!stored.contains("Signature="), "{stored}");
    }
    operator.stop().await;
    for (name, form) in forms() {
        assert!(!world.logs().contains(&form[..form.len().min(20)]), "{name}");
    }
    assert!(!world.logs().contains("Signature="));
}

#[tokio::test]
async fn t20_a_result_is_kept_in_a_form_that_no_terminal_obeys_or_not_at_all() {
    let odd = "\u{1b}]0;title\u{7}\u{9b}31m\u{202e}\u{61c}\u{3164}\u{e0041}\ttext\n";
    let secret = STANDARD.encode(KEY.1);
    let world = World::with(|config| {
        let returning = |name: &str, text: &str| Function {
            result: Some(text.into()),
            log: text.to_owned(),
            ..Function::named(name)
        };
        config.functions.extend([returning("odd", odd), returning("secret", &secret)]);
    })
    .await;
    world.provider().await;
    let _operator = world.operator().await;
    for function in ["odd", "secret"] {
        let spec = json!({
            "function": {"name": function}, "invocationType": "Sync",
            "sync": {"captureResult": true, "logTail": true},
        });
        world.invoke(function, spec).await;
    }

    let status = world.end("odd").await;
    assert_eq!(status.outcome, Some(Outcome::Executed));
    let result = status.result.unwrap();
    let (body, log) = (result.body.unwrap(), result.log_tail.unwrap());
    let read: String =
        serde_json::from_str(&format!("\"{}\"", body.replace('\t', "\\t").replace('\n', "\\n"))).unwrap();
    assert_eq!(read, odd, "nothing is lost: {body}");
    for kept in [&body, &log] {
        assert!(kept.contains(r"\u001b]0;title\u0007\u009b31m\u202e\u061c\u3164\udb40\udc41"), "{kept:?}");
        assert!(!kept.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')), "{kept:?}");
    }

    let result = world.end("secret").await.result.unwrap();
    assert_eq!((result.body.as_deref(), result.log_tail.as_deref()), (Some(WITHHELD), Some(WITHHELD)));
}
