//! Configurations that are accepted, and those that are refused with a reason.

use super::*;

#[test]
fn the_built_in_configuration_is_served_as_it_is() {
    let config = Config::from_yaml(DEFAULT_CONFIG).unwrap();
    config.check().unwrap();
    assert_eq!(config.functions[0].latency, Duration::from_secs(2));
    assert_eq!(config.functions[0].package, "default");
    assert_eq!(config.max_body_bytes, 262_144);
}

#[test]
fn a_misspelt_key_is_refused_by_name() {
    let error = Config::from_yaml("tokens: [a]\nratelimit: {requestsPerSecond: 1}").unwrap_err();
    assert!(error.to_string().contains("ratelimit"), "{error}");
    let error = Config::from_yaml("functions: [{name: a, latencey: 5ms}]").unwrap_err();
    assert!(error.to_string().contains("latencey"), "{error}");
}

#[test]
fn no_credential_at_all_is_refused_unless_it_is_wanted() {
    let open = Config::from_yaml("auth: none").unwrap();
    assert!(open.check().is_ok());
    let closed = Config::default();
    assert!(matches!(closed.check(), Err(ConfigError::NoCredentials)));
}

#[test]
fn functions_that_nobody_could_call_are_refused() {
    let with = |functions: &str| {
        Config::from_yaml(&format!("{{tokens: [t], functions: [{functions}]}}")).unwrap().check()
    };
    assert!(matches!(with("{name: 'a:b'}"), Err(ConfigError::Name { .. })));
    assert!(matches!(with("{name: a}, {name: a}"), Err(ConfigError::Twice(_))));
    assert!(with("{name: a}, {name: a, package: other}").is_ok());
    assert!(matches!(with("{name: a, aliases: {p: v1}}"), Err(ConfigError::Alias { .. })));
    assert!(with("{name: a, versions: [v1], aliases: {p: v1, q: latest}}").is_ok());
}

#[test]
fn retry_after_is_a_number_or_date() {
    let with = |value: &str| {
        let text = format!("rateLimit: {{requestsPerSecond: 5, retryAfter: {value}}}");
        Config::from_yaml(&text).map(|config| config.rate_limit.unwrap().retry_after.unwrap())
    };
    assert_eq!(with("3").unwrap(), crate::RetryAfter::Seconds(3));
    assert_eq!(with("date").unwrap(), crate::RetryAfter::Date);
    assert!(with("soon").is_err());
}

#[test]
fn a_key_set_is_taken_as_an_object_or_as_text_and_refused_if_there_is_no_key_in_it() {
    let with = |jwks: &str| {
        let text = format!("{{identity: {{identityProviders: [{{id: k8s, jwks: {jwks}}}]}}}}");
        Config::from_yaml(&text).unwrap().check()
    };
    let keys = r#"{"keys":[{"use":"sig","kty":"RSA","kid":"a","alg":"RS256","n":"AQAB","e":"AQAB"}]}"#;
    with(keys).unwrap();
    with(&format!("'{keys}'")).unwrap();
    let error = with("{keys: []}").unwrap_err();
    assert!(matches!(&error, ConfigError::KeySet { provider, .. } if provider == "k8s"), "{error}");
}

#[test]
fn faults_have_the_notation_of_the_admin_api() {
    let text = "
        - {when: {next: 3}, function: f, action: {status: 503}}
        - {when: forever, action: {acceptThen: {status: 504, body: gone}}}
        - {when: {every: 2}, api: v2/async-invocations, action: {delay: 5s}}
        - {when: forever, action: dropAfter}";
    let json = r#"[
        {"when":{"next":3},"function":"f","action":{"status":503}},
        {"when":"forever","action":{"acceptThen":{"status":504,"body":"gone"}}},
        {"when":{"every":2},"api":"v2/async-invocations","action":{"delay":"5s"}},
        {"when":"forever","action":"dropAfter"}]"#;
    let config = Config::from_yaml(&format!("faults: {text}")).unwrap();
    assert_eq!(config.faults, serde_json::from_str::<Vec<Fault>>(json).unwrap());
    assert!(Config::from_yaml("faults: [{when: forever, action: {status: 99}}]").is_err());
}

#[test]
fn a_handler_is_next_to_its_configuration_file() {
    let text = "functions: [{name: a, run: {command: [x]}}, {name: b, run: {command: [x], directory: sub}}, {name: c}]";
    let mut config = Config::from_yaml(text).unwrap();
    config.run_from(Path::new("/desk"));
    let folders = config.functions.iter().map(|function| function.run.as_ref()?.directory.clone());
    assert_eq!(folders.collect::<Vec<_>>(), [Some("/desk/".into()), Some("/desk/sub".into()), None]);
}
