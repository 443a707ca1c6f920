//! What the API server refuses by itself: every bound of every field, and what is allowed up to there.

use crate::cel::{any, assert_said, on_status, words};
use functiongraph_operator::api::{FunctionGraphProvider, FunctionInvocation};
use kube::Resource;
use kube::api::{ApiResource, DynamicObject, PostParams};
use serde_json::{Value, json};
use testkit::{PROJECT, World};

/// What the API server would say to a new object with this spec: nothing if it is fine.
async fn on_creation<K: Resource<DynamicType = ()>>(world: &World, spec: &Value) -> Option<String> {
    let resource = ApiResource::erase::<K>(&());
    let object = DynamicObject::new("candidate", &resource).data(json!({"spec": spec}));
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    words(any::<K>(world).create(&parameters, &object).await)
}

/// `base` with one field set; `path` is a JSON pointer.
fn with(base: &Value, path: &str, value: Value) -> Value {
    let mut spec = base.clone();
    let (parent, field) = path.rsplit_once('/').unwrap();
    spec.pointer_mut(parent).unwrap()[field] = value;
    spec
}

#[tokio::test]
async fn a_new_invocation_may_use_everything_up_to_the_bounds() {
    let world = World::new().await;
    let urn = format!("urn:fss:eu-de:{PROJECT}:function:default:hello");
    let map = json!({"configMapKeyRef": {"name": "map", "key": "event"}});
    let secret = json!({"secretKeyRef": {"name": "secret", "key": "event"}});
    let allowed = [
        json!({"function": {"name": "hello"}}),
        json!({"function": {"name": "h", "package": "p.1_x-", "qualifier": "v1.0"}}),
        json!({"function": {"name": "hello", "qualifier": "!prod"}, "payload": {}}),
        json!({"function": {"urn": urn}, "payload": {"deep": {"er": [1, null, {"x": 1.5}]}}}),
        json!({"function": {"urn": format!("{urn}:!prod")}, "payloadFrom": map}),
        json!({"function": {"name": "hello"}, "payloadFrom": secret}),
        json!({
            "function": {"name": "x".repeat(60), "package": "p".repeat(64), "qualifier": "q".repeat(65)},
            "providerRef": {"kind": "FunctionGraphProvider", "name": "p"},
            "invocationType": "Async", "completionPolicy": "Accepted", "deliveryPolicy": "AtLeastOnce",
            "retryPolicy": {
                "backoffLimit": 1000, "initialDelaySeconds": 86_400, "maxDelaySeconds": 86_400,
                "retryAfterMaxSeconds": 0,
                "rules": [{"httpStatuses": [300, 599], "errorCodes": ["FSS.0404"], "action": "Fail"}],
            },
            "requestTimeoutSeconds": 90, "activeDeadlineSeconds": 604_800,
            "ttlSecondsAfterFinished": 0, "suspend": true, "cancel": true,
        }),
        json!({"function": {"name": "f"}, "requestTimeoutSeconds": 1, "activeDeadlineSeconds": 1}),
        json!({"function": {"name": "f"}, "instanceMemoryMB": null, "ttlSecondsAfterFinished": null}),
    ];
    for spec in &allowed {
        assert_said(spec, on_creation::<FunctionInvocation>(&world, spec).await, None);
    }
}

