//! The SDKs' own sources of credentials, with the emulator as their server.
//!
//! The SDK for Go supports only the environment (and the metadata of a machine at their fixed address); the SDK for
//! Python supports all, that for Node none. A proxy variable sends its requests for the metadata to the emulator.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use functiongraph_emulator::{
    Agency, Api, Config, IdentityApi, IdentityProvider, Metadata, MetadataTokens, PodIdentity,
};
use serde_json::{Value, json};

use crate::driver::{Called, Language, Sdk};
use crate::place::{PROJECT, Place, hello};

const AGENCY: &str = "iam::emulator:agency:invoker";

/// Accepts every token of the provider `kubernetes`, and issues keys with this lifetime.
fn federated(config: &mut Config, keys_lifetime: Duration) {
    config.identity.identity_providers = vec![IdentityProvider {
        issuer: Some("https://kubernetes".into()),
        ..IdentityProvider::named("kubernetes")
    }];
    config.identity.agencies = vec![Agency { urn: AGENCY.into(), subjects: vec![] }];
    config.identity.keys_lifetime = keys_lifetime;
}

/// An id token of this issuer, valid until the year 2100.
pub fn id_token(issuer: &str) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({"iss": issuer, "sub": "someone", "aud": "functiongraph", "exp": 4_102_444_800_i64});
    format!("{}.{}.c2lnbmF0dXJl", part(json!({"alg": "RS256"})), part(claims))
}

fn submit(sdk: &mut Sdk) {
    sdk.done(202, "AsyncInvokeFunction", &hello(json!({"body": {}})));
}

/// Number of calls to each identity API.
fn logins(place: &Place) -> BTreeMap<IdentityApi, u64> {
    let calls = place.emulator.requests().calls.into_iter();
    calls
        .filter_map(|(api, count)| if let Api::Identity(api) = api { Some((api, count)) } else { None })
        .collect()
}

/// An SDK that reads its id token from a file and exchanges it at IAM.
fn by_file(place: &Place, file: &str) -> Sdk {
    let iam = place.emulator.url();
    place.other(&[
        ("SDK_PROVIDER", "EnvCredentialProvider"),
        ("HUAWEICLOUD_SDK_IDP_ID", "kubernetes"),
        ("HUAWEICLOUD_SDK_ID_TOKEN_FILE", file),
        ("HUAWEICLOUD_SDK_PROJECT_ID", PROJECT),
        ("HUAWEICLOUD_SDK_IAM_ENDPOINT", &iam),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_token_in_a_file_is_exchanged_once_for_a_key_that_lasts() {
    for language in [Language::Python, Language::Go] {
        let place = Place::with(language, |config| federated(config, Duration::from_hours(6))).await;
        let mut sdk = by_file(&place, &place.file("token", &id_token("https://kubernetes")));
        submit(&mut sdk);
        submit(&mut sdk);
        let once = [(IdentityApi::IdToken, 1), (IdentityApi::SecurityTokens, 1)];
        assert_eq!(logins(&place), once.into(), "{language}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_less_than_forty_minutes_to_live_is_replaced_and_the_file_read_anew() {
    for language in [Language::Python, Language::Go] {
        let place = Place::with(language, |config| federated(config, Duration::from_mins(39))).await;
        let mut sdk = by_file(&place, &place.file("token", &id_token("https://kubernetes")));
        submit(&mut sdk);
        submit(&mut sdk);
        let twice = [(IdentityApi::IdToken, 2), (IdentityApi::SecurityTokens, 2)];
        assert_eq!(logins(&place), twice.into(), "{language}");
        place.file("token", &id_token("https://elsewhere"));
        let called = sdk.call("AsyncInvokeFunction", &hello(json!({"body": {}})));
        assert!(matches!(called, Called::Refused { status: 401, .. }), "{language}: {called:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agency_is_assumed_at_the_sts() {
    let place = Place::with(Language::Python, |config| federated(config, Duration::from_hours(6))).await;
    let (sts, file) = (place.emulator.url(), place.file("token", &id_token("https://kubernetes")));
    let mut sdk = place.other(&[
        ("SDK_PROVIDER", "OidcStsCredentialProvider"),
        ("HUAWEICLOUD_OIDC_PROVIDER_URN", "iam::emulator:oidcProvider:kubernetes"),
        ("HUAWEICLOUD_OIDC_AGENCY_URN", AGENCY),
        ("HUAWEICLOUD_OIDC_TOKEN_FILE", &file),
        ("HUAWEICLOUD_SDK_STS_ENDPOINT", &sts),
    ]);
    submit(&mut sdk);
    submit(&mut sdk);
    assert_eq!(logins(&place), [(IdentityApi::AssumeAgency, 1)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_and_a_machine_get_their_keys_where_they_run() {
    let place = Place::with(Language::Python, |config| {
        config.identity.pod_identity = Some(PodIdentity::with("content of the file"));
        config.identity.metadata = Some(Metadata { tokens: MetadataTokens::Required });
    })
    .await;
    let uri = place.emulator.pod_identity_url().unwrap();
    let file = place.file("token", "content of the file");
    let mut pod = place.other(&[
        ("SDK_PROVIDER", "PodIdentityCredentialProvider"),
        ("HC_CONTAINER_CREDENTIALS_FULL_URI", &uri),
        ("HC_CONTAINER_AUTHORIZATION_TOKEN_FILE", &file),
    ]);
    submit(&mut pod);
    let proxy = place.emulator.metadata_url().unwrap();
    let mut machine = place.other(&[("SDK_PROVIDER", "MetadataCredentialProvider"), ("http_proxy", &proxy)]);
    submit(&mut machine);
    let once =
        [(IdentityApi::PodIdentity, 1), (IdentityApi::MetadataToken, 1), (IdentityApi::MetadataKey, 1)];
    assert_eq!(logins(&place), once.into());
}
