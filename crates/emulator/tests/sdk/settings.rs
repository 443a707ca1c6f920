//! Settings, metadata, reserved instances and the calls of a project.

use serde_json::{Value, json};

use crate::driver::{Called, Language};
use crate::place::{Place, hello, only_hello, urn};

/// Makes a `GET` call, and asserts that the SDK returns each field of the emulator's answer with its name and value.
/// A field with a name that the SDK does not know would be missing.
async fn reads_all(place: &mut Place, call: &str, parameters: &Value, path: &str) -> Value {
    let fields = place.sdk.done(200, call, parameters);
    let mut raw = place.raw(path).await;
    if raw.is_array() {
        raw = json!({ "body": raw });
    }
    // UTC has two spellings.
    let spelt = |value: &Value| value.to_string().replace("+00:00", "Z");
    assert_eq!(spelt(&fields), spelt(&raw), "{call}");
    fields
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_made_read_listed_and_deleted() {
    for language in Language::ALL {
        let mut place = Place::new(language, |_| {}).await;
        let place = &mut place;
        let path = format!("functions/{}/async-invoke-config", urn("hello:latest"));
        let config = json!({
            "max_async_event_age_in_seconds": 60,
            "max_async_retry_attempts": 3,
            "enable_async_status_log": true,
            "destination_config": {
                "on_success": {"destination": "OBS", "param": "{}"},
                "on_failure": {"destination": "FunctionGraph", "param": "{\"func_urn\":\"…\"}"},
            },
        });
        let made = place.sdk.done(200, "UpdateFunctionAsyncInvokeConfig", &hello(json!({"body": config})));
        for (name, value) in config.as_object().unwrap() {
            assert_eq!(made[name], *value, "{language}: {name}");
        }
        let read = reads_all(place, "ShowFunctionAsyncInvokeConfig", &only_hello(), &path).await;
        assert_eq!(read, made, "{language}");
        let prod = json!({"function_urn": urn("hello:!prod"), "body": {"max_async_retry_attempts": 0}});
        place.sdk.done(200, "UpdateFunctionAsyncInvokeConfig", &prod);
        let second = hello(json!({"marker": "1", "limit": "1"}));
        let list = format!("{path}s?marker=1&limit=1");
        let listed = reads_all(place, "ListFunctionAsyncInvokeConfig", &second, &list).await;
        assert_eq!((&listed["count"], &listed["page_info"]["current_count"]), (&json!(2), &json!(1)));

        place.sdk.done(204, "DeleteFunctionAsyncInvokeConfig", &only_hello());
        let gone = place.sdk.call("ShowFunctionAsyncInvokeConfig", &only_hello());
        assert!(matches!(gone, Called::Refused { status: 404, .. }), "{language}: {gone:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_versions_and_aliases_are_read_in_full() {
    for language in Language::ALL {
        let mut place = Place::new(language, |function| function.disabled = true).await;
        let place = &mut place;
        let path = |rest: &str| format!("functions/{}/{rest}", urn("hello:latest"));
        let function = reads_all(place, "ShowFunctionConfig", &only_hello(), &path("config")).await;
        assert_eq!(function["strategy_config"]["concurrency"], 0, "{language}: switched off");
        let page = hello(json!({"marker": "1", "maxitems": "1"}));
        let versions =
            reads_all(place, "ListFunctionVersions", &page, &path("versions?marker=1&maxitems=1")).await;
        assert_eq!(versions["versions"][0]["version"], "v1", "{language}");
        reads_all(place, "ListVersionAliases", &only_hello(), &path("aliases")).await;
        let prod = hello(json!({"alias_name": "prod"}));
        let alias = reads_all(place, "ShowVersionAlias", &prod, &path("aliases/prod")).await;
        assert_eq!(alias["version"], "v1", "{language}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_instances_are_set_and_listed() {
    for language in Language::ALL {
        let mut place = Place::new(language, |_| {}).await;
        let place = &mut place;
        let body = json!({"count": 2, "idle_mode": true, "tactics_config": {"cron_configs": [
            {"name": "morning", "cron": "0 */10 * * * ?", "count": 3, "start_time": 1, "expired_time": 2},
        ]}});
        let set = place.sdk.done(200, "UpdateFunctionReservedInstancesCount", &hello(json!({"body": body})));
        assert_eq!(set, body, "{language}");
        let urn = urn("hello:latest");
        let numbers = format!("functions/reservedinstances?urn={urn}");
        let listed = reads_all(place, "ListFunctionReservedInstances", &json!({"urn": urn}), &numbers).await;
        assert_eq!(listed["reservedinstances"], json!([{"func_urn": urn, "count": 2}]), "{language}");
        let rules = format!("functions/reservedinstanceconfigs?function_urn={urn}");
        let listed =
            reads_all(place, "ListReservedInstanceConfigs", &json!({"function_urn": urn}), &rules).await;
        assert_eq!(listed["reserved_instances"][0]["tactics_config"], body["tactics_config"], "{language}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_and_the_status_log_of_the_project_are_read() {
    for language in Language::ALL {
        let mut place = Place::new(language, |_| {}).await;
        let place = &mut place;
        reads_all(place, "ListQuotas", &json!({}), "quotas").await;
        let page = json!({"marker": "0", "maxitems": "1"});
        reads_all(place, "ListFunctions", &page, "functions?marker=0&maxitems=1").await;
        let log = "functions/async-status-log-detail";
        let none = reads_all(place, "ShowProjectAsyncStatusLogInfo", &json!({}), log).await;
        assert_eq!(none, json!({}), "{language}");
        place.sdk.done(200, "EnableAsyncStatusLog", &json!({}));
        let some = reads_all(place, "ShowProjectAsyncStatusLogInfo", &json!({}), log).await;
        assert_eq!(some.as_object().unwrap().len(), 4, "{language}: {some}");
    }
}