#[tokio::test]
async fn t12_a_new_invocation_is_held_to_every_bound_and_rule() {
    let world = World::new().await;
    let urn = format!("urn:fss:eu-de:{PROJECT}:function:default:hello");
    let base = json!({"function": {"name": "hello"}, "retryPolicy": {}});
    let rule = |rule: Value| json!([rule]);
    let source = |name: &str, key: &str| json!({"configMapKeyRef": {"name": name, "key": key}});
    let mut two = source("n", "k");
    two["secretKeyRef"] = json!({"name": "n", "key": "k"});
    let refused = [
        ("/function", json!({}), "exactly one of function.urn and function.name"),
        ("/function", json!({"urn": urn, "name": "hello"}), "exactly one of function.urn and function.name"),
        ("/function", json!({"urn": urn, "qualifier": "v1"}), "package and qualifier are part of the URN"),
        ("/function", json!({"urn": urn, "package": "p"}), "package and qualifier are part of the URN"),
        ("/function", Value::Null, "spec.function"),
        ("/function/name", json!("9to5"), "begins with a letter"),
        ("/function/name", json!("ends-"), "ends with a letter or a digit"),
        ("/function/name", json!("a/b"), "has at most 60 letters, digits"),
        ("/function/name", json!(""), "spec.function.name"),
        ("/function/name", json!("x".repeat(61)), "has at most 60 letters, digits"),
        ("/function/name", json!(urn), "this is a URN: use function.urn"),
        ("/function/name", json!("hello:v1"), "package and qualifier have fields of their own"),
        ("/function/package", json!("a:b"), "a package has letters"),
        ("/function/package", json!("x".repeat(65)), "Too long"),
        ("/function/qualifier", json!("!9"), "an alias with a leading '!' such as !prod"),
        ("/function/qualifier", json!("@prod"), "an alias with a leading '!' such as !prod"),
        ("/function/qualifier", json!("x".repeat(66)), "Too long"),
        ("/function", json!({"urn": "urn:fss:eu-de"}), "expected urn:fss:REGION"),
        ("/function", json!({"urn": "hello"}), "this is not a URN: use function.name"),
        ("/function", json!({"urn": urn.replace("fss", "obs")}), "expected urn:fss:REGION"),
        ("/function", json!({"urn": format!("{urn}{}", "x".repeat(210))}), "Too long"),
        ("/payload", json!(["a"]), "must be of type object"),
        ("/payload", json!("text"), "must be of type object"),
        ("/payload", json!(1), "must be of type object"),
        (
            "/payloadFrom",
            json!({}),
            "exactly one of payloadFrom.configMapKeyRef and payloadFrom.secretKeyRef",
        ),
        ("/payloadFrom", two, "exactly one of payloadFrom.configMapKeyRef and payloadFrom.secretKeyRef"),
        ("/payloadFrom", json!({"secretKeyRef": {"name": "n"}}), "secretKeyRef.key"),
        ("/payloadFrom", source("", "k"), "configMapKeyRef.name"),
        ("/payloadFrom", source(&"x".repeat(254), "k"), "Too long"),
        ("/payloadFrom", source("n", ""), "configMapKeyRef.key"),
        ("/payloadFrom", source("n", &"x".repeat(254)), "Too long"),
        ("/providerRef", json!({"kind": "Other"}), "Unsupported value"),
        ("/providerRef", json!({"kind": "ElsewhereProvider"}), "Unsupported value"),
        ("/providerRef", json!({"name": ""}), "providerRef.name"),
        ("/providerRef", json!({"name": "x".repeat(254)}), "Too long"),
        ("/invocationType", json!("Later"), "Unsupported value"),
        ("/completionPolicy", json!("Delivered"), "Unsupported value"),
        ("/deliveryPolicy", json!("ExactlyOnce"), "Unsupported value"),
        ("/requestTimeoutSeconds", json!(0), "greater than or equal to 1"),
        ("/requestTimeoutSeconds", json!(91), "less than or equal to 90"),
        ("/requestTimeoutSeconds", json!("30s"), "must be of type integer"),
        ("/activeDeadlineSeconds", json!(0), "greater than or equal to 1"),
        ("/activeDeadlineSeconds", json!(604_801), "less than or equal to 604800"),
        ("/activeDeadlineSeconds", json!(29), "must be at least requestTimeoutSeconds (30 unless given)"),
        ("/ttlSecondsAfterFinished", json!(-1), "greater than or equal to 0"),
        ("/ttlSecondsAfterFinished", json!(31_536_001), "less than or equal to 31536000"),
        ("/retryPolicy/backoffLimit", json!(-1), "greater than or equal to 0"),
        ("/retryPolicy/backoffLimit", json!(1001), "less than or equal to 1000"),
        ("/retryPolicy/initialDelaySeconds", json!(0), "greater than or equal to 1"),
        ("/retryPolicy/initialDelaySeconds", json!(86_401), "less than or equal to 86400"),
        ("/retryPolicy/initialDelaySeconds", json!(301), "must not exceed maxDelaySeconds"),
        ("/retryPolicy/maxDelaySeconds", json!(0), "greater than or equal to 1"),
        ("/retryPolicy/maxDelaySeconds", json!(86_401), "less than or equal to 86400"),
        ("/retryPolicy/retryAfterMaxSeconds", json!(-1), "greater than or equal to 0"),
        ("/retryPolicy/retryAfterMaxSeconds", json!(86_401), "less than or equal to 86400"),
        ("/retryPolicy/rules", rule(json!({"action": "Fail"})), "a rule needs httpStatuses or errorCodes"),
        (
            "/retryPolicy/rules",
            rule(json!({"httpStatuses": [], "action": "Fail"})),
            "a rule needs httpStatuses or errorCodes",
        ),
        ("/retryPolicy/rules", rule(json!({"httpStatuses": [404]})), "action"),
        ("/retryPolicy/rules", rule(json!({"httpStatuses": [404], "action": "Ignore"})), "Unsupported value"),
        (
            "/retryPolicy/rules",
            rule(json!({"httpStatuses": [299], "action": "Fail"})),
            "greater than or equal to 300",
        ),
        (
            "/retryPolicy/rules",
            rule(json!({"httpStatuses": [600], "action": "Fail"})),
            "less than or equal to 599",
        ),
        ("/retryPolicy/rules", rule(json!({"httpStatuses": vec![404; 21], "action": "Fail"})), "Too many"),
        ("/retryPolicy/rules", rule(json!({"errorCodes": [""], "action": "Fail"})), "errorCodes"),
        ("/retryPolicy/rules", rule(json!({"errorCodes": ["x".repeat(65)], "action": "Fail"})), "Too long"),
        ("/retryPolicy/rules", rule(json!({"errorCodes": vec!["x"; 21], "action": "Fail"})), "Too many"),
        ("/retryPolicy/rules", json!(vec![json!({"httpStatuses": [404], "action": "Fail"}); 21]), "Too many"),
    ];
    for (path, value, expected) in refused {
        let spec = with(&base, path, value);
        assert_said(&spec, on_creation::<FunctionInvocation>(&world, &spec).await, Some(expected));
    }
    let both = json!({"function": {"name": "hello"}, "payload": {}, "payloadFrom": source("map", "event")});
    let said = on_creation::<FunctionInvocation>(&world, &both).await;
    assert_said(&both, said, Some("at most one of payload and payloadFrom"));
}

