//! Checks signatures byte for byte against those of the official SDKs and Huawei's signing guide.

#![expect(clippy::expect_used, reason = "a test that cannot read its vectors has to fail")]

use functiongraph::sign::{ALGORITHM, SignedRequest};
use serde_json::Value;

/// The vectors for `V11-HMAC-SHA256` are out of scope: FunctionGraph's clients set no service name for it.
const OUT_OF_SCOPE: &str = "V11-HMAC-SHA256";

fn vectors() -> Value {
    serde_json::from_str(include_str!("data/signing_vectors.json")).expect("vectors are JSON")
}

fn text<'a>(vector: &'a Value, key: &str) -> &'a str {
    vector[key].as_str().unwrap_or_default()
}

/// Query parameters as pairs: the SDK repeats a list value and writes booleans in lower case.
fn query(parameters: &Value) -> Vec<(String, String)> {
    fn spell(value: &Value) -> String {
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    }
    let mut pairs = Vec::new();
    for parameter in parameters.as_array().into_iter().flatten() {
        let key = spell(&parameter[0]);
        match &parameter[1] {
            Value::Array(values) => pairs.extend(values.iter().map(|value| (key.clone(), spell(value)))),
            value => pairs.push((key, spell(value))),
        }
    }
    pairs
}

fn pairs(headers: &Value) -> Vec<(&str, &str)> {
    let headers = headers.as_object().into_iter().flatten();
    headers.map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default())).collect()
}

fn check(vector: &Value, path: &str, query: &[(String, String)], headers: &[(&str, &str)]) {
    let name = text(vector, "name");
    let request = SignedRequest {
        method: text(vector, "method"),
        path,
        query,
        headers,
        body: text(vector, "body").as_bytes(),
    };
    let is_date = |(name, _): &&(&str, &str)| name.eq_ignore_ascii_case("x-sdk-date");
    let date = headers.iter().find(is_date).expect("a date is signed").1;
    assert_eq!(request.canonical_request(), text(vector, "canonical_request"), "{name}");
    assert_eq!(request.string_to_sign(date), text(vector, "string_to_sign"), "{name}");
    let (access_key, secret_key) = (text(vector, "ak"), text(vector, "sk"));
    assert_eq!(request.signature(secret_key, date), text(vector, "signature"), "{name}");
    assert_eq!(request.authorization(access_key, secret_key, date), text(vector, "authorization"), "{name}");
}

#[test]
fn the_python_sdk_signs_the_same() {
    let vectors = vectors();
    let mut checked = 0;
    for vector in vectors["python_sdk_vectors"].as_array().expect("a list") {
        if text(vector, "algorithm") == OUT_OF_SCOPE {
            continue;
        }
        assert_eq!(text(vector, "algorithm"), ALGORITHM);
        let mut headers = pairs(&vector["output_headers"]);
        headers.retain(|(name, _)| *name != "Authorization" && !name.contains('_'));
        check(vector, text(vector, "path_on_wire"), &query(&vector["query_params"]), &headers);
        checked += 1;
    }
    assert_eq!(checked, 13);
}

#[test]
fn the_go_sdk_signs_the_same() {
    let vectors = vectors();
    let vectors = vectors["go_sdk_published_vectors"].as_array().expect("a list");
    for vector in vectors {
        check(
            vector,
            text(vector, "path"),
            &query(&vector["query"]),
            &pairs(&vector["signed_header_values"]),
        );
    }
    assert_eq!(vectors.len(), 2);
}

#[test]
fn the_signing_guide_signs_the_same() {
    let vectors = vectors();
    let vector = &vectors["huawei_docs_published_vector"];
    let mut headers = pairs(&vector["input_headers"]);
    headers.push(("Host", text(vector, "host")));
    check(vector, text(vector, "path_on_wire"), &query(&vector["query_params"]), &headers);
}
