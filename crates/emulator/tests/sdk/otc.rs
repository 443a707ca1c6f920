//! A client for Open Telekom Cloud in Go: other logins, another form of signature, and addresses from a catalog.

use functiongraph_emulator::{Config, User};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::driver::{Called, Language, Sdk, sha256};
use crate::place::{PROJECT, Place, urn};

/// An emulator with a user, and the client with the given login.
async fn place() -> Place {
    Place::with(Language::Otc, |config: &mut Config| {
        config.identity.users =
            vec![User { domain: "acct".into(), name: "ci".into(), password: "pw".into() }];
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_login_finds_the_functions_through_the_catalog() {
    let place = place().await;
    let home: &TempDir = place.home();
    let logins: [&[(&str, &str)]; 6] = [
        &[
            ("SDK_USER", "ci"),
            ("SDK_PASSWORD", "pw"),
            ("SDK_DOMAIN", "acct"),
            ("SDK_PROJECT_NAME", "eu-de"),
            ("SDK_PROJECT", ""),
        ],
        &[("SDK_USER", "ci"), ("SDK_PASSWORD", "pw"), ("SDK_DOMAIN", "acct"), ("SDK_VERSION", "/v3")],
        &[("SDK_TOKEN", "token"), ("SDK_PROJECT", "")],
        &[("SDK_AK", "AK"), ("SDK_SK", "SK")],
        &[
            ("SDK_AK", "AK"),
            ("SDK_SK", "SK"),
            ("SDK_PROJECT", ""),
            ("SDK_PROJECT_NAME", "eu-de"),
            ("SDK_DOMAIN", "acct"),
        ],
        &[("SDK_AK", "TEMPORARY"), ("SDK_SK", "SK"), ("SDK_SECURITY_TOKEN", "st")],
    ];
    for login in logins {
        let mut sdk =
            crate::place::start(Language::Otc, home, place.emulator.ca_pem(), &place.emulator.url(), login);
        let got = sdk.done(200, "Login", &json!({}));
        assert_eq!(got["endpoint"], format!("{}/v2/{PROJECT}/", place.emulator.url()), "{login:?}");
        assert_eq!(got["project"], PROJECT, "{login:?}");
        let functions = sdk.done(200, "ListFunctions", &json!({}));
        assert_eq!(functions["functions"][0]["func_urn"], urn("hello:latest"), "{login:?}");
    }
    for (login, status) in [
        (&[("SDK_AK", "AK"), ("SDK_SK", "WRONG")][..], 401),
        (&[("SDK_USER", "ci"), ("SDK_PASSWORD", "wrong"), ("SDK_DOMAIN", "acct")][..], 401),
        // A permanent key has no security token.
        (&[("SDK_AK", "AK"), ("SDK_SK", "SK"), ("SDK_SECURITY_TOKEN", "foreign")][..], 401),
    ] {
        let refused = place.other(login).call("Login", &json!({}));
        assert!(
            matches!(refused, Called::Refused { status: seen, .. } if seen == status),
            "{login:?}: {refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_accepted_as_this_client_wraps_it() {
    let mut place = place().await;
    let event = json!({"function_urn": urn("hello:!prod"), "event": {"k": "v"}});
    let id = place.sdk.done(200, "LaunchAsync", &event)["request_id"].clone();
    let ledger = place.emulator.ledger();
    assert_eq!((json!(ledger[0].request_id), ledger[0].function.clone()), (id, urn("hello:!prod")));
    assert_eq!(ledger[0].body_sha256, sha256(b"{\"body\":{\"k\":\"v\"}}\n"));
    // Its synchronous invocation sends no event, which the service refuses.
    let called = place.sdk.call("LaunchSync", &json!({"function_urn": urn("hello")}));
    let Called::Refused { status: 400, message, .. } = called else { panic!("{called:?}") };
    assert_eq!(message, "function event body is empty");
    for (function, code) in [("nope", "FSS.0404"), ("hello:v9", "FSS.1052"), ("hello:!nope", "FSS.1053")] {
        let event = json!({"function_urn": urn(function), "event": {}});
        let called = place.sdk.call("LaunchAsync", &event);
        let Called::Refused { status: 404, code: Some(seen), .. } = called else { panic!("{called:?}") };
        assert_eq!(seen, code);
    }
    assert_eq!(place.emulator.ledger().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_lives_and_dies() {
    let mut place = place().await;
    let sdk = &mut place.sdk;
    let at = |mut more: Value| {
        more["function_urn"] = urn("resize").into();
        more
    };
    let function = json!({
        "func_name": "resize", "package": "default", "runtime": "Python3.9", "timeout": 30,
        "handler": "index.handler", "memory_size": 128, "code_type": "inline", "description": "d",
        "func_code": {"file": "cGFzcw=="},
    });
    assert_eq!(sdk.done(200, "CreateFunction", &function)["func_urn"], urn("resize:latest"));
    assert_eq!(sdk.done(200, "GetMetadata", &at(json!({})))["description"], "d");
    let mut changed = at(function.clone());
    changed["memory_size"] = 256.into();
    assert_eq!(sdk.done(200, "UpdateFuncMetadata", &changed)["memory_size"], 256);
    let most = sdk.done(200, "UpdateMaxInstances", &at(json!({"max_instance_num": 7})));
    assert_eq!(most["strategy_config"]["concurrency"], 7);
    sdk.done(200, "UpdateFuncCode", &at(json!({"code_type": "inline", "func_code": {"file": "cGFzcw=="}})));
    assert_eq!(sdk.done(200, "GetCode", &at(json!({})))["func_code"]["file"], "cGFzcw==");
    assert_eq!(sdk.done(200, "PublishVersion", &at(json!({"version": "v1"})))["version"], "v1");
    assert_eq!(sdk.done(200, "ListVersion", &at(json!({})))["count"], 2);
    sdk.done(200, "CreateAlias", &at(json!({"name": "prod", "version": "v1"})));
    let moved = at(json!({"alias_name": "prod", "version": "latest", "description": "moved"}));
    assert_eq!(sdk.done(200, "UpdateAlias", &moved)["description"], "moved");
    assert_eq!(sdk.done(200, "GetAlias", &at(json!({"alias_name": "prod"})))["version"], "latest");
    assert_eq!(sdk.done(200, "ListAlias", &at(json!({})))[0]["name"], "prod");
    sdk.done(200, "DeleteAlias", &at(json!({"alias_name": "prod"})));
    sdk.done(200, "CreateTags", &at(json!({"tags": [{"key": "team", "value": "a"}]})));
    assert_eq!(sdk.done(200, "GetTags", &at(json!({})))["tags"][0]["key"], "team");
    sdk.done(200, "UpdateReserved", &at(json!({"count": 2, "idle_mode": false})));
    let reserved = sdk.done(200, "ListReservedInstConfigs", &json!({}));
    assert_eq!(reserved["reserved_instances"][0]["min_count"], 2);
    sdk.done(200, "ListReservedInst", &json!({}));
    assert_eq!(sdk.done(200, "ListQuotas", &json!({}))["resources"].as_array().map(Vec::len), Some(6));
    sdk.done(200, "DeleteFunction", &at(json!({})));
    let gone = sdk.call("GetMetadata", &at(json!({})));
    assert!(matches!(gone, Called::Refused { status: 404, .. }), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_projects_and_domains_are_read_and_a_token_revoked() {
    let place = place().await;
    let login = [("SDK_USER", "ci"), ("SDK_PASSWORD", "pw"), ("SDK_DOMAIN", "acct")];
    let (mut first, mut sdk): (Sdk, Sdk) = (place.other(&login), place.other(&login));
    let token = first.done(200, "Login", &json!({}))["token"].clone();
    let subject = json!({"token": token});
    assert_eq!(sdk.done(200, "GetToken", &subject)["name"], "ci");
    assert_eq!(sdk.done(200, "ValidateToken", &subject), true);
    assert_eq!(sdk.done(200, "ListCatalog", &json!({})).as_array().map(Vec::len), Some(4));
    assert_eq!(sdk.done(200, "ListProjects", &json!({"project_name": "eu-de"}))[0]["id"], PROJECT);
    assert_eq!(sdk.done(200, "GetProject", &json!({}))["name"], "eu-de");
    assert_eq!(sdk.done(200, "ListDomains", &json!({}))[0]["name"], "acct");
    sdk.done(200, "RevokeToken", &subject);
    let revoked = first.call("ListFunctions", &json!({}));
    assert!(matches!(revoked, Called::Refused { status: 401, .. }), "{revoked:?}");
    assert_eq!(sdk.done(200, "ValidateToken", &subject), false);
}