#[tokio::test]
async fn t12_a_new_provider_is_held_to_every_bound_and_rule() {
    let world = World::new().await;
    let secret = json!({"secretRef": {"name": "key"}});
    let base = json!({"region": "eu-de", "projectID": PROJECT, "credentials": {"accessKey": secret}});
    let token = with(&base, "/credentials", json!({"token": secret}));
    let limits = json!({"maxRequestsPerSecond": 10_000, "maxInFlight": 1000});
    let full = with(&with(&token, "/limits", limits), "/allowedFunctions", json!(vec!["*"; 100]));
    let account = json!({"name": "robot"});
    let oidc = |fields: Value| json!({"oidc": fields});
    let sts = json!({"providerURN": "iam::p", "agencyURN": "iam::a"});
    let credentials = [
        json!({"password": secret}),
        json!({"podIdentity": {}}),
        json!({"instanceMetadata": {}}),
        oidc(json!({"serviceAccountRef": account, "idpID": "idp"})),
        oidc(json!({"serviceAccountRef": account, "idpID": "idp", "mode": "Token"})),
        oidc(json!({"serviceAccountRef": account, "sts": sts, "durationSeconds": 900})),
    ];
    let mut accepted = vec![base.clone(), token, with(&full, "/endpoint", json!("https://localhost:8443"))];
    accepted.extend(credentials.into_iter().map(|kind| with(&base, "/credentials", kind)));
    accepted.push(with(&base, "/projectID", Value::Null));
    accepted.push(with(&base, "/protocolVersion", json!("v1.0")));
    accepted.push(with(&base, "/lookup", json!({"enabled": true})));
    for spec in &accepted {
        assert_said(spec, on_creation::<FunctionGraphProvider>(&world, spec).await, None);
    }
    let refused = [
        ("/region", Value::Null, "spec.region"),
        ("/region", json!("EU"), "such as eu-de"),
        ("/region", json!("x".repeat(33)), "Too long"),
        ("/projectID", json!("a/b"), "expected a project id"),
        ("/projectID", json!("x".repeat(65)), "Too long"),
        ("/endpoint", json!("http://localhost"), "expected an https URL"),
        ("/endpoint", json!(format!("https://{}", "x".repeat(512))), "Too long"),
        ("/caBundle", json!("x".repeat(65_537)), "Too long"),
        ("/credentials", Value::Null, "spec.credentials"),
        ("/credentials", json!({}), "exactly one credential"),
        ("/credentials", json!({"accessKey": secret, "token": secret}), "exactly one credential"),
        ("/credentials", json!({"token": {"secretRef": {"name": ""}}}), "secretRef.name"),
        ("/credentials", json!({"token": {}}), "secretRef"),
        ("/credentials", json!({"podIdentity": {}, "instanceMetadata": {}}), "exactly one credential"),
        ("/credentials", oidc(json!({"idpID": "idp"})), "exactly one of oidc.serviceAccountRef"),
        ("/credentials", oidc(json!({"serviceAccountRef": account})), "exactly one of oidc.idpID"),
        (
            "/credentials",
            oidc(json!({"serviceAccountRef": account, "idpID": "idp", "sts": sts})),
            "exactly one of oidc.idpID",
        ),
        (
            "/credentials",
            oidc(json!({"serviceAccountRef": account, "sts": sts, "mode": "Token"})),
            "oidc.mode needs oidc.idpID",
        ),
        (
            "/credentials",
            oidc(
                json!({"serviceAccountRef": account, "idpID": "idp", "mode": "Token", "durationSeconds": 900}),
            ),
            "oidc.durationSeconds needs oidc.mode Keys",
        ),
        (
            "/credentials",
            oidc(json!({"serviceAccountRef": account, "idpID": "idp", "durationSeconds": 899})),
            "greater than or equal to 900",
        ),
        (
            "/credentials",
            oidc(json!({"projectedTokenFile": "token", "idpID": "idp"})),
            "projectedTokenFile is only for a ClusterFunctionGraphProvider",
        ),
        ("/protocolVersion", json!("v3"), "Unsupported value"),
        ("/iamEndpoint", json!("http://localhost"), "expected an https URL"),
        ("/stsEndpoint", json!("http://localhost"), "expected an https URL"),
        ("/limits", json!({"maxRequestsPerSecond": 0}), "greater than or equal to 1"),
        ("/limits", json!({"maxRequestsPerSecond": 10_001}), "less than or equal to 10000"),
        ("/limits", json!({"maxInFlight": 0}), "greater than or equal to 1"),
        ("/limits", json!({"maxInFlight": 1001}), "less than or equal to 1000"),
        ("/allowedFunctions", json!(vec!["*"; 101]), "Too many"),
        ("/allowedFunctions", json!([""]), "allowedFunctions"),
        ("/allowedFunctions", json!(["x".repeat(201)]), "Too long"),
    ];
    for (path, value, expected) in refused {
        let spec = with(&base, path, value);
        assert_said(&spec, on_creation::<FunctionGraphProvider>(&world, &spec).await, Some(expected));
    }
}

