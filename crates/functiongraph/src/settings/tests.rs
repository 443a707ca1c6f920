//! Settings as documented, and settings of which little can be read.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read<T: Settings>(value: &Value) -> T {
    T::read(value.as_object().unwrap(), &Shown::default())
}

#[test]
fn every_call_has_its_path() {
    let urn = "urn:fss:eu-de:p1:function:default:f:!prod".parse().unwrap();
    for (draft, call) in
        [(AsyncInvokeConfig::draft(&urn), "async-invoke-config"), (FunctionConfig::draft(&urn), "config")]
    {
        assert_eq!(draft.method, Method::GET);
        let segment = "urn%3Afss%3Aeu-de%3Ap1%3Afunction%3Adefault%3Af%3A%21prod";
        assert_eq!(draft.path, format!("/v2/p1/fgs/functions/{segment}/{call}"));
        assert!(draft.body.is_empty() && draft.query.is_empty());
    }
}

#[test]
fn documented_settings_are_read() {
    let asynchronous: AsyncInvokeConfig = read(&json!({
        "func_urn": "urn:fss:eu-de:p1:function:default:f:latest",
        "max_async_event_age_in_seconds": 3600,
        "max_async_retry_attempts": "3",
        "destination_config": {
            "on_success": { "destination": "OBS", "param": "{\"bucket\":\"b\"}" },
            "on_failure": { "destination": "a b", "param": "" },
        },
        "enable_async_status_log": true,
        "created_time": "2021-03-04T14:50:02+08:00",
        "last_modified": "2021-03-04 14:50:02",
    }));
    assert_eq!(
        asynchronous,
        AsyncInvokeConfig {
            status_log_enabled: true,
            max_event_age_seconds: Some(3600),
            max_retry_attempts: Some(3),
            on_success: Some("OBS".to_owned()),
            on_failure: None,
        }
    );
    let function: FunctionConfig = read(&json!({
        "func_name": "f", "timeout": 259_200, "memory_size": 128, "version": "v20240102-030405",
        "strategy_config": { "concurrency": -1, "concurrent_num": 8 },
        "enable_dynamic_memory": true, "long_time": false,
    }));
    assert_eq!(
        function,
        FunctionConfig {
            concurrency: Some(-1),
            events_per_instance: Some(8),
            timeout_seconds: Some(259_200),
            memory_size_mb: Some(128),
            dynamic_memory: Some(true),
            version: Some("v20240102-030405".to_owned()),
        }
    );
}

#[test]
fn a_function_is_disabled_only_by_a_concurrency_of_zero() {
    for (strategy, disabled) in [
        (json!({ "concurrency": 0 }), true),
        (json!({ "concurrency": "0" }), true),
        (json!({ "concurrency": -1 }), false),
        (json!({ "concurrency": 1 }), false),
        (json!({ "concurrency": null }), false),
        (json!({}), false),
        (json!(null), false),
        (json!([0]), false),
    ] {
        let config: FunctionConfig = read(&json!({ "strategy_config": strategy }));
        assert_eq!(config.is_disabled(), disabled, "{strategy}");
    }
    assert!(!FunctionConfig::default().is_disabled());
}

#[test]
fn a_missing_or_malformed_field_is_unknown() {
    assert_eq!(read::<AsyncInvokeConfig>(&json!({})), AsyncInvokeConfig::default());
    assert_eq!(read::<FunctionConfig>(&json!({})), FunctionConfig::default());
    let odd: AsyncInvokeConfig = read(&json!({
        "max_async_event_age_in_seconds": 1.5, "enable_async_status_log": "true", "destination_config": [],
    }));
    assert_eq!(odd, AsyncInvokeConfig::default());
}

proptest! {
    #[test]
    fn no_json_makes_the_reader_panic(
        body in r#"\{"(strategy_config|timeout|version|destination_config|enable_async_status_log)":(\{"(concurrency|on_success)":(\{\}|-?[1-9][0-9]{0,24}|0|null|"x")\}|\[\]|9e99|true|"7")\}"#,
    ) {
        let fields: Map<String, Value> = serde_json::from_str(&body).unwrap();
        let _ = AsyncInvokeConfig::read(&fields, &Shown::default());
        let _ = FunctionConfig::read(&fields, &Shown::default());
    }
}
