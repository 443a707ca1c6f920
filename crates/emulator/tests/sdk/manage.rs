//! Functions that are created, changed and deleted, with the code, versions, aliases and tags that they have.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::driver::{Called, Language};
use crate::place::{PROJECT, Place, urn};

fn with(function: &str, body: &Value) -> Value {
    json!({"function_urn": urn(function), "body": body})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_created_changed_called_and_deleted() {
    for language in Language::ALL {
        let mut place = Place::new(language, |_| {}).await;
        let sdk = &mut place.sdk;
        let mut function = json!({
            "func_name": "resize", "package": "default", "runtime": "Python3.9", "timeout": 30,
            "handler": "index.handler", "memory_size": 256, "code_type": "inline",
            "description": "makes pictures small",
            "func_code": {"file": STANDARD.encode("def handler(): pass")},
        });
        let made = sdk.done(200, "CreateFunction", &json!({"body": function}));
        assert_eq!(made["func_urn"], urn("resize:latest"), "{language}");
        assert_eq!((&made["timeout"], &made["memory_size"]), (&json!(30), &json!(256)), "{language}");
        assert_eq!((&made["code_size"], &made["description"]), (&json!(19), &json!("makes pictures small")));
        let again = sdk.call("CreateFunction", &json!({"body": function}));
        let Called::Refused { status: 409, code: Some(code), .. } = again else {
            panic!("{language}: {again:?}")
        };
        assert_eq!(code, "FSS.0409", "{language}");
        function["func_name"] = "no name:".into();
        let nameless = sdk.call("CreateFunction", &json!({"body": function}));
        let Called::Refused { status: 400, code: Some(code), .. } = nameless else { panic!("{nameless:?}") };
        assert_eq!(code, "FSS.1002", "{language}");

        let changes = json!({
            "func_name": "resize", "runtime": "Python3.9", "timeout": 60, "handler": "index.other",
            "memory_size": 512,
        });
        let now = sdk.done(200, "UpdateFunctionConfig", &with("resize", &changes));
        assert_eq!((&now["timeout"], &now["handler"]), (&json!(60), &json!("index.other")), "{language}");
        assert_eq!(now["description"], "makes pictures small", "{language}");
        let code = json!({"code_type": "inline", "func_code": {"file": STANDARD.encode("pass")}});
        sdk.done(200, "UpdateFunctionCode", &with("resize", &code));
        let code = sdk.done(200, "ShowFunctionCode", &json!({"function_urn": urn("resize")}));
        assert_eq!(
            (&code["code_size"], &code["func_code"]["file"]),
            (&json!(4), &json!(STANDARD.encode("pass")))
        );
        let few = sdk.done(
            200,
            "UpdateFunctionMaxInstanceConfig",
            &with("resize", &json!({"max_instance_num": 5})),
        );
        assert_eq!(few["strategy_config"]["concurrency"], 5, "{language}");

        sdk.done(202, "AsyncInvokeFunction", &with("resize", &json!({"k": "v"})));
        let listed = sdk.done(200, "ListAsyncInvocations", &json!({"function_urn": urn("resize")}));
        assert_eq!(listed["invocations"][0]["status"], "SUCCESS", "{language}");
        sdk.done(204, "DeleteFunction", &json!({"function_urn": urn("resize")}));
        let gone = sdk.call("AsyncInvokeFunction", &with("resize", &json!({"k": "v"})));
        assert!(matches!(gone, Called::Refused { status: 404, .. }), "{language}: {gone:?}");
        assert_eq!(place.emulator.ledger().len(), 1, "{language}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_aliases_and_tags_are_made_and_removed() {
    for language in Language::ALL {
        let mut place = Place::new(language, |_| {}).await;
        let sdk = &mut place.sdk;
        let version = sdk.done(200, "CreateFunctionVersion", &with("hello", &json!({"version": "v2"})));
        assert_eq!(version["func_urn"], urn("hello:v2"), "{language}");
        let alias = json!({"name": "test", "version": "v2", "description": "for tests"});
        let alias = sdk.done(200, "CreateVersionAlias", &with("hello", &alias));
        assert_eq!(
            (&alias["alias_urn"], &alias["description"]),
            (&json!(urn("hello:!test")), &json!("for tests"))
        );
        let mut moved = with("hello", &json!({"version": "v1"}));
        moved["alias_name"] = "test".into();
        assert_eq!(sdk.done(200, "UpdateVersionAlias", &moved)["version"], "v1", "{language}");
        let nowhere = json!({"name": "nowhere", "version": "v9"});
        let nowhere = sdk.call("CreateVersionAlias", &with("hello", &nowhere));
        assert!(matches!(nowhere, Called::Refused { status: 404, .. }), "{language}: {nowhere:?}");
        sdk.done(202, "AsyncInvokeFunction", &with("hello:!test", &json!({})));
        sdk.done(204, "DeleteVersionAlias", &json!({"function_urn": urn("hello"), "alias_name": "test"}));

        let of = json!({"resource_type": "functions", "resource_id": urn("hello")});
        let mut tags = of.clone();
        tags["body"] =
            json!({"action": "create", "tags": [{"key": "team", "value": "a"}, {"key": "old", "value": ""}]});
        sdk.done(204, "CreateTags", &tags);
        tags["body"] = json!({"action": "delete", "tags": [{"key": "old"}]});
        sdk.done(204, "DeleteTags", &tags);
        let tags = sdk.done(200, "ListFunctionTags", &of);
        assert_eq!(tags["tags"], json!([{"key": "team", "value": "a"}]), "{language}");
        sdk.done(204, "DeleteFunction", &json!({"function_urn": urn("hello:v2")}));
        let versions = sdk.done(200, "ListFunctionVersions", &json!({"function_urn": urn("hello")}));
        assert_eq!(versions["count"], 2, "{language}: {PROJECT}");
    }
}