#[tokio::test]
async fn t12_a_status_is_held_to_its_bounds() {
    let world = World::new().await;
    world.invoke("bounds", json!({"function": {"name": "hello"}})).await;
    let attempt =
        |holder: &str, state: &str| json!({"attempt": {"number": 1, "holder": holder, "state": state}});
    let condition = |type_: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": type_, "status": status, "reason": reason, "message": message,
            "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    let conditions = |condition: Value, many: usize| json!({"conditions": vec![condition; many]});
    let fine = condition("Ready", "True", "Accepted", "");
    let cases = [
        (attempt("a", "Claimed"), None),
        (attempt("", "Claimed"), Some("attempt.holder")),
        (attempt(&"x".repeat(65), "Claimed"), Some("Too long")),
        (attempt("a", "Sent"), Some("Unsupported value")),
        (json!({"attempt": {"number": 1, "holder": "a"}}), Some("attempt.state")),
        (json!({"attempts": -1}), Some("greater than or equal to 0")),
        (json!({"throttledAttempts": -1}), Some("greater than or equal to 0")),
        (json!({"failedAttempts": -1}), Some("greater than or equal to 0")),
        (json!({"requestID": "x".repeat(65)}), Some("Too long")),
        (json!({"requestIDSource": "Guess"}), Some("Unsupported value")),
        (json!({"function": "x".repeat(270)}), Some("Too long")),
        (json!({"error": {"message": "x".repeat(1025)}}), Some("Too long")),
        (json!({"error": {"code": "x".repeat(65)}}), Some("Too long")),
        (json!({"error": {"class": "Strange"}}), Some("Unsupported value")),
        (json!({"nextAttemptTime": "soon"}), Some("nextAttemptTime")),
        (json!({"nextAttemptTime": "2016-12-31T23:59:60Z"}), Some("nextAttemptTime")),
        (conditions(fine.clone(), 8), None),
        (conditions(fine, 9), Some("Too many")),
        (conditions(condition("Happy", "True", "Accepted", ""), 1), Some("Unsupported value")),
        (conditions(condition("Ready", "Maybe", "Accepted", ""), 1), Some("Unsupported value")),
        (conditions(condition("Ready", "True", "Because", ""), 1), Some("Unsupported value")),
        (conditions(condition("Ready", "True", "Accepted", &"x".repeat(2049)), 1), Some("Too long")),
        (conditions(json!({"type": "Ready"}), 1), Some("conditions[0]")),
    ];
    for (status, expected) in cases {
        assert_said(&status, on_status(&world, "bounds", &status).await, expected);
    }
}
